"""Every kind of report that the node can write: each outcome, class and revision, and odd headers too."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from pydicom.dataset import Dataset

from ich_node.core.conclusion import Finding
from ich_node.dicom.ladder import LADDER, in_class
from ich_node.dicom.report import Predecessor, ReportContext, build_structured_report, to_bytes
from ich_node.dicom.report_header import bare_headers
from ich_node.dicom.secondary_capture import build_secondary_capture
from ich_node.dicom.values import quietly
from ich_node.vocabulary import Outcome, Reason
from tests.odd_headers import CHARSETS, FOUND, OUTSIDE_THE_STANDARD, put, raw, with_bytes
from tests.report_cases import context, finding, headers, key_slices

REPORTED = [outcome for outcome in Outcome if outcome.is_reported]
EARLIER = Predecessor(
    sop_class_uid=LADDER[0], sop_instance_uid="2.25.17", series_uid="2.25.18", study_uid="2.25.19"
)
TYPE_2 = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Written:
    """One file of ours: `odd` if its source's headers were, `rung` is its class: SC, or the last of 88.x."""

    name: str
    odd: bool
    rung: str
    content: bytes


def every_report() -> Iterator[Written]:
    """Write reports about ordinary series, then about odd ones."""
    yield from _ordinary()
    for name, sources, outcome in _odd():
        yield from _both(f"{outcome} of {name}", outcome, sources, context(), odd=True)


def _ordinary() -> Iterator[Written]:
    contexts = {
        "": context(),
        ", calibrated": context(calibrated=True, prevalence=0.12),
        ", revised": context(revision=2, predecessor=EARLIER),
    }
    sources = headers()
    for outcome in REPORTED:
        for manner, circumstances in contexts.items():
            yield from _both(f"{outcome}{manner}", outcome, sources, circumstances, odd=False)
    for reason in (reason for reason in Reason if reason.verdict in ("declined", "failed")):
        declined = replace(finding(Outcome.DECLINED, sources), reason=reason, further_reasons=())
        yield from _structured(f"reason {reason}", declined, sources, context(), odd=False)


def _odd() -> Iterator[tuple[str, list[Dataset], Outcome]]:
    for charset, name in CHARSETS:
        yield f"{charset}", headers(SpecificCharacterSet=charset, PatientName=name), Outcome.POSITIVE
    for keyword, value in OUTSIDE_THE_STANDARD:
        yield f"{keyword}={value!r}", with_bytes(headers(), keyword, value), Outcome.NEGATIVE
    for keyword, vr, value in FOUND:
        sources = headers()
        for header in sources:
            put(header, raw(keyword, vr, value))
        yield f"{keyword} as {vr} {value[:9]!r}", sources, Outcome.DECLINED
    yield "headers without values", headers(missing=TYPE_2), Outcome.INDETERMINATE
    yield "headers of UIDs alone", list(bare_headers(headers())), Outcome.FAILED
    zeros = with_bytes(headers(), "StudyInstanceUID", b"1.2.840.010.5\0")
    yield "zeros", with_bytes(zeros, "SeriesInstanceUID", b"1.2.840.010.5.07"), Outcome.POSITIVE
    last = headers()
    with_bytes(last[-1:], "SOPInstanceUID", b"1.2.840.010.5.08")
    yield "zeros in an image", last, Outcome.NEGATIVE
    removed = headers(PatientIdentityRemoved="YES", DeidentificationMethod="")
    yield "identity removed", removed, Outcome.NEGATIVE
    yield "an order", headers(**_order()), Outcome.NEGATIVE


def _order() -> dict[str, object]:
    procedure, order = Dataset(), Dataset()
    procedure.CodeValue, procedure.CodingSchemeDesignator = "CT-KOPF", "99HOSP"
    procedure.CodeMeaning = "CT des Sch\u00e4dels"
    order.RequestedProcedureID, order.AccessionNumber = "RP1", "A7"
    order.RequestedProcedureDescription = "CT Sch\u00e4del"
    return {
        "SpecificCharacterSet": "ISO_IR 100",
        "ProcedureCodeSequence": [procedure],
        "RequestAttributesSequence": [order],
        "IssuerOfPatientID": "HOSP",
    }


@quietly()
def _both(
    name: str, outcome: Outcome, sources: list[Dataset], circumstances: ReportContext, *, odd: bool
) -> list[Written]:
    told = finding(outcome, headers())
    capture = build_secondary_capture(told, sources, circumstances, key_slices(told))
    return [
        *_structured(name, told, sources, circumstances, odd=odd),
        Written(name=f"{name}, SC", odd=odd, rung="SC", content=to_bytes(capture)),
    ]


@quietly()
def _structured(
    name: str, told: Finding, sources: list[Dataset], circumstances: ReportContext, *, odd: bool
) -> list[Written]:
    content = to_bytes(build_structured_report(told, sources, circumstances))
    turned = {sop_class[-2:]: in_class(content, sop_class)[0] for sop_class in LADDER}
    return [
        Written(name=f"{name}, 88.{rung}", odd=odd, rung=rung, content=one) for rung, one in turned.items()
    ]
