"""What was received, counted without counting every row anew: a sum that is carried forward, and the rest."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, insert, select, update

from ich_node.store.tables import instances, studies
from ich_node.store.watch_tables import tallies

INSTANCES = "instances"
# rows older than this are all there: whoever wrote a lower number has committed long ago
SETTLED = timedelta(minutes=10)


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How many instances were received, and their bytes; canaries' are not counted."""

    count: int
    bytes: int


def count_instances(connection: Connection) -> Tally:
    """All instances ever received: the sum carried forward, and the rows after it."""
    before = _carried(connection)
    since = 0 if before is None else before.up_to_id
    rest = _sum(connection, since, None)
    if before is None:
        return rest
    return Tally(count=before.count + rest.count, bytes=before.bytes + rest.bytes)


def carry_forward(connection: Connection, *, now: datetime) -> None:
    """Add the rows that have settled to the sum; what retention deletes later stays counted."""
    before = _carried(connection)
    since = 0 if before is None else before.up_to_id
    fresh = select(func.min(instances.c.id)).where(
        instances.c.id > since, instances.c.received_at > now - SETTLED
    )
    first_fresh = connection.execute(fresh).scalar()
    last = connection.execute(select(func.max(instances.c.id))).scalar() or 0
    up_to = last if first_fresh is None else first_fresh - 1
    if up_to <= since:
        return
    more = _sum(connection, since, up_to)
    if before is None:
        values = {"up_to_id": up_to, "count": more.count, "bytes": more.bytes}
        connection.execute(insert(tallies).values(name=INSTANCES, **values))
        return
    values = {"up_to_id": up_to, "count": before.count + more.count, "bytes": before.bytes + more.bytes}
    ours = (tallies.c.name == INSTANCES, tallies.c.up_to_id == since)
    connection.execute(update(tallies).where(*ours).values(values))


@dataclass(frozen=True, kw_only=True)
class _Carried:
    up_to_id: int
    count: int
    bytes: int


def _carried(connection: Connection) -> _Carried | None:
    row = connection.execute(
        select(tallies.c.up_to_id, tallies.c.count, tallies.c.bytes).where(tallies.c.name == INSTANCES)
    ).one_or_none()
    return None if row is None else _Carried(up_to_id=row[0], count=row[1], bytes=row[2])


def _sum(connection: Connection, after_id: int, up_to_id: int | None) -> Tally:
    statement = (
        select(func.count(), func.coalesce(func.sum(instances.c.bytes), 0))
        .join(studies, studies.c.id == instances.c.study_id)
        .where(instances.c.id > after_id, ~studies.c.canary)
    )
    if up_to_id is not None:
        statement = statement.where(instances.c.id <= up_to_id)
    row = connection.execute(statement).one()
    return Tally(count=int(row[0]), bytes=int(row[1]))
