"""Statements about instances that were refused: a scanner that was refused may wait for a person."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from ich_node.store.watch_tables import refusals


@dataclass(frozen=True, kw_only=True)
class Refused:
    """How often instances were refused with one status (hexadecimal), and when last."""

    status: str
    count: int
    last_at: datetime


def note_refusal(connection: Connection, status: int, *, now: datetime) -> None:
    """Count one refused instance."""
    code = f"{status:04X}"
    counted = update(refusals).where(refusals.c.status == code)
    if connection.execute(counted.values(count=refusals.c.count + 1, last_at=now)).rowcount == 0:
        connection.execute(insert(refusals).values(status=code, count=1, last_at=now))


def list_refusals(connection: Connection) -> list[Refused]:
    """How often each status was answered."""
    statement = select(refusals.c.status, refusals.c.count, refusals.c.last_at).order_by(refusals.c.status)
    return [Refused(**row._mapping) for row in connection.execute(statement)]
