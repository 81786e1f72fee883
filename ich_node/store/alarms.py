"""Reports that are late, and those that nobody proved in time: said once each, and counted for the doctor."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select, update

from ich_node.core.states import DeliveryState
from ich_node.store.history import append
from ich_node.store.tables import deliveries, reports


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """A delivery of which somebody must hear: not taken yet, or taken and not proven."""

    delivery_id: int
    study_id: int
    destination: str
    state: DeliveryState


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """What waits for one destination: since when the oldest does, how often it was tried, and why in vain."""

    destination: str
    count: int
    oldest: datetime
    attempts: int
    last_error: str | None


def raise_alarms(
    connection: Connection,
    destinations: Sequence[str],
    *,
    proving: Sequence[str],
    queued_before: datetime,
    now: datetime,
) -> list[Alarm]:
    """Mark what these destinations have not taken, and what those that prove it have not proven, in time.

    Each is marked once, with a line of history; returns what is new.
    """
    late = and_(
        deliveries.c.alarmed_at.is_(None),
        deliveries.c.destination.in_(destinations),
        or_(_unproven_at(proving, now), _unsent_since(queued_before)),
    )
    marked = connection.execute(
        update(deliveries).where(late).values(alarmed_at=now).returning(deliveries.c.id)
    ).scalars()
    rows = connection.execute(
        select(
            deliveries.c.id.label("delivery_id"),
            reports.c.study_id,
            deliveries.c.destination,
            deliveries.c.state,
        )
        .join(reports, reports.c.id == deliveries.c.report_id)
        .where(deliveries.c.id.in_(list(marked)))
        .order_by(deliveries.c.id)
    )
    raised = [Alarm(**{**row._mapping, "state": DeliveryState(row.state)}) for row in rows]
    for alarm in raised:
        line = "report.late" if alarm.state is DeliveryState.PENDING else "report.not_confirmed"
        append(connection, alarm.study_id, line, now=now, destination=alarm.destination)
    return raised


def _unproven_at(proving: Sequence[str], now: datetime) -> ColumnElement[bool]:
    # of a destination that proved once and is no longer asked to, nothing is awaited
    return and_(
        deliveries.c.state == DeliveryState.SENT,
        deliveries.c.confirm_by < now,
        deliveries.c.destination.in_(proving),
    )


def _unsent_since(moment: datetime) -> ColumnElement[bool]:
    # a row of an older version does not say when it was queued
    return and_(
        deliveries.c.state == DeliveryState.PENDING,
        or_(
            deliveries.c.queued_at < moment,
            and_(
                deliveries.c.queued_at.is_(None),
                deliveries.c.report_id.in_(select(reports.c.id).where(reports.c.created_at < moment)),
            ),
        ),
    )


def count_unproven(connection: Connection, proving: Sequence[str], *, now: datetime) -> int:
    """How many reports were taken by these destinations and not proven in time to be kept."""
    return int(
        connection.execute(
            select(func.count()).select_from(deliveries).where(_unproven_at(proving, now))
        ).scalar_one()
    )


def waiting(connection: Connection) -> list[Waiting]:
    """What each destination has yet to take: how many reports, and how the oldest of them stands."""
    since = func.coalesce(deliveries.c.queued_at, reports.c.created_at)
    name = deliveries.c.destination
    pending = (
        select(
            name,
            func.count().over(partition_by=name).label("count"),
            since.label("oldest"),
            deliveries.c.attempts,
            deliveries.c.last_error,
            func.row_number().over(partition_by=name, order_by=(since, deliveries.c.id)).label("place"),
        )
        .join(reports, reports.c.id == deliveries.c.report_id)
        .where(deliveries.c.state == DeliveryState.PENDING)
        .subquery()
    )
    columns = [pending.c[name] for name in Waiting.__dataclass_fields__]
    rows = connection.execute(select(*columns).where(pending.c.place == 1).order_by(pending.c.destination))
    return [Waiting(**row._mapping) for row in rows]


def count_failed(connection: Connection) -> int:
    """How many deliveries of studies' newest reports ended without success; sending again is what helps."""
    newest = select(reports.c.study_id, func.max(reports.c.revision).label("revision"))
    latest = newest.group_by(reports.c.study_id).subquery()
    failed = (
        select(func.count())
        .select_from(deliveries)
        .join(reports, reports.c.id == deliveries.c.report_id)
        .join(latest, and_(latest.c.study_id == reports.c.study_id, latest.c.revision == reports.c.revision))
        .where(deliveries.c.state == DeliveryState.FAILED)
    )
    return int(connection.execute(failed).scalar_one())
