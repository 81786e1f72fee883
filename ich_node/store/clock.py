"""Statements about time: what the database's server says, and the newest moment that was written down."""

from datetime import UTC, datetime

from sqlalchemy import Connection, func, select

from ich_node.store.tables import history


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
