"""Statements about retraining runs: at most one is active, and whoever trains holds a lease on its row."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, and_, insert, select, update

from ich_node.core.split import Split
from ich_node.core.states import RunState
from ich_node.errors import LeaseLost, UsageError
from ich_node.store.tables import installation, training_runs, training_subjects

ACTIVE = (RunState.REQUESTED, RunState.RUNNING)


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """The row of a run; `message` says in words what it is doing or how it ended."""

    id: int
    state: RunState
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    folder: Path
    message: str
    parent_sha256: str | None
    bundle_sha256: str | None
    lease_holder: str | None

    @property
    def active(self) -> bool:
        return self.state in ACTIVE


_COLUMNS = [training_runs.c[name] for name in TrainingRun.__dataclass_fields__]


def request_run(
    connection: Connection, *, runs_folder: Path, parent_sha256: str, message: str, now: datetime
) -> TrainingRun:
    """Ask for a run from the bundle named; raises UsageError where one is active already."""
    # two commands at once must not both find nothing (SQLite: a transaction is alone anyhow)
    connection.execute(select(installation.c.id).with_for_update())
    _refuse_second(connection)
    values = {
        "state": RunState.REQUESTED,
        "requested_at": now,
        "folder": "",
        "message": message,
        "parent_sha256": parent_sha256,
    }
    key = connection.execute(insert(training_runs).values(values)).inserted_primary_key
    assert key is not None
    # the time too: another database may have numbered its runs in this folder before
    folder = str(runs_folder / f"{now:%Y%m%d-%H%M%S}-{key[0]}")
    connection.execute(update(training_runs).where(training_runs.c.id == key[0]).values(folder=folder))
    return _get_run(connection, int(key[0]))


def resume_run(connection: Connection, *, message: str) -> TrainingRun:
    """Ask for the last run again, which ended before it was done; raises UsageError where it cannot go on."""
    connection.execute(select(installation.c.id).with_for_update())
    _refuse_second(connection)
    last = latest_run(connection)
    if last is None or last.state is RunState.DONE:
        raise UsageError("there is no interrupted retraining; start one with `ich-node retrain start`")
    values = {"state": RunState.REQUESTED, "message": message, "finished_at": None}
    connection.execute(update(training_runs).where(training_runs.c.id == last.id).values(values))
    return _get_run(connection, last.id)


def cancel_run(connection: Connection, *, message: str, now: datetime) -> TrainingRun:
    """End the active run; whoever trains notices at the next heartbeat. Raises UsageError where none is."""
    run = _active_run(connection)
    if run is None:
        raise UsageError("no retraining is waiting or running")
    _end(connection, run.id, RunState.CANCELLED, message=message, now=now)
    return _get_run(connection, run.id)


def expire_run(connection: Connection, *, message: str, now: datetime) -> TrainingRun | None:
    """End the run whose trainer has fallen silent; returns it, if there was one."""
    silent = and_(training_runs.c.state == RunState.RUNNING, training_runs.c.lease_until < now)
    row = connection.execute(select(training_runs.c.id).where(silent).with_for_update()).first()
    if row is None:
        return None
    _end(connection, row.id, RunState.FAILED, message=message, now=now)
    return _get_run(connection, row.id)


def claim_run(connection: Connection, *, holder: str, lease_s: float, now: datetime) -> TrainingRun | None:
    """Take the run that waits; at most one process gets it. `holder` is new for each claim: it fences."""
    waiting = (
        select(training_runs.c.id)
        .where(training_runs.c.state == RunState.REQUESTED)
        .order_by(training_runs.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    values = {
        "state": RunState.RUNNING,
        "started_at": now,
        "lease_holder": holder,
        "lease_until": now + timedelta(seconds=lease_s),
    }
    taken = connection.execute(
        update(training_runs)
        .where(training_runs.c.id == waiting.scalar_subquery(), training_runs.c.state == RunState.REQUESTED)
        .values(values)
        .returning(training_runs.c.id)
    ).one_or_none()
    return None if taken is None else _get_run(connection, taken.id)


def extend_run(
    connection: Connection, run: TrainingRun, *, lease_s: float, now: datetime, message: str | None = None
) -> None:
    """Say that the trainer is alive and what it does; raises LeaseLost where the run was taken or ended."""
    values: dict[str, object] = {"lease_until": now + timedelta(seconds=lease_s)}
    if message is not None:
        values["message"] = message
    _update_held(connection, run, values)


def finish_run(
    connection: Connection,
    run: TrainingRun,
    *,
    state: RunState,
    message: str,
    now: datetime,
    bundle_sha256: str | None = None,
) -> None:
    """End a run that we hold; raises LeaseLost where it was taken or ended by somebody else."""
    values = {"state": state, "message": message, "finished_at": now, "bundle_sha256": bundle_sha256}
    _update_held(connection, run, {**values, "lease_holder": None, "lease_until": None})


def release_run(connection: Connection, run: TrainingRun, *, message: str) -> None:
    """Put a run that we hold back, to be continued by the next process; raises LeaseLost as above."""
    values = {"state": RunState.REQUESTED, "message": message, "lease_holder": None, "lease_until": None}
    _update_held(connection, run, values)


def latest_run(connection: Connection) -> TrainingRun | None:
    """The run that was asked for last."""
    row = connection.execute(select(*_COLUMNS).order_by(training_runs.c.id.desc()).limit(1)).one_or_none()
    return None if row is None else _run(row._mapping)


def kept_splits(connection: Connection) -> dict[str, Split]:
    """The part that each patient (by pseudonym) was given for good."""
    statement = select(training_subjects.c.subject, training_subjects.c.split)
    return {row.subject: Split(row.split) for row in connection.execute(statement)}


def keep_splits(connection: Connection, new: Mapping[str, Split], *, now: datetime) -> None:
    """Keep the parts of patients who had none."""
    rows = [{"subject": subject, "split": split, "assigned_at": now} for subject, split in new.items()]
    if rows:
        connection.execute(insert(training_subjects), rows)


def _active_run(connection: Connection) -> TrainingRun | None:
    row = connection.execute(select(*_COLUMNS).where(training_runs.c.state.in_(ACTIVE))).one_or_none()
    return None if row is None else _run(row._mapping)


def _refuse_second(connection: Connection) -> None:
    if (run := _active_run(connection)) is not None:
        raise UsageError(
            f"retraining {run.id} is {run.state}: wait for it with `ich-node retrain watch`, "
            "or end it with `ich-node retrain cancel`"
        )


def _get_run(connection: Connection, run_id: int) -> TrainingRun:
    return _run(connection.execute(select(*_COLUMNS).where(training_runs.c.id == run_id)).one()._mapping)


def _end(connection: Connection, run_id: int, state: RunState, *, message: str, now: datetime) -> None:
    values = {
        "state": state,
        "message": message,
        "finished_at": now,
        "lease_holder": None,
        "lease_until": None,
    }
    still = and_(training_runs.c.id == run_id, training_runs.c.state.in_(ACTIVE))
    connection.execute(update(training_runs).where(still).values(values))


def _update_held(connection: Connection, run: TrainingRun, values: Mapping[str, object]) -> None:
    ours = and_(
        training_runs.c.id == run.id,
        training_runs.c.state == RunState.RUNNING,
        training_runs.c.lease_holder == run.lease_holder,
    )
    if connection.execute(update(training_runs).where(ours).values(values)).rowcount != 1:
        raise LeaseLost


def _run(row: object) -> TrainingRun:
    values = dict(row)  # type: ignore[call-overload]
    return TrainingRun(**{**values, "state": RunState(values["state"]), "folder": Path(values["folder"])})
