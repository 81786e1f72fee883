"""The Secondary Capture is valid, the same every time, and leaves the edges of its page to the viewer."""

import numpy as np
import pytest
from PIL import Image, ImageChops
from pydicom import dcmread
from report_cases import context, dciodvfy, finding, headers

from ich_node.dicom import page
from ich_node.dicom.report import build_structured_report, to_bytes
from ich_node.dicom.secondary_capture import build_secondary_capture
from ich_node.vocabulary import Outcome

REPORTED = [outcome for outcome in Outcome if outcome.is_reported]
PICTURE = np.random.default_rng(1).integers(60, 200, (64, 48), dtype=np.uint8)


def capture_of(outcome, picture=None, **changes):
    sources = headers(**changes)
    return build_secondary_capture(finding(outcome, sources), sources, context(), picture)


@pytest.mark.parametrize("outcome", REPORTED)
@pytest.mark.parametrize("picture", [None, PICTURE], ids=["words", "picture"])
def test_the_validator_finds_nothing_in_a_capture(outcome, picture, tmp_path):
    file = tmp_path / "capture.dcm"

    file.write_bytes(to_bytes(capture_of(outcome, picture)))

    assert dciodvfy(file) == []


@pytest.mark.parametrize("outcome", REPORTED)
def test_every_outcome_has_a_page_whose_edges_are_left_to_the_viewer(outcome):
    pixels = capture_of(outcome, PICTURE).pixel_array

    assert pixels.shape == (768, 1024, 3)
    frame = pixels.copy()
    frame[60:-40, 40:-40] = pixels[0, 0]  # at the top stand two lines of the viewer's
    assert (frame == pixels[0, 0]).all()
    assert (pixels[40:-40] != pixels[0, 0]).any()


def test_pages_of_all_outcomes_differ():
    pages = {outcome: capture_of(outcome).pixel_array.tobytes() for outcome in REPORTED}

    assert len(set(pages.values())) == len(REPORTED)


def test_the_page_shows_the_key_image_in_its_own_proportions():
    size = 470
    shown = Image.fromarray(PICTURE).resize((round(48 * size / 64), size), Image.Resampling.LANCZOS)

    pixels = capture_of(Outcome.POSITIVE, PICTURE).pixel_array

    gray = Image.fromarray(pixels[:, :, 0])
    left, top = 48 + (size - shown.width) // 2, 62 + 64 + 22
    part = gray.crop((left, top + 1, left + shown.width, top + size - 1))
    assert ImageChops.difference(part, shown.crop((0, 1, shown.width, size - 1))).getbbox() is None


def test_a_capture_belongs_to_the_study_of_its_report_in_a_series_of_its_own():
    sources = headers()
    positive = finding(Outcome.POSITIVE, sources)

    capture = build_secondary_capture(positive, sources, context(), PICTURE)
    report = build_structured_report(positive, sources, context())

    for keyword in ("StudyInstanceUID", "PatientID", "StudyDescription", "SeriesDescription", "ContentTime"):
        assert capture[keyword].value == report[keyword].value
    assert capture.SeriesInstanceUID != report.SeriesInstanceUID
    assert (capture.SeriesNumber, capture.Modality, capture.BodyPartExamined) == (9002, "OT", "HEAD")
    assert capture.BurnedInAnnotation == "NO"
    assert capture.SourceImageSequence[0].ReferencedSOPInstanceUID == positive.key_instances[0]


def test_the_same_input_gives_the_same_bytes():
    assert to_bytes(capture_of(Outcome.POSITIVE, PICTURE)) == to_bytes(capture_of(Outcome.POSITIVE, PICTURE))


def test_whose_head_it_is_changes_no_pixel():
    one = capture_of(Outcome.POSITIVE, PICTURE, PatientName="Doe^Jane", PatientID="1", AccessionNumber="A1")
    two = capture_of(
        Outcome.POSITIVE, PICTURE, PatientName="Roe^Richard", PatientID="2", AccessionNumber="B2"
    )

    assert one.PixelData == two.PixelData


def test_a_capture_is_uncompressed_rgb_of_8_bit(tmp_path):
    file = tmp_path / "capture.dcm"

    file.write_bytes(to_bytes(capture_of(Outcome.NEGATIVE)))

    read = dcmread(file)
    assert read.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert (read.PhotometricInterpretation, read.BitsAllocated, read.SamplesPerPixel) == ("RGB", 8, 3)


@pytest.mark.parametrize("sentences", [1, 12, 60])
def test_many_words_still_keep_off_the_footer_and_the_edges(sentences):
    words = page.Page(
        headline="Headline " * 12,
        color="#b3261e",
        paragraphs=("A sentence that a reader would like to see in full on the page.",) * sentences,
        caption="Series 2, image 5",
        disclaimer="Disclaimer.",
        small_print="Small print " * 30,
    )

    pixels = page.draw_page(words, PICTURE)

    background = pixels[0, 0]
    assert (pixels[:, -40:] == background).all()
    assert (pixels[-40:] == background).all()
    gap = page.HEIGHT - 48 - 50 - 6
    assert (pixels[gap - 3 : gap] == background).all()
