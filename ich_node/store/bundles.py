"""Statements about bundles: which one serves, which may come, and how each came to serve."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, select, update

from ich_node.core.states import BundleCommand, BundleState
from ich_node.errors import UsageError
from ich_node.settings.sections import GATE_MINIMUM_PATIENTS
from ich_node.store.tables import bundle_changes, bundles, installation
from ich_node.vocabulary import gate_lowered_sentence


@dataclass(frozen=True, kw_only=True)
class NewBundle:
    """A bundle folder that is known to be whole; `metrics` holds what it was measured to do."""

    name: str
    sha256: str
    folder: Path
    parent_sha256: str | None = None
    metrics: Mapping[str, Any]
    gate: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class RegisteredBundle:
    """The row of a bundle; `gate` is the verdict on it when it was last let in or refused."""

    id: int
    name: str
    sha256: str
    folder: str
    state: BundleState
    parent_sha256: str | None
    metrics: Mapping[str, Any]
    gate: Mapping[str, Any]
    created_at: datetime
    promoted_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class ServingBundle:
    """What reads the next study; `gate_lowered`: it was let in with less evidence than as shipped.

    `gate_minimum` is the number of kept-aside patients that was asked for, None for a shipped bundle.
    """

    name: str
    sha256: str
    folder: Path
    gate_lowered: bool
    gate_minimum: int | None

    @property
    def notes(self) -> tuple[str, ...]:
        """What each report of this bundle has to say about how it came to serve."""
        if not self.gate_lowered or self.gate_minimum is None:
            return ()
        return (gate_lowered_sentence(self.gate_minimum, GATE_MINIMUM_PATIENTS),)


_COLUMNS = [bundles.c[name] for name in RegisteredBundle.__dataclass_fields__]


def serving(connection: Connection) -> ServingBundle:
    """The bundle that reads the next study: one indexed row. Raises UsageError where none is registered."""
    columns = (bundles.c.name, bundles.c.sha256, bundles.c.folder, bundles.c.gate)
    row = connection.execute(select(*columns).where(bundles.c.state == BundleState.SERVING)).one_or_none()
    if row is None:
        raise UsageError(
            "no bundle serves yet: run `ich-node migrate`, which registers the one of the settings"
        )
    return ServingBundle(
        name=row.name,
        sha256=row.sha256,
        folder=Path(row.folder),
        gate_lowered=bool(row.gate.get("lowered", False)),
        gate_minimum=row.gate.get("minimum_patients"),
    )


def lock_bundles(connection: Connection) -> None:
    """Let no other transaction change what serves until this one ends (SQLite: it is alone anyhow)."""
    connection.execute(select(installation.c.id).with_for_update())


def add_bundle(connection: Connection, new: NewBundle, *, now: datetime) -> RegisteredBundle:
    """Register a candidate."""
    values = {**vars(new), "folder": str(new.folder), "state": BundleState.CANDIDATE, "created_at": now}
    connection.execute(insert(bundles).values(values))
    added = find_bundle(connection, new.name)
    assert added is not None
    return added


def find_bundle(connection: Connection, name: str) -> RegisteredBundle | None:
    row = connection.execute(select(*_COLUMNS).where(bundles.c.name == name)).one_or_none()
    return None if row is None else _bundle(row._mapping)


def get_bundle(connection: Connection, sha256: str) -> RegisteredBundle | None:
    row = connection.execute(select(*_COLUMNS).where(bundles.c.sha256 == sha256)).one_or_none()
    return None if row is None else _bundle(row._mapping)


def list_bundles(connection: Connection) -> list[RegisteredBundle]:
    """All bundles, the newest first."""
    statement = select(*_COLUMNS).order_by(bundles.c.id.desc())
    return [_bundle(row._mapping) for row in connection.execute(statement)]


def has_bundles(connection: Connection) -> bool:
    return connection.execute(select(bundles.c.id).limit(1)).first() is not None


def set_serving(
    connection: Connection,
    bundle: RegisteredBundle,
    *,
    command: BundleCommand,
    now: datetime,
    gate: Mapping[str, Any] | None = None,
) -> None:
    """Let a bundle serve from the next study on, and retire the one that did; `gate` as let in, if judged."""
    # the old one first: the index allows one at a time
    retired = {"state": BundleState.RETIRED}
    connection.execute(update(bundles).where(bundles.c.state == BundleState.SERVING).values(retired))
    values: dict[str, object] = {"state": BundleState.SERVING, "promoted_at": now}
    if gate is not None:
        values["gate"] = gate
    connection.execute(update(bundles).where(bundles.c.id == bundle.id).values(values))
    connection.execute(insert(bundle_changes).values(at=now, command=command, bundle_id=bundle.id))


def previous_bundle(connection: Connection) -> RegisteredBundle | None:
    """The bundle that a rollback brings back: what served before, going further back with each rollback."""
    served: list[int] = []
    changes = select(bundle_changes.c.command, bundle_changes.c.bundle_id).order_by(bundle_changes.c.id)
    for change in connection.execute(changes):
        if change.command == BundleCommand.ROLLBACK:
            served.pop()
        else:
            served.append(change.bundle_id)
    if len(served) < 2:
        return None
    return _bundle(connection.execute(select(*_COLUMNS).where(bundles.c.id == served[-2])).one()._mapping)


def _bundle(row: object) -> RegisteredBundle:
    values = dict(row)  # type: ignore[call-overload]
    return RegisteredBundle(**{**values, "state": BundleState(values["state"])})
