"""What comes back of a study: result.json in the one shape that programs rely on, report and key image."""

import json
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom import dcmread

from ich_node.demo.follow import Walked
from ich_node.dicom.report_facts import ReportFacts, read_back
from ich_node.dicom.report_files import files_of
from ich_node.store.readings import Reading
from ich_node.vocabulary import Reason

SCHEMA = 1
_READING_STAGES = ("decode", "brace", "predict", "report")
STAGES = ("receive", "complete", *_READING_STAGES, "deliver", "total")


def result_of(walked: Walked) -> dict[str, Any]:
    """The result of a study that has its outcome; the top level is the leading reading's."""
    study = walked.study
    return {
        "schema": SCHEMA,
        **_without_reading(study.study_uid, outcome=study.outcome, reason=study.reason),
        **(walked.leading.result if walked.leading else {}),
        "seconds": _seconds(walked, walked.leading),
        "readings": [
            {
                **_without_reading(study.study_uid, outcome=reading.outcome, reason=reading.reason),
                **reading.result,
                "seconds": _seconds(walked, reading),
            }
            for reading in walked.readings
        ],
    }


def result_without_outcome(study_uid: str | None, reason: Reason | None = None) -> dict[str, Any]:
    """The result of what has no outcome: nothing was readable, nothing was taken, or it is on its way."""
    return {
        "schema": SCHEMA,
        **_without_reading(study_uid, outcome=None, reason=reason.value if reason else None),
        "readings": [],
    }


def write_result(place: Path, result: dict[str, Any]) -> None:
    """Write result.json into a folder, which is made where it is not there."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "result.json").write_text(json.dumps(result, indent=2), encoding="utf-8")


def leave_reports(walked: Walked, received_in: Path, place: Path) -> ReportFacts | None:
    """Leave what the PACS received as report.dcm, report.html and key-slice.png; say what it says."""
    said = None
    for report in walked.reports:
        received = (received_in / f"{report.sop_instance_uid}.dcm").read_bytes()
        for name, content in files_of(received).items():
            (place / name).write_bytes(content)
        if report.kind == "SR":
            said = read_back(dcmread(BytesIO(received)))
    return said


def _without_reading(study_uid: str | None, *, outcome: str | None, reason: str | None) -> dict[str, Any]:
    return {
        "study_uid": study_uid,
        "outcome": outcome,
        "reason": reason,
        "hemorrhage_probability": None,
        "location": None,
        "location_probabilities": None,
        "key_instances": [],
        "slice_probabilities": [],
        "bundle": None,
        "seconds": dict.fromkeys(STAGES),
    }


def _seconds(walked: Walked, reading: Reading | None) -> dict[str, float]:
    """Seconds by stage, from the rows' times and from the reading itself."""
    study = walked.study
    inside: dict[str, float] = reading.result.get("seconds", {}) if reading else {}
    sent = [item.sent_at for item in walked.deliveries if item.sent_at is not None]
    ends = [*sent, *([study.finished_at] if study.finished_at else [])]
    return {
        "receive": _between(study.first_instance_at, study.last_instance_at),
        "complete": _between(study.last_instance_at, study.ready_at),
        **{stage: round(inside.get(stage, 0.0), 3) for stage in _READING_STAGES},
        "deliver": _between(study.finished_at, max(sent)) if sent else 0.0,
        "total": _between(study.first_instance_at, max(ends)) if ends else 0.0,
    }


def _between(begin: datetime | None, end: datetime | None) -> float:
    return max(0.0, round((end - begin).total_seconds(), 3)) if begin and end else 0.0
