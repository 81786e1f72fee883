"""The Secondary Capture is valid, the same every time, and leaves the edges of its page to the viewer."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageChops
from pydicom import dcmread
from report_cases import HEAT, PICTURE, context, dciodvfy, finding, headers, key_slices

from ich_node import vocabulary
from ich_node.dicom import page
from ich_node.dicom.key_slice import OUTLINE, KeySlice
from ich_node.dicom.report import build_structured_report, to_bytes
from ich_node.dicom.secondary_capture import build_secondary_capture
from ich_node.vocabulary import Outcome

REPORTED = [outcome for outcome in Outcome if outcome.is_reported]
SHOWN = (Outcome.POSITIVE, Outcome.INDETERMINATE)
COLOR = [int(OUTLINE[place : place + 2], 16) for place in (1, 3, 5)]
LARGE = (slice(148, 618), slice(48, 518))  # rows and columns of the large picture
SIDE = 215  # of a small one


def small(place):
    """Rows and columns of a small picture."""
    left = 48 + place * (SIDE + 22)
    return slice(663, 663 + SIDE), slice(left, left + SIDE)


def outline(pixels):
    return (pixels == COLOR).all(axis=2)


def told_of(outcome, sources, count=2):
    """A finding with so many key images; a negative has scores too, and names none."""
    told = finding(outcome, sources)
    if told.scores is None:
        return told
    uids = [str(sources[place].SOPInstanceUID) for place in (6, 8, 4, 7, 5)]
    return replace(told, scores=replace(told.scores, key_instances=tuple(uids[:count])))


def capture_of(outcome, count=2, heat=HEAT, **changes):
    sources = headers(**changes)
    told = told_of(outcome, sources, count)
    return build_secondary_capture(told, sources, context(), key_slices(told, heat))


@pytest.mark.parametrize(
    ("outcome", "count", "heat"),
    [(outcome, 0, None) for outcome in REPORTED]
    + [(outcome, count, HEAT) for outcome in SHOWN for count in (1, 5)]
    + [(Outcome.POSITIVE, 5, None)],
)
def test_the_validator_finds_nothing_in_a_capture(outcome, count, heat, tmp_path):
    file = tmp_path / "capture.dcm"

    file.write_bytes(to_bytes(capture_of(outcome, count, heat)))

    assert dciodvfy(file) == []


@pytest.mark.parametrize("outcome", REPORTED)
@pytest.mark.parametrize(("count", "height"), [(0, 768), (1, 768), (2, 1024), (5, 1024)])
def test_every_outcome_has_a_page_whose_edges_are_left_to_the_viewer(outcome, count, height):
    pixels = capture_of(outcome, count).pixel_array

    assert pixels.shape == (height if outcome in SHOWN else 768, 1024, 3)
    frame = pixels.copy()
    frame[60:-40, 40:-40] = pixels[0, 0]  # at the top stand two lines of the viewer's
    assert (frame == pixels[0, 0]).all()
    assert (pixels[40:-40] != pixels[0, 0]).any()


@pytest.mark.parametrize("count", range(1, 6))
def test_the_other_key_slices_stand_in_a_strip_below_the_first(count):
    pixels = capture_of(Outcome.POSITIVE, count).pixel_array

    assert (pixels[LARGE].max(axis=2) > 60).mean() > 0.5
    strip = [pixels[small(place)] for place in range(4)] if count > 1 else []
    filled = [(part.max(axis=2) > 60).mean() > 0.5 for part in strip]
    assert sum(filled) == count - 1
    assert filled == sorted(filled, reverse=True)


@pytest.mark.parametrize("outcome", SHOWN)
def test_a_line_runs_round_what_is_warm_and_leaves_it_to_be_seen(outcome):
    pixels = capture_of(outcome, 5).pixel_array

    scale = 470 / 64
    left = 48 + (470 - round(48 * scale)) // 2
    spot = [
        round(148 + 16 * scale),
        round(148 + 32 * scale),
        round(left + 12 * scale),
        round(left + 24 * scale),
    ]
    top, bottom, west, east = spot
    line = outline(pixels)
    assert all(
        line[side].sum() > 40
        for side in (
            np.s_[top - 6 : top + 6, west:east],
            np.s_[bottom - 6 : bottom + 6, west:east],
            np.s_[top:bottom, west - 6 : west + 6],
            np.s_[top:bottom, east - 6 : east + 6],
        )
    )
    within = pixels[top + 8 : bottom - 8, west + 8 : east - 8]
    assert (within.max(axis=2) == within.min(axis=2)).all(), "the slice itself is gray"
    far = line.copy()
    far[top - 6 : bottom + 6, west - 6 : east + 6] = False
    assert not far[LARGE].any()
    assert all(outline(pixels[small(place)]).any() for place in range(4))


@pytest.mark.parametrize("heat", [None, HEAT / 2], ids=["no permission", "nothing warm"])
def test_without_permission_or_warmth_there_is_no_line_and_no_word_of_one(heat, monkeypatch):
    pixels = capture_of(Outcome.POSITIVE, 5, heat).pixel_array
    monkeypatch.setattr(vocabulary, "OUTLINE_LEGEND", "Something else")
    other_words = capture_of(Outcome.POSITIVE, 5, heat).pixel_array

    assert not outline(pixels).any()
    assert (pixels == other_words).all()


def test_a_page_with_a_line_says_what_it_is(monkeypatch):
    pixels = capture_of(Outcome.POSITIVE).pixel_array
    monkeypatch.setattr(vocabulary, "OUTLINE_LEGEND", "")
    differing = (pixels != capture_of(Outcome.POSITIVE).pixel_array).any(axis=2)

    legend = np.s_[618:663, 540:976]
    assert differing[legend].sum() > 300
    assert differing.sum() == differing[legend].sum()
    assert outline(pixels[legend]).any()


@pytest.mark.parametrize("outcome", [outcome for outcome in REPORTED if outcome not in SHOWN])
def test_no_slice_is_shown_where_the_finding_names_none(outcome):
    sources = headers()
    uids = [str(source.SOPInstanceUID) for source in sources]
    given = [KeySlice(sop_instance_uid=uid, picture=PICTURE, heat=HEAT) for uid in uids[:3]]

    capture = build_secondary_capture(finding(outcome, sources), sources, context(), given)

    assert capture.PixelData == capture_of(outcome).PixelData
    assert not outline(capture.pixel_array).any()
    assert "SourceImageSequence" not in capture


@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_image_that_is_shown_is_named_as_a_source(count):
    sources = headers()
    told = told_of(Outcome.POSITIVE, sources, count)

    capture = build_secondary_capture(told, sources, context(), key_slices(told))

    named = [image.ReferencedSOPInstanceUID for image in capture.SourceImageSequence]
    assert named == list(told.key_instances)
    assert {image.ReferencedSOPClassUID for image in capture.SourceImageSequence} == {sources[0].SOPClassUID}


def test_frames_of_one_object_name_it_once():
    sources = headers()
    told = told_of(Outcome.POSITIVE, sources, 1)

    capture = build_secondary_capture(told, sources, context(), key_slices(told) * 3)

    assert len(capture.SourceImageSequence) == 1
    assert capture.Rows == 1024


def test_pages_of_all_outcomes_differ():
    pages = {outcome: capture_of(outcome).pixel_array.tobytes() for outcome in REPORTED}

    assert len(set(pages.values())) == len(REPORTED)


def test_the_page_shows_the_key_image_in_its_own_proportions():
    size = 470
    shown = Image.fromarray(PICTURE).resize((round(48 * size / 64), size), Image.Resampling.LANCZOS)

    pixels = capture_of(Outcome.POSITIVE, heat=None).pixel_array

    gray = Image.fromarray(pixels[:, :, 0])
    left, top = 48 + (size - shown.width) // 2, 62 + 64 + 22
    part = gray.crop((left, top + 1, left + shown.width, top + size - 1))
    assert ImageChops.difference(part, shown.crop((0, 1, shown.width, size - 1))).getbbox() is None


def test_a_capture_belongs_to_the_study_of_its_report_in_a_series_of_its_own():
    sources = headers()
    positive = finding(Outcome.POSITIVE, sources)

    capture = build_secondary_capture(positive, sources, context(), key_slices(positive))
    report = build_structured_report(positive, sources, context())

    for keyword in ("StudyInstanceUID", "PatientID", "StudyDescription", "SeriesDescription", "ContentTime"):
        assert capture[keyword].value == report[keyword].value
    assert capture.SeriesInstanceUID != report.SeriesInstanceUID
    assert (capture.SeriesNumber, capture.Modality, capture.BodyPartExamined) == (9002, "OT", "HEAD")
    assert capture.BurnedInAnnotation == "NO"


def test_the_same_input_gives_the_same_bytes():
    assert to_bytes(capture_of(Outcome.POSITIVE, 5)) == to_bytes(capture_of(Outcome.POSITIVE, 5))


def test_whose_head_it_is_changes_no_pixel():
    one = capture_of(Outcome.POSITIVE, PatientName="Doe^Jane", PatientID="1", AccessionNumber="A1")
    two = capture_of(Outcome.POSITIVE, PatientName="Roe^Richard", PatientID="2", AccessionNumber="B2")

    assert one.PixelData == two.PixelData


@pytest.mark.parametrize("outcome", [Outcome.POSITIVE, Outcome.NEGATIVE])
def test_a_capture_is_uncompressed_rgb_of_8_bit(outcome, tmp_path):
    file = tmp_path / "capture.dcm"

    file.write_bytes(to_bytes(capture_of(outcome, 5)))

    read = dcmread(file)
    assert read.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert (read.PhotometricInterpretation, read.BitsAllocated, read.SamplesPerPixel) == ("RGB", 8, 3)
    assert len(read.PixelData) == read.Rows * read.Columns * 3


@pytest.mark.parametrize("sentences", [1, 12, 60])
@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_many_words_still_keep_off_the_footer_and_the_edges(sentences, count):
    one = KeySlice(sop_instance_uid="1.2", picture=PICTURE, heat=HEAT)
    words = page.Page(
        headline="Headline " * 12,
        color="#b3261e",
        paragraphs=("A sentence that a reader would like to see in full on the page.",) * sentences,
        plates=(page.Plate(key_slice=one, caption="Series 2, image 5"),) * count,
        legend="What the line is, in words that may be many.",
        disclaimer="Disclaimer.",
        small_print="Small print " * 30,
    )

    pixels = page.draw_page(words)

    background = pixels[0, 0]
    assert (pixels[:, -40:] == background).all()
    assert (pixels[-40:] == background).all()
    gap = len(pixels) - 48 - 50 - 6
    assert (pixels[gap - 3 : gap] == background).all()
    if count:
        assert (pixels[620:662, 520:538] == background).all(), "words do not run into the pictures"


@pytest.mark.parametrize(("letters", "readable"), [(3, True), (45, False)])
def test_a_number_too_wide_for_its_picture_is_left_out(letters, readable):
    one = KeySlice(sop_instance_uid="1.2", picture=PICTURE)
    words = page.Page(
        headline="Headline",
        color="#b3261e",
        paragraphs=(),
        plates=(page.Plate(key_slice=one, caption="1" * letters),) * 2,
        legend="",
        disclaimer="Disclaimer.",
        small_print="Small print",
    )

    below = page.draw_page(words)[663 + SIDE : 663 + SIDE + 30, 48:]

    assert (below[:, :SIDE] != below[0, -1]).any() == readable
    assert (below[:, SIDE:] == below[0, -1]).all()
