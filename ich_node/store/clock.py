"""Statements about time: what the server says, the newest moment written down, and a clock set back."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Column, ColumnElement, Connection, and_, func, select, update

from ich_node.core.states import DeliveryState, StudyState
from ich_node.store.tables import (
    associations,
    deliveries,
    history,
    instances,
    outages,
    studies,
    training_runs,
)

# what was promised for a moment; one far ahead was promised by a clock that has been set back since
_PROMISED = (
    studies.c.next_attempt_at,
    deliveries.c.next_attempt_at,
    deliveries.c.confirm_at,
    outages.c.probe_at,
)
_LEASED = (studies.c.lease_until, deliveries.c.lease_until, training_runs.c.lease_until)


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


def go_on_from(connection: Connection, *, now: datetime, lease_s: float) -> int:
    """Let nothing wait, and nothing end, by a clock that has been set since; returns the rows that changed.

    A study that is being received counts as silent from now on only: its sender may be connected, and the
    seconds that a clock skipped are no silence. Leases end after `lease_s` at most: who lives extends them.
    """
    changed = _arriving_now(connection, now)
    for column in _PROMISED:
        changed += _bring_back(connection, column, to=now, where=column > now)
    longest = now + timedelta(seconds=lease_s)
    for column in _LEASED:
        changed += _bring_back(connection, column, to=longest, where=column > longest)
    return changed + _due_again(connection, now) + _sent_now(connection, now)


def _arriving_now(connection: Connection, now: datetime) -> int:
    receiving = studies.c.state == StudyState.RECEIVING
    begun = update(studies).where(receiving).values(first_instance_at=now, last_instance_at=now)
    held = update(associations).where(associations.c.closed_at.is_(None)).values(seen_at=now)
    theirs = instances.c.study_id.in_(select(studies.c.id).where(receiving))
    came = and_(instances.c.received_at > now, theirs)
    connection.execute(update(instances).where(came).values(received_at=now))
    return connection.execute(begun).rowcount + connection.execute(held).rowcount


def _bring_back(
    connection: Connection, column: Column[datetime], *, to: datetime, where: ColumnElement[bool]
) -> int:
    return connection.execute(update(column.table).where(where).values({column: to})).rowcount


def _sent_now(connection: Connection, now: datetime) -> int:
    """What was sent in the future was sent now: else no proof of it would count, and none be missed."""
    sent = select(deliveries.c.id, deliveries.c.sent_at, deliveries.c.confirm_by).where(
        deliveries.c.state == DeliveryState.SENT, deliveries.c.sent_at > now
    )
    changed = 0
    for delivery_id, sent_at, confirm_by in connection.execute(sent).all():
        values = {"sent_at": now, "confirm_by": confirm_by and confirm_by - (sent_at - now)}
        same = and_(deliveries.c.id == delivery_id, deliveries.c.sent_at == sent_at)
        changed += connection.execute(update(deliveries).where(same).values(values)).rowcount
    return changed


def _due_again(connection: Connection, now: datetime) -> int:
    """Nobody stands back for longer than an urgency asks: the order of those that wait stays."""
    waiting = select(studies.c.id, studies.c.handicap_s).where(
        studies.c.state != StudyState.FINISHED, studies.c.due_at > now
    )
    changed = 0
    for study_id, handicap_s in connection.execute(waiting).all():
        latest = now + timedelta(seconds=handicap_s)
        late = and_(studies.c.id == study_id, studies.c.due_at > latest)
        changed += connection.execute(update(studies).where(late).values(due_at=latest)).rowcount
    return changed
