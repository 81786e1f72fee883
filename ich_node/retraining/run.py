"""Retraining runs: asked for by a command, done by the scheduler's process, one at a time."""

import json
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from ich_node.core.states import RunState
from ich_node.errors import Collision, DatabaseAway, IchNodeError, LeaseLost, UsageError
from ich_node.log import logger
from ich_node.retraining.child import Attendance, Stopped, end_left_behind
from ich_node.retraining.execute import Job, execute
from ich_node.retraining.folders import RunFolder
from ich_node.settings.tree import Settings
from ich_node.store.bundles import serving
from ich_node.store.database import Database
from ich_node.store.labels import has_labels
from ich_node.store.runs import (
    TrainingRun,
    cancel_run,
    claim_run,
    expire_run,
    extend_run,
    finish_run,
    latest_run,
    release_run,
    request_run,
    resume_run,
)

LEASE_S = 60.0
WAITING = "waits for `ich-node schedule`, which does the training"
INTERRUPTED = "the process that trained it ended; `ich-node retrain resume` goes on where it stopped"


@dataclass(frozen=True, kw_only=True)
class TrainingProgress:
    """How far the training step is; `left_s` is an estimate from the steps done so far."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    left_s: float


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """A run and, while it trains, how far it is."""

    run: TrainingRun
    progress: TrainingProgress | None


def start(database: Database, settings: Settings, *, now: datetime) -> TrainingRun:
    """Ask for a retraining from the bundle that serves; returns at once.

    Raises UsageError where one is active, nothing is labelled, or no bundle serves.
    """
    with database.transaction() as connection:
        if not has_labels(connection):
            raise UsageError("no study is labelled yet: `ich-node labels import FILE.csv` comes first")
        return request_run(
            connection,
            runs_folder=settings.storage.folder.absolute() / "training",
            parent_sha256=serving(connection).sha256,
            message=WAITING,
            now=now,
        )


def resume(database: Database) -> TrainingRun:
    """Ask for the last run to go on where it stopped; raises UsageError where there is none to go on."""
    with database.transaction() as connection:
        return resume_run(connection, message=WAITING)


def cancel(database: Database, *, now: datetime) -> TrainingRun:
    """End the active run; its processes end within seconds. Raises UsageError where none is active."""
    with database.transaction() as connection:
        return cancel_run(connection, message="cancelled by command", now=now)


def status(database: Database) -> RunStatus | None:
    """The run that was asked for last; None where there was none."""
    with database.transaction() as connection:
        run = latest_run(connection)
    if run is None:
        return None
    return RunStatus(run=run, progress=_progress(run) if run.state is RunState.RUNNING else None)


def run_requested(database: Database, settings: Settings, stop: threading.Event) -> bool:
    """Do the run that waits, to its end or until `stop`; returns whether there was one.

    Stopped, it goes on with the next call. A run whose process died is ended first, in words.
    """
    _expire(database)
    with database.transaction() as connection:
        run = claim_run(connection, holder=uuid4().hex, lease_s=LEASE_S, now=datetime.now(UTC))
    if run is None:
        return False
    logger().info("retraining.started", run=run.id)
    job = _job(database, settings, run, stop)
    end_left_behind(job.folder)
    _forget_others(job.folder)
    try:
        _end(job)
    except LeaseLost:
        # cancelled, or this process slept through its lease: either way the row is no longer ours
        logger().warning("retraining.lease_lost", run=run.id)
    return True


def _end(job: Job) -> None:
    """Bring a run to one of its ends; raises LeaseLost."""
    try:
        execute(job)
    except Stopped:
        with job.database.transaction() as connection:
            release_run(connection, job.run, message=WAITING)
        return
    except (Collision, DatabaseAway, LeaseLost):
        raise
    except IchNodeError as error:
        _fail(job, str(error))
        return
    except Exception as error:  # noqa: BLE001  a fault in one run must end that run, not the scheduler
        _fail(job, f"unexpected {type(error).__name__}; see {job.folder.log}")
        return
    logger().info("retraining.done", run=job.run.id)


def _fail(job: Job, message: str) -> None:
    with job.database.transaction() as connection:
        finish_run(connection, job.run, state=RunState.FAILED, message=message, now=datetime.now(UTC))
    logger().error("retraining.failed", run=job.run.id)


def _job(database: Database, settings: Settings, run: TrainingRun, stop: threading.Event) -> Job:
    def beat(message: str | None = None) -> None:
        try:
            with database.transaction() as connection:
                extend_run(connection, run, lease_s=LEASE_S, now=datetime.now(UTC), message=message)
        except (Collision, DatabaseAway):
            # training needs no database; if it stays away, the lease tells at the next beat
            logger().error("database.away", run=run.id)

    return Job(
        database=database,
        settings=settings,
        run=run,
        folder=RunFolder(path=run.folder),
        attendance=Attendance(alive=beat, stop=stop, niceness=settings.retraining.niceness),
        tell=beat,
    )


def _expire(database: Database) -> None:
    with database.transaction() as connection:
        silent = expire_run(connection, message=INTERRUPTED, now=datetime.now(UTC))
    if silent is not None:
        end_left_behind(RunFolder(path=silent.folder))
        logger().error("retraining.interrupted", run=silent.id)


def _forget_others(current: RunFolder) -> None:
    """Let the pictures of earlier runs go: a new one makes its own."""
    for folder in current.path.parent.glob("*"):
        if folder.is_dir() and folder != current.path:
            RunFolder(path=folder).forget_pictures()


def _progress(run: TrainingRun) -> TrainingProgress | None:
    folder = RunFolder(path=Path(run.folder))
    if folder.trained.exists():
        return None
    try:
        told = json.loads(folder.progress.read_text(encoding="utf-8"))
        return TrainingProgress(
            epoch=told["epoch"],
            epochs=told["epochs"],
            step=told["step"],
            steps=told["steps"],
            loss=told["loss"],
            left_s=told["eta_s"],
        )
    except (FileNotFoundError, ValueError, KeyError):
        return None
