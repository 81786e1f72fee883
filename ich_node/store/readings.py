"""Statements about readings and their reports."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from ich_node.store.tables import readings, reports


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One analysis of one candidate by one bundle, at one revision of the study."""

    study_id: int
    revision: int
    series_uid: str | None
    outcome: str
    reason: str | None
    leading: bool
    bundle_sha256: str | None
    device: str | None
    result: dict[str, Any]
    read_at: datetime


@dataclass(frozen=True, kw_only=True)
class Report:
    """One object that we made: the whole file, so that a retry sends the same bytes."""

    kind: str  # SR or SC
    study_id: int
    revision: int
    sop_class_uid: str
    sop_instance_uid: str
    series_uid: str
    content: bytes
    created_at: datetime


def add_readings(connection: Connection, new: Sequence[Reading]) -> None:
    for reading in new:
        connection.execute(insert(readings).values(vars(reading)))


def series_read(connection: Connection, study_id: int) -> str | None:
    """The series that the newest leading reading of a study judged, None where it judged none."""
    newest = (
        select(readings.c.series_uid)
        .where(readings.c.study_id == study_id, readings.c.leading)
        .order_by(readings.c.revision.desc(), readings.c.id.desc())
        .limit(1)
    )
    found: str | None = connection.execute(newest).scalar()
    return found


def readings_of(connection: Connection, study_id: int, revision: int | None = None) -> list[Reading]:
    """The readings of a study (of one revision), the oldest first."""
    columns = [readings.c[name] for name in Reading.__dataclass_fields__]
    statement = select(*columns).where(readings.c.study_id == study_id).order_by(readings.c.id)
    if revision is not None:
        statement = statement.where(readings.c.revision == revision)
    return [Reading(**row._mapping) for row in connection.execute(statement)]


def add_report(connection: Connection, new: Report) -> int:
    """Keep a report; returns its number."""
    key = connection.execute(insert(reports).values(vars(new))).inserted_primary_key
    assert key is not None
    return int(key[0])


def reports_of(connection: Connection, study_id: int) -> list[Report]:
    """The reports of a study, the newest revision first, the SR before the SC."""
    columns = [reports.c[name] for name in Report.__dataclass_fields__]
    statement = select(*columns).where(reports.c.study_id == study_id)
    ordered = statement.order_by(reports.c.revision.desc(), reports.c.kind.desc())
    return [Report(**row._mapping) for row in connection.execute(ordered)]
