"""Statements about canaries: synthetic studies that prove that the node still reads what it receives."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Table, delete, func, insert, or_, select, update
from sqlalchemy.sql.selectable import Select

from ich_node.store.columns import metadata
from ich_node.store.tables import instances, studies
from ich_node.store.watch_tables import canaries


@dataclass(frozen=True, kw_only=True)
class Canary:
    """One canary; without an end it is on its way, with a trouble it failed."""

    study_uid: str
    begun_at: datetime
    ended_at: datetime | None
    outcome: str | None
    trouble: str | None


@dataclass(frozen=True, kw_only=True)
class Flight:
    """A canary that is on its way, and the outcome of its study where it has one."""

    study_uid: str
    begun_at: datetime
    outcome: str | None


_COLUMNS = [canaries.c[name] for name in Canary.__dataclass_fields__]


def begin_canary(connection: Connection, study_uid: str, *, now: datetime) -> None:
    """Write a canary down before it is sent: by this its study is known for no patient's."""
    connection.execute(insert(canaries).values(study_uid=study_uid, begun_at=now))


def flights(connection: Connection) -> list[Flight]:
    """The canaries on their way, the oldest first."""
    statement = (
        select(canaries.c.study_uid, canaries.c.begun_at, studies.c.outcome)
        .outerjoin(studies, studies.c.study_uid == canaries.c.study_uid)
        .where(canaries.c.ended_at.is_(None))
        .order_by(canaries.c.id)
    )
    return [Flight(**row._mapping) for row in connection.execute(statement)]


def end_canary(
    connection: Connection, study_uid: str, *, outcome: str | None, trouble: str | None, now: datetime
) -> bool:
    """End a canary, once; returns whether it was on its way."""
    flying = (canaries.c.study_uid == study_uid, canaries.c.ended_at.is_(None))
    values = {"ended_at": now, "outcome": outcome, "trouble": trouble}
    return connection.execute(update(canaries).where(*flying).values(values)).rowcount == 1


def call_off(connection: Connection, study_uid: str) -> None:
    """Forget a canary that was not sent as this node ends: it says nothing of anybody."""
    connection.execute(delete(canaries).where(canaries.c.study_uid == study_uid))


def newest_canary(connection: Connection, *, ended: bool = False) -> Canary | None:
    """The canary that was begun last, or the last of those that ended."""
    statement = select(*_COLUMNS).order_by(canaries.c.id.desc()).limit(1)
    row = connection.execute(
        statement.where(canaries.c.ended_at.is_not(None)) if ended else statement
    ).first()
    return None if row is None else Canary(**row._mapping)


def last_success_at(connection: Connection) -> datetime | None:
    """When a canary last got its outcome in time."""
    well = select(func.max(canaries.c.ended_at)).where(canaries.c.trouble.is_(None))
    found: datetime | None = connection.execute(well).scalar()
    return found


def old_canary_studies(connection: Connection, *, begun_before: datetime, now: datetime) -> list[int]:
    """The studies of canaries that nobody needs any more and nobody works on."""
    free = or_(studies.c.lease_until.is_(None), studies.c.lease_until < now)
    statement = select(studies.c.id).where(studies.c.canary, studies.c.first_instance_at < begun_before, free)
    return list(connection.execute(statement).scalars())


def files_of_canary(connection: Connection, study_id: int) -> list[str]:
    """The files of a canary's study, locked against a worker; none where it is no canary's."""
    mine = select(studies.c.id).where(studies.c.id == study_id, studies.c.canary).with_for_update()
    if connection.execute(mine).first() is None:
        return []
    return list(
        connection.execute(select(instances.c.file).where(instances.c.study_id == study_id)).scalars()
    )


def remove_canary_studies(connection: Connection, study_ids: Sequence[int]) -> None:
    """Delete studies of canaries with everything that names them; the canaries' own rows stay."""
    chosen = select(studies.c.id).where(studies.c.id.in_(study_ids), studies.c.canary)
    _delete_with_dependents(connection, studies, chosen)


def _delete_with_dependents(connection: Connection, table: Table, ids: Select[tuple[int]]) -> None:
    for child in metadata.tables.values():
        for column in child.columns:
            if column.references(table.c.id):
                _delete_with_dependents(connection, child, select(child.c.id).where(column.in_(ids)))
    connection.execute(delete(table).where(table.c.id.in_(ids)))


def forget_canaries(connection: Connection, *, ended_before: datetime) -> None:
    """Delete the rows of old canaries, but the last one that ended well stays as its proof."""
    last = select(func.max(canaries.c.id)).where(
        canaries.c.trouble.is_(None), canaries.c.ended_at.is_not(None)
    )
    gone = (canaries.c.ended_at < ended_before, canaries.c.id != func.coalesce(last.scalar_subquery(), 0))
    connection.execute(delete(canaries).where(*gone))
