"""Builds the Structured Report of a reading, and turns our data sets into files' bytes. No clock, no disk."""

from collections.abc import Sequence
from enum import Enum
from io import BytesIO

import pydicom
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import ComprehensiveSR, EnhancedSR
from pydicom.dataset import Dataset
from pydicom.uid import ComprehensiveSRStorage, EnhancedSRStorage

from ich_node import vocabulary
from ich_node.core.conclusion import Finding
from ich_node.dicom.report_content import build_content
from ich_node.dicom.report_context import Predecessor, ReportContext
from ich_node.dicom.report_copies import copy_elements, encodings_of, new_item
from ich_node.dicom.report_facts import ReportFacts, read_back
from ich_node.dicom.report_header import (
    bare_headers,
    contributing_equipment,
    copy_identity,
    in_order,
    site_time,
    stamp,
    uid_of,
)
from ich_node.dicom.values import items, quietly, text
from ich_node.dicom.wording import series_description, words_of

__all__ = [
    "Predecessor",
    "ReportContext",
    "ReportFacts",
    "SopClass",
    "build_structured_report",
    "read_back",
    "to_bytes",
]

SERIES_NUMBER = 9001


class SopClass(Enum):
    """The SR Storage SOP Classes that a destination may take; the tree is the same in both."""

    COMPREHENSIVE = str(ComprehensiveSRStorage)
    ENHANCED = str(EnhancedSRStorage)


_DOCUMENTS: dict[SopClass, type[ComprehensiveSR] | type[EnhancedSR]] = {
    SopClass.COMPREHENSIVE: ComprehensiveSR,
    SopClass.ENHANCED: EnhancedSR,
}


@quietly()
def build_structured_report(
    finding: Finding,
    sources: Sequence[Dataset],
    context: ReportContext,
    sop_class: SopClass = SopClass.COMPREHENSIVE,
) -> Dataset:
    """Build the SR of a finding in a series of its own.

    `sources` are headers of every analysed instance; where nothing was analysed, of the best candidate's.
    The same arguments give the same bytes, whatever the order of the sources. Only the UIDs must be
    sound: any other odd value is left out. Raises ValueError on a finding that no report is written about,
    or without sources.
    """
    if not finding.outcome.is_reported or not sources:
        raise ValueError("a report needs a reported outcome and at least one source header")
    ordered = in_order(sources)
    words = words_of(finding, ordered, context)
    kind = f"sr-{sop_class.name.lower()}"
    document = _DOCUMENTS[sop_class](
        evidence=bare_headers(ordered),
        content=build_content(
            finding, ordered, context, tracking_uid=uid_of("tracking-1", ordered, context), words=words
        ),
        series_instance_uid=uid_of(f"{kind}-series", ordered, context),
        series_number=SERIES_NUMBER,
        sop_instance_uid=uid_of(kind, ordered, context),
        instance_number=1,
        series_description=series_description(finding.outcome),
        manufacturer=vocabulary.MANUFACTURER,
        is_complete=True,
        is_final=False,  # no human read it: neither final nor verified
        is_verified=False,
        previous_versions=_predecessors(context),
        requested_procedures=_requests(ordered[0]) or None,
        contributing_equipment=contributing_equipment(ordered[0], context),
        coding_schemes=[_private_scheme()],
    )
    copy_identity(ordered[0], document)
    stamp(document, site_time(ordered[0], context), context)
    return document


def _predecessors(context: ReportContext) -> list[Dataset] | None:
    if context.predecessor is None:
        return None
    earlier = Dataset()
    earlier.SOPClassUID = context.predecessor.sop_class_uid
    earlier.SOPInstanceUID = context.predecessor.sop_instance_uid
    earlier.SeriesInstanceUID = context.predecessor.series_uid
    earlier.StudyInstanceUID = context.predecessor.study_uid
    return [earlier]


_REQUEST_TYPE_2 = (
    "AccessionNumber", "PlacerOrderNumberImagingServiceRequest", "FillerOrderNumberImagingServiceRequest",
    "RequestedProcedureID", "RequestedProcedureDescription",
)  # fmt: skip


def _requests(source: Dataset) -> list[Dataset]:
    """The orders that the images answer (Referenced Request Sequence, PS3.3 C.17.2)."""
    requests = []
    for order in items(source, "RequestAttributesSequence"):
        request = new_item(order, encodings_of(source))
        request.StudyInstanceUID = text(source, "StudyInstanceUID")
        request.ReferencedStudySequence = []
        request.RequestedProcedureCodeSequence = []
        for keyword in _REQUEST_TYPE_2:
            setattr(request, keyword, "")
        copy_elements(source, request, ("AccessionNumber",))
        copy_elements(order, request, (*_REQUEST_TYPE_2, "RequestedProcedureCodeSequence"))
        requests.append(request)
    return requests


def _private_scheme() -> CodingSchemeIdentificationItem:
    return CodingSchemeIdentificationItem(
        designator=vocabulary.PRIVATE_SCHEME,
        name=vocabulary.PRIVATE_SCHEME_NAME,
        uid=vocabulary.PRIVATE_SCHEME_UID,
        responsible_organization=vocabulary.MANUFACTURER,
    )


@quietly()
def to_bytes(dataset: Dataset) -> bytes:
    """Encode one of our data sets as a complete DICOM file, Explicit VR Little Endian (PS3.10)."""
    file = BytesIO()
    pydicom.dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()
