"""The history of a study: one line for everything that happened to it; never changed, never erased."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from ich_node.store.tables import history


@dataclass(frozen=True, kw_only=True)
class HistoryLine:
    """Something that happened to a study."""

    at: datetime
    event: str
    detail: dict[str, Any]


def append(connection: Connection, study_id: int, event: str, *, now: datetime, **detail: object) -> None:
    """Add a line, in the transaction of what it tells."""
    connection.execute(insert(history).values(study_id=study_id, at=now, event=event, detail=detail))


def history_of(connection: Connection, study_id: int) -> list[HistoryLine]:
    """The lines of a study, oldest first."""
    statement = select(history.c.at, history.c.event, history.c.detail).where(history.c.study_id == study_id)
    return [HistoryLine(**row._mapping) for row in connection.execute(statement.order_by(history.c.id))]
