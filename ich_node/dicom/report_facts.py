"""Reads one of our Structured Reports back into facts, by concept name. Needs pydicom only."""

from collections.abc import Iterator
from dataclasses import dataclass

from pydicom.dataset import Dataset

from ich_node import vocabulary
from ich_node.vocabulary import Code, Outcome, Reason


@dataclass(frozen=True, kw_only=True)
class ReportFacts:
    """What an SR says.

    `title`, `status`, `presence` and `finding_site` are code values; `probability` is percent and None where
    the bundle is not calibrated.
    """

    title: str
    series_description: str
    status: str | None
    outcome: Outcome | None
    presence: str | None
    reason: Reason | None
    further_reasons: tuple[Reason, ...]
    finding_site: str | None
    probability: float | None
    key_instances: tuple[str, ...]
    conclusion: str
    comment: str
    bundle_sha256: str | None
    predecessors: tuple[str, ...]


_FINDING_SITE = Code(value="363698007", scheme="SCT", meaning="Finding Site")
_SERIAL_NUMBER = Code(value="121016", scheme="DCM", meaning="Device Observer Serial Number")
_SOURCE_IMAGE = Code(value="121112", scheme="DCM", meaning="Source of Measurement")


def read_back(report: Dataset) -> ReportFacts:
    """Say what a report says; None or empty where it is silent. Raises KeyError if it is no SR document."""
    items = list(_descendants(report))
    reasons = tuple(Reason(value) for value in _codes(items, vocabulary.REASON_NAME))
    presence = _first(_codes(items, vocabulary.PRESENCE_NAME))
    numbers = [item.MeasuredValueSequence[0].NumericValue for item in _named(items, vocabulary.PROBABILITY)]
    return ReportFacts(
        title=str(report["ConceptNameCodeSequence"][0].CodeValue),
        series_description=str(report.get("SeriesDescription", "")),
        status=_first(_codes(items, vocabulary.STATUS_NAME)),
        outcome=_outcome(presence, reasons),
        presence=presence,
        reason=reasons[0] if reasons else None,
        further_reasons=reasons[1:],
        finding_site=_first(_codes(items, _FINDING_SITE)),
        probability=float(numbers[0]) if numbers else None,
        key_instances=tuple(
            str(item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
            for item in _named(items, _SOURCE_IMAGE)
        ),
        conclusion=_first(_texts(items, vocabulary.CONCLUSION)) or "",
        comment=_first(_texts(items, vocabulary.COMMENT)) or "",
        bundle_sha256=_first(_texts(items, _SERIAL_NUMBER)),
        predecessors=_predecessors(report),
    )


def _descendants(item: Dataset) -> Iterator[Dataset]:
    for child in item.get("ContentSequence", None) or ():
        yield child
        yield from _descendants(child)


def _named(items: list[Dataset], name: Code) -> list[Dataset]:
    return [item for item in items if _is(item, name)]


def _is(item: Dataset, name: Code) -> bool:
    concepts = item.get("ConceptNameCodeSequence", None)
    return bool(concepts) and (concepts[0].get("CodeValue"), concepts[0].get("CodingSchemeDesignator")) == (
        name.value,
        name.scheme,
    )


def _codes(items: list[Dataset], name: Code) -> list[str]:
    return [str(item.ConceptCodeSequence[0].CodeValue) for item in _named(items, name)]


def _texts(items: list[Dataset], name: Code) -> list[str]:
    return [str(item.TextValue) for item in _named(items, name)]


def _first(values: list[str]) -> str | None:
    return values[0] if values else None


def _outcome(presence: str | None, reasons: tuple[Reason, ...]) -> Outcome | None:
    for outcome, code in vocabulary.PRESENCE.items():
        if presence == code.value:
            return outcome
    if not reasons:
        return None
    return Outcome.FAILED if reasons[0] is Reason.MODEL_FAILED else Outcome.DECLINED


def _predecessors(report: Dataset) -> tuple[str, ...]:
    return tuple(
        str(instance.ReferencedSOPInstanceUID)
        for study in report.get("PredecessorDocumentsSequence", None) or ()
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    )
