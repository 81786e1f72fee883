"""Statements about the archive's files: which have a row, which study they belong to, what was forgotten."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, and_, func, select, update

from ich_node.core.retention import Kept
from ich_node.core.states import DeliveryState, StudyState
from ich_node.store.history import append
from ich_node.store.tables import deliveries, instances, labels, reports, studies
from ich_node.vocabulary import Outcome

_CHUNK = 500  # SQLite takes at least 999 parameters in one statement


def with_row(connection: Connection, names: Sequence[str]) -> set[str]:
    """Those of the files that a row names, a forgotten study's too."""
    found: set[str] = set()
    for start in range(0, len(names), _CHUNK):
        chunk = instances.c.file.in_(names[start : start + _CHUNK])
        found.update(connection.execute(select(instances.c.file).where(chunk)).scalars())
    return found


def kept_files(connection: Connection, *, after_id: int, limit: int) -> list[tuple[int, str]]:
    """Rows' ids and files in the order of the ids, but not those of forgotten studies; a page at a time."""
    statement = (
        select(instances.c.id, instances.c.file)
        .join(studies, studies.c.id == instances.c.study_id)
        .where(instances.c.id > after_id, studies.c.forgotten_at.is_(None))
        .order_by(instances.c.id)
        .limit(limit)
    )
    return [(row.id, row.file) for row in connection.execute(statement)]


def files_of(connection: Connection, study_id: int) -> list[str]:
    """All files of a study, those not in use too."""
    return list(
        connection.execute(select(instances.c.file).where(instances.c.study_id == study_id)).scalars()
    )


def kept_studies(connection: Connection) -> list[Kept]:
    """Finished studies whose images are still on the disk, with what retention asks about them."""
    undelivered = (
        select(reports.c.study_id, func.count().label("pending"))
        .join(deliveries, deliveries.c.report_id == reports.c.id)
        .where(deliveries.c.state == DeliveryState.PENDING)
        .group_by(reports.c.study_id)
        .subquery()
    )
    labelled = select(labels.c.study_id).distinct().subquery()
    statement = (
        select(
            studies.c.id, studies.c.outcome, studies.c.finished_at, undelivered.c.pending, labelled.c.study_id
        )
        .outerjoin(undelivered, undelivered.c.study_id == studies.c.id)
        .outerjoin(labelled, labelled.c.study_id == studies.c.id)
        .where(studies.c.state == StudyState.FINISHED, studies.c.forgotten_at.is_(None))
    )
    return [
        Kept(
            study_id=row[0],
            ignored=row[1] == Outcome.IGNORED,
            finished_at=row[2],
            undelivered=row[3] or 0,
            labelled=row[4] is not None,
        )
        for row in connection.execute(statement)
    ]


def mark_forgotten(connection: Connection, study_id: int, *, now: datetime) -> bool:
    """Note that a study's files go, unless it was reopened meanwhile; its rows stay as evidence."""
    finished = and_(studies.c.id == study_id, studies.c.state == StudyState.FINISHED)
    gone = connection.execute(update(studies).where(finished).values(forgotten_at=now)).rowcount == 1
    if gone:
        append(connection, study_id, "study.forgotten", now=now)
    return gone


def mark_remembered(connection: Connection, file: str) -> None:
    """Note that a forgotten study's file is back, so that retention looks at the study again."""
    study = select(instances.c.study_id).where(instances.c.file == file).scalar_subquery()
    connection.execute(update(studies).where(studies.c.id == study).values(forgotten_at=None))
