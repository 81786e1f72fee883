"""Destinations that cannot be reached: a row while it lasts, shared by all who call them."""

from datetime import datetime

from sqlalchemy import Connection, Select, delete, insert, select, update

from ich_node.core.outages import Outage
from ich_node.store.tables import outages


def outage_of(connection: Connection, destination: str) -> Outage | None:
    """The outage of one destination, None where it answered when it was last called."""
    found = connection.execute(_all().where(outages.c.destination == destination)).one_or_none()
    return None if found is None else Outage(**found._mapping)


def list_outages(connection: Connection) -> list[Outage]:
    """All destinations that could not be reached when they were last called, the longest away first."""
    return [Outage(**row._mapping) for row in connection.execute(_all().order_by(outages.c.since))]


def take_probe(connection: Connection, destination: str, *, until: datetime, now: datetime) -> bool:
    """Whether the destination may be called now; where it is away, by nobody else before `until`."""
    if outage_of(connection, destination) is None:
        return True
    due = (outages.c.destination == destination, outages.c.probe_at <= now)
    return connection.execute(update(outages).where(*due).values(probe_at=until)).rowcount == 1


def note_outage(connection: Connection, outage: Outage) -> None:
    """Write down that the destination could not be reached."""
    values = {**vars(outage), "error": outage.error[:255]}
    same = outages.c.destination == outage.destination
    if connection.execute(update(outages).where(same).values(values)).rowcount == 0:
        connection.execute(insert(outages).values(values))


def end_outage(connection: Connection, destination: str) -> datetime | None:
    """The destination answers: since when it had not, None where nothing was wrong."""
    gone = delete(outages).where(outages.c.destination == destination).returning(outages.c.since)
    since: datetime | None = connection.execute(gone).scalar_one_or_none()
    return since


def _all() -> Select[tuple[str, int, datetime, datetime, str]]:
    columns = outages.c
    return select(columns.destination, columns.failures, columns.since, columns.probe_at, columns.error)
