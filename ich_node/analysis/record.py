"""What is kept of an analysis: the rows of its readings, as outside programs read them. Pure."""

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any

from ich_node.analysis.analyse import Analysis
from ich_node.analysis.order import Order
from ich_node.analysis.read import CandidateReading
from ich_node.core.conclusion import Finding
from ich_node.dicom.values import IDENTITY, text
from ich_node.store.bundles import ServingBundle
from ich_node.store.readings import Reading

_SAID = (
    "outcome",
    "reason",
    "location",
    "hemorrhage_probability",
    "slice_probabilities",
    "key_instances",
    "identity_sha256",  # a mended name or accession number needs a new report
)


def reading_rows(analysis: Analysis, order: Order, *, now: datetime) -> list[Reading]:
    """One row for each reading; the first one leads."""
    return [
        Reading(
            study_id=order.study.id,
            revision=order.study.revision,
            series_uid=reading.series_uid,
            outcome=reading.finding.outcome,
            reason=reading.finding.reason,
            leading=index == 0,
            bundle_sha256=order.bundle.sha256,
            device=analysis.device,
            result=_result(analysis, reading, order.bundle),
            read_at=now,
        )
        for index, reading in enumerate(analysis.readings)
    ]


def says_the_same(earlier: Reading, rows: Sequence[Reading]) -> bool:
    """Whether the leading reading tells a reader nothing that the earlier one did not: no new report then."""
    leading = rows[0] if rows else None
    return (
        leading is not None
        and leading.bundle_sha256 == earlier.bundle_sha256
        and leading.series_uid == earlier.series_uid
        and all(leading.result.get(key) == earlier.result.get(key) for key in _SAID)
    )


def _result(analysis: Analysis, reading: CandidateReading, bundle: ServingBundle) -> dict[str, Any]:
    """The result of one reading, by the schema that outside programs rely on."""
    finding = reading.finding
    scores = finding.scores
    return {
        "outcome": finding.outcome.value,
        "reason": finding.reason.value if finding.reason else None,
        "further_reasons": [reason.value for reason in finding.further_reasons],
        "hemorrhage_probability": scores.study if scores else None,
        "location": finding.location.value if finding.location else None,
        "location_probabilities": {place.value: p for place, p in scores.locations.items()}
        if scores
        else None,
        "key_instances": list(finding.key_instances),
        "slice_probabilities": [
            {"sop_instance_uid": one.sop_instance_uid, "probability": one.score}
            for one in (scores.slices if scores else ())
        ],
        "bundle": {"name": bundle.name, "sha256": bundle.sha256},
        "device": analysis.device,
        "seconds": dict(analysis.seconds),
        "extent": _extent(finding),
        "notes": list(finding.notes),
        "identity_sha256": _identity(reading),
    }


def _identity(reading: CandidateReading) -> str:
    """A hash of what the report says about the patient: changed when it was mended at the source."""
    header = reading.sources[0]
    return sha256("\0".join(text(header, keyword) for keyword in IDENTITY).encode()).hexdigest()


def _extent(finding: Finding) -> dict[str, Any] | None:
    if finding.extent is None:
        return None
    return {key: value for key, value in vars(finding.extent).items() if key != "image_numbers"}
