"""Statements about early readings: of heads that look whole while their study still arrives.

A study stays in `receiving` meanwhile: what arrives does not end the reading. Only a positive is kept.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, func, select, update

from ich_node.core.states import StudyState
from ich_node.store.history import append
from ich_node.store.tables import instances, studies


@dataclass(frozen=True, kw_only=True)
class Arriving:
    """A series of a study that is being received: how many images are in use, and when the last one came."""

    study_id: int
    series_uid: str
    images: int
    last_image_at: datetime
    early_key: str | None  # of the study: names what was last asked to be read early


def arriving_series(connection: Connection) -> list[Arriving]:
    """All series of all studies that are being received."""
    statement = (
        select(
            instances.c.study_id,
            instances.c.series_uid,
            func.count().label("images"),
            func.max(instances.c.received_at).label("last_image_at"),
            studies.c.early_key,
        )
        .join(studies, studies.c.id == instances.c.study_id)
        .where(studies.c.state == StudyState.RECEIVING, instances.c.in_use)
        .group_by(instances.c.study_id, instances.c.series_uid, studies.c.early_key)
        .order_by(instances.c.study_id, instances.c.series_uid)
    )
    return [Arriving(**row._mapping) for row in connection.execute(statement)]


def files_of_series(connection: Connection, study_id: int, series_uid: str) -> list[tuple[str, str]]:
    """File and transfer syntax of each image in use of a series."""
    statement = select(instances.c.file, instances.c.transfer_syntax_uid).where(
        instances.c.study_id == study_id, instances.c.series_uid == series_uid, instances.c.in_use
    )
    return [(row[0], row[1]) for row in connection.execute(statement.order_by(instances.c.file))]


def ask_early(
    connection: Connection, study_id: int, key: str, *, evidence: list[dict[str, object]], now: datetime
) -> bool:
    """Ask for an early reading of a study that is being received; returns whether it still was."""
    receiving = and_(studies.c.id == study_id, studies.c.state == StudyState.RECEIVING)
    values = {"early_at": now, "early_key": key, "ready_at": now}
    asked = connection.execute(update(studies).where(receiving).values(values)).rowcount == 1
    if asked:
        append(connection, study_id, "study.looks_whole", now=now, heads=evidence)
    return asked
