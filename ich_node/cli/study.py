"""One study for people: what its newest report says, its readings, deliveries and history; its files."""

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom import dcmread

from ich_node.cli.audit import write
from ich_node.core.states import DeliveryState
from ich_node.dicom.audit import accessed, exported
from ich_node.dicom.report_facts import read_back
from ich_node.dicom.report_files import files_of
from ich_node.errors import UsageError
from ich_node.store.audit import facts_of
from ich_node.store.database import Connection
from ich_node.store.deliveries import Delivery, deliveries_of
from ich_node.store.history import HistoryLine, history_of
from ich_node.store.readings import Reading, Report, readings_of, reports_of
from ich_node.store.studies import Study, get_study
from ich_node.user import current_user
from ich_node.vocabulary import DISCLAIMER


@dataclass(frozen=True, kw_only=True)
class Told:
    """A study and all that is written down about it; `reports` are the newest ones."""

    study: Study
    readings: tuple[Reading, ...]
    reports: tuple[Report, ...]
    deliveries: tuple[Delivery, ...]
    history: tuple[HistoryLine, ...]


def require_study(connection: Connection, study_id: int) -> Study:
    """Look a study up by its number; raises UsageError where there is none."""
    study = get_study(connection, study_id)
    if study is None:
        raise UsageError(f"there is no study {study_id}; `ich-node studies list` lists them")
    return study


def look_up(connection: Connection, study_id: int) -> Told:
    """Gather what is known of a study; raises UsageError where there is none."""
    study = require_study(connection, study_id)
    reports = reports_of(connection, study_id)
    return Told(
        study=study,
        readings=tuple(readings_of(connection, study_id)),
        reports=tuple(report for report in reports if report.revision == reports[0].revision),
        deliveries=tuple(deliveries_of(connection, study_id)),
        history=tuple(history_of(connection, study_id)),
    )


def lines_of(told: Told) -> Iterator[str]:
    """Say it all, a line each; what the report says stands first."""
    study = told.study
    yield f"Study {study.id}, UID {study.study_uid}, {study.state}, revision {study.revision}"
    yield _words("Outcome:", study.outcome or "none yet", study.reason)
    yield from _finding(told)
    for reading in told.readings:
        yield _words(
            f"  reading, revision {reading.revision}: {reading.outcome}",
            reading.reason,
            f"series {reading.series_uid or '-'} bundle {(reading.bundle_sha256 or '-')[:12]}",
            reading.device,
        )
    for item in told.deliveries:
        attempts = f"{item.attempts} attempt{'' if item.attempts == 1 else 's'}"
        yield _words(
            f"  {item.kind}, revision {item.revision}, to {item.destination}: {item.state},",
            attempts,
            _proof(item),
            item.last_error,
        )
    for line in told.history:
        detail = (f"{key}={value}" for key, value in (line.detail or {}).items() if value is not None)
        yield _words(f"  {line.at.astimezone():%Y-%m-%d %H:%M:%S} {line.event}", *detail)


def _proof(item: Delivery) -> str | None:
    """Since when a report waits, or that its destination has yet to prove that it keeps it; what is late."""
    if item.state is DeliveryState.PENDING and item.queued_at is not None:
        late = "" if item.alarmed_at is None else "LATE, "
        return f"{late}waits since {item.queued_at.astimezone():%Y-%m-%d %H:%M:%S},"
    if item.state is DeliveryState.SENT and item.confirm_by is not None:
        return "waits for the proof that it is kept," if item.alarmed_at is None else "NOT CONFIRMED in time,"
    return None


def _finding(told: Told) -> Iterator[str]:
    said = next((report for report in told.reports if report.kind == "SR"), None)
    if said is None:
        yield DISCLAIMER
        return
    yield f"Report, revision {said.revision}: {read_back(dcmread(BytesIO(said.content))).conclusion}"
    result = _leading_result(told, said.revision)
    score = result.get("hemorrhage_probability")
    if score is not None:
        yield f"Score: {score:.3f}"
    if result.get("location"):
        yield f"Location: {result['location']}"


def _leading_result(told: Told, revision: int) -> dict[str, Any]:
    found = (one.result for one in told.readings if one.leading and one.revision == revision)
    return next(found, {})


def leave_files(told: Told, folder: Path) -> list[str]:
    """Write report.dcm, report.html and key-slice.png of the newest reports; returns the names.

    Raises UsageError where there is no report yet, or where the folder cannot be written.
    """
    if not told.reports:
        raise UsageError(f"study {told.study.id} has no report")
    files = {name: body for report in told.reports for name, body in files_of(report.content).items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, body in files.items():
            (folder / name).write_bytes(body)
    except OSError as error:
        raise UsageError(f"{folder} cannot be written ({error.strerror})") from error
    return list(files)


def _words(*words: str | None) -> str:
    return " ".join(word for word in words if word)


def note_look(connection: Connection, study_id: int, out: Path | None) -> None:
    """Write into the audit trail that a person looked at a study, or took its report out into files."""
    study = facts_of(connection, study_id)
    if study is not None:
        who = current_user()
        taken_to = "" if out is None else out.resolve().as_uri()
        write(connection, exported(study, who=who, what=taken_to) if out else accessed(study, who=who))
