"""Statements about the archive's files: which have a row, which study they belong to, what was forgotten."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, bindparam, func, or_, select, update

from ich_node.core.retention import Kept
from ich_node.core.states import DeliveryState, StudyState
from ich_node.store.history import append
from ich_node.store.tables import deliveries, instances, labels, reports, studies
from ich_node.vocabulary import Outcome

# put together once: it is asked for each instance that comes
_FORGOTTEN_LOCKED = (
    select(studies.c.forgotten_at).where(studies.c.id == bindparam("number")).with_for_update()
)
_CHUNK = 500  # SQLite takes at least 999 parameters in one statement


def with_row(connection: Connection, names: Sequence[str]) -> set[str]:
    """Those of the files that a row names, a forgotten study's too."""
    found: set[str] = set()
    for start in range(0, len(names), _CHUNK):
        chunk = instances.c.file.in_(names[start : start + _CHUNK])
        found.update(connection.execute(select(instances.c.file).where(chunk)).scalars())
    return found


def kept_files(connection: Connection, *, after_id: int, limit: int) -> list[tuple[int, str, int]]:
    """Rows' ids, files and studies in the order of the ids, a page at a time; not of forgotten studies."""
    statement = (
        select(instances.c.id, instances.c.file, instances.c.study_id)
        .join(studies, studies.c.id == instances.c.study_id)
        .where(instances.c.id > after_id, studies.c.forgotten_at.is_(None))
        .order_by(instances.c.id)
        .limit(limit)
    )
    return [(row.id, row.file, row.study_id) for row in connection.execute(statement)]


def files_of(connection: Connection, study_id: int) -> list[str]:
    """All files of a study, those not in use too."""
    return list(
        connection.execute(select(instances.c.file).where(instances.c.study_id == study_id)).scalars()
    )


def images_under(connection: Connection, study_uid: str) -> list[tuple[str, str, str]]:
    """Series UID, SOP Instance UID and file of all that ever came under a Study Instance UID."""
    statement = (
        select(instances.c.series_uid, instances.c.sop_instance_uid, instances.c.file)
        .join(studies, studies.c.id == instances.c.study_id)
        .where(studies.c.study_uid == study_uid)
    )
    return [(row.series_uid, row.sop_instance_uid, row.file) for row in connection.execute(statement)]


def kept_studies(connection: Connection) -> list[Kept]:
    """Finished studies with images on the disk, and what retention asks about them.

    Of a forgotten study whose images came again the days count from then.
    """
    in_state = {
        state: func.count(deliveries.c.id).filter(deliveries.c.state == state).label(state)
        for state in (DeliveryState.PENDING, DeliveryState.FAILED)
    }
    undelivered = (
        select(reports.c.study_id, *in_state.values())
        .join(deliveries, deliveries.c.report_id == reports.c.id)
        .group_by(reports.c.study_id)
        .subquery()
    )
    labelled = select(labels.c.study_id).distinct().subquery()
    returned = (
        select(instances.c.study_id, func.max(instances.c.received_at).label("at"))
        .join(studies, studies.c.id == instances.c.study_id)
        .where(instances.c.received_at > studies.c.forgotten_at)
        .group_by(instances.c.study_id)
        .subquery()
    )
    statement = (
        select(
            studies.c.id,
            studies.c.outcome,
            studies.c.finished_at,
            undelivered.c[DeliveryState.PENDING],
            undelivered.c[DeliveryState.FAILED],
            labelled.c.study_id,
            returned.c.at,
        )
        .outerjoin(undelivered, undelivered.c.study_id == studies.c.id)
        .outerjoin(labelled, labelled.c.study_id == studies.c.id)
        .outerjoin(returned, returned.c.study_id == studies.c.id)
        .where(
            studies.c.state == StudyState.FINISHED,
            or_(studies.c.forgotten_at.is_(None), returned.c.at.is_not(None)),
        )
    )
    return [
        Kept(
            study_id=row[0],
            ignored=row[1] == Outcome.IGNORED,
            finished_at=max(row[2], row[6] or row[2]),
            undelivered=row[3] or 0,
            refused=row[4] or 0,
            labelled=row[5] is not None,
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


def mark_returned(connection: Connection, study_id: int, file: str, *, now: datetime) -> bool:
    """Note that a file of a forgotten study came again, so that retention finds it; False for other studies.

    The study's row stays locked: its files cannot go in the same moment.
    """
    forgotten_at = connection.execute(_FORGOTTEN_LOCKED, {"number": study_id}).scalar_one()
    if forgotten_at is None:
        return False
    # never before the forgetting, whatever the clocks of two hosts say
    came_at = max(now, forgotten_at + timedelta(microseconds=1))
    connection.execute(update(instances).where(instances.c.file == file).values(received_at=came_at))
    return True


def mark_remembered(connection: Connection, study_id: int, *, now: datetime) -> None:
    """Note that all files of a forgotten study are back: it can be read again."""
    connection.execute(update(studies).where(studies.c.id == study_id).values(forgotten_at=None))
    append(connection, study_id, "study.remembered", now=now)
