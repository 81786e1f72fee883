"""Builds the Secondary Capture of a reading: the one object that every viewer shows. No clock, no disk."""

from collections.abc import Sequence

import numpy as np
from highdicom.sc import SCImage
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from ich_node import vocabulary
from ich_node.core.conclusion import Finding
from ich_node.dicom.key_slice import KeySlice
from ich_node.dicom.page import Page, Plate, draw_page
from ich_node.dicom.report_content import concept
from ich_node.dicom.report_context import ReportContext
from ich_node.dicom.report_header import (
    contributing_equipment,
    copy_identity,
    in_order,
    site_time,
    sop_class_of,
    stamp,
    uid_of,
)
from ich_node.dicom.values import quietly, text
from ich_node.dicom.wording import ascii_text, series_description, words_of

SERIES_NUMBER = 9002


@quietly()
def build_secondary_capture(
    finding: Finding,
    sources: Sequence[Dataset],
    context: ReportContext,
    key_slices: Sequence[KeySlice],
) -> Dataset:
    """Build one RGB page in a series of its own: the words of the SR, beside the key slices if there are any.

    `sources` as for the SR; of `key_slices` those are shown that the finding names, the first one large. No
    patient's name stands in the pixels. Raises ValueError as the SR's builder does.
    """
    if not finding.outcome.is_reported or not sources:
        raise ValueError("a report needs a reported outcome and at least one source header")
    ordered = in_order(sources)
    shown = [one for one in key_slices if one.sop_instance_uid in finding.key_instances]
    page = _page(finding, ordered, context, shown)
    capture = _capture(draw_page(page), ordered, context, series_description(finding.outcome))
    _name_sources(capture, shown, ordered)
    copy_identity(ordered[0], capture)
    now = site_time(ordered[0], context)
    stamp(capture, now, context)
    capture.DateOfSecondaryCapture, capture.TimeOfSecondaryCapture = capture.ContentDate, capture.ContentTime
    return capture


def _page(
    finding: Finding, sources: Sequence[Dataset], context: ReportContext, shown: Sequence[KeySlice]
) -> Page:
    words = words_of(finding, sources, context)
    return Page(
        headline=words.headline,
        color=vocabulary.OUTCOME_COLORS[finding.outcome],
        paragraphs=words.sentences,
        plates=_plates(finding, shown),
        legend=vocabulary.OUTLINE_LEGEND,
        disclaimer=vocabulary.DISCLAIMER,
        small_print=ascii_text(
            vocabulary.reader_line(
                software_version=context.software_version,
                bundle_name=context.bundle_name,
                bundle_sha256=context.bundle_sha256,
                mode=context.mode,
                at=site_time(sources[0], context).strftime("%Y-%m-%d %H:%M %z"),
            )
        ),
    )


def _plates(finding: Finding, shown: Sequence[KeySlice]) -> tuple[Plate, ...]:
    """The slices and the scanner's numbers of them, the first with that of the series."""
    series = finding.extent.series_number if finding.extent else ""
    numbers = finding.extent.image_numbers if finding.extent else {}
    uids = [key_slice.sop_instance_uid for key_slice in shown]
    images = [ascii_text(numbers.get(uid) or uid) for uid in uids]
    captions = [vocabulary.caption(ascii_text(series), image) for image in images[:1]]
    captions += [vocabulary.SMALL_CAPTION.format(number=image) for image in images[1:]]
    return tuple(Plate(key_slice=one, caption=words) for one, words in zip(shown, captions, strict=True))


def _capture(
    pixels: NDArray[np.uint8], sources: Sequence[Dataset], context: ReportContext, description: str
) -> SCImage:
    capture = SCImage(
        pixel_array=pixels,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "P"),
        study_instance_uid=text(sources[0], "StudyInstanceUID"),
        series_instance_uid=uid_of("sc-series", sources, context),
        series_number=SERIES_NUMBER,
        sop_instance_uid=uid_of("sc", sources, context),
        instance_number=1,
        series_description=description,
        manufacturer=vocabulary.MANUFACTURER,
        patient_id="",
        patient_name="",
        patient_birth_date="",
        patient_sex="",
        accession_number="",
        study_id="",
        study_date="",
        study_time="",
        referring_physician_name="",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        contributing_equipment=contributing_equipment(sources[0], context),
    )
    # a page of words has no orientation, and viewers would draw R and L on it (type 2C: empty is allowed)
    capture.PatientOrientation = []
    capture.BodyPartExamined = "HEAD"  # without it Laterality is asked for (PS3.3 C.7.3.1)
    capture.BurnedInAnnotation = "NO"
    capture.ConversionType = "WSD"
    capture["PixelData"].VR = "OB"
    return capture


def _name_sources(capture: SCImage, shown: Sequence[KeySlice], sources: Sequence[Dataset]) -> None:
    """Point from the page to the CT images that it shows (Source Image Sequence, PS3.3 C.7.6.1)."""
    headers = {text(source, "SOPInstanceUID"): source for source in sources}
    named = []
    for uid in dict.fromkeys(key_slice.sop_instance_uid for key_slice in shown):  # two may be of one object
        if uid in headers:
            image = Dataset()
            image.ReferencedSOPClassUID = sop_class_of(headers[uid])
            image.ReferencedSOPInstanceUID = uid
            image.PurposeOfReferenceCodeSequence = [concept(vocabulary.SOURCE_IMAGE)]
            named.append(image)
    if named:
        capture.SourceImageSequence = named
