"""Statements about the archive's files: which have a row, which study they belong to, what was forgotten."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, select, update

from ich_node.store.history import append
from ich_node.store.tables import instances, studies


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


def mark_forgotten(connection: Connection, study_id: int, *, now: datetime) -> None:
    """Note that a study's files went; its rows stay as evidence of what was received."""
    connection.execute(update(studies).where(studies.c.id == study_id).values(forgotten_at=now))
    append(connection, study_id, "study.forgotten", now=now)


def mark_remembered(connection: Connection, file: str) -> None:
    """Note that a forgotten study's file is back, so that retention looks at the study again."""
    study = select(instances.c.study_id).where(instances.c.file == file).scalar_subquery()
    connection.execute(update(studies).where(studies.c.id == study).values(forgotten_at=None))
