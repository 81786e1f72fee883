"""Statements about time: what the server says, the newest moment written down, and a clock set back."""

from datetime import UTC, datetime

from sqlalchemy import Connection, and_, func, select, update

from ich_node.core.states import StudyState
from ich_node.store.tables import (
    associations,
    deliveries,
    history,
    instances,
    outages,
    studies,
    training_runs,
)
from ich_node.store.watch_tables import signs_of_life

_WAITED_FOR = (
    studies.c.first_instance_at,
    studies.c.last_instance_at,
    studies.c.next_attempt_at,
    studies.c.due_at,
    studies.c.lease_until,
    instances.c.received_at,
    associations.c.seen_at,
    deliveries.c.next_attempt_at,
    deliveries.c.confirm_at,
    deliveries.c.lease_until,
    outages.c.probe_at,
    signs_of_life.c.seen_at,
    signs_of_life.c.due_at,
    training_runs.c.lease_until,
)


def server_time(connection: Connection) -> datetime | None:
    """The time of the database's server; None for SQLite, which has no clock but ours."""
    if connection.dialect.name == "sqlite":
        return None
    said: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return said.astimezone(UTC)


def newest_event_at(connection: Connection) -> datetime | None:
    """When the last thing happened to a study; None where nothing ever did."""
    at: datetime | None = connection.execute(select(func.max(history.c.at))).scalar_one()
    return at


def pull_back(connection: Connection, *, now: datetime) -> int:
    """Bring what waits for a moment ahead of `now` to now, after a clock was set back; returns the rows.

    Without it a study would count as quiet, and a report be tried again, only when the clock has caught up.
    A lease that its holder still keeps alive may pass on for once: its token fences the old holder off.
    """
    receiving = select(studies.c.id).where(studies.c.state == StudyState.RECEIVING)
    changed = 0
    for column in _WAITED_FOR:
        ahead = column > now
        if column.table is instances:
            ahead = and_(ahead, instances.c.study_id.in_(receiving))
        changed += connection.execute(update(column.table).where(ahead).values({column: now})).rowcount
    return changed
