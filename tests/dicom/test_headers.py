"""Headers as scanners, archives and vandals write them: facts where there are facts, nothing elsewhere."""

import math
from copy import deepcopy
from io import BytesIO
from typing import Any

import pytest
from builders import ct_series
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import EnhancedCTImageStorage, KeyObjectSelectionDocumentStorage

from ich_node.dicom.headers import identity, instance_facts, transfer_syntax
from ich_node.dicom.part10 import read_header
from ich_node.dicom.values import quietly
from ich_node.errors import UnreadableInstance
from ich_node.vocabulary import Reason


def _image(**tags: Any) -> Dataset:
    return ct_series(slices=1, **tags)[0]


TEMPLATE = _image(rows=8, columns=8)


def _raw(dataset: Dataset, keyword: str, vr: str, value: bytes) -> Dataset:
    """Put bytes of another content into an element, as a file would bring them."""
    tag = Tag(keyword)
    dataset._dict[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True)
    return dataset


def test_facts_of_a_plain_image_are_those_of_its_header() -> None:
    image = _image(rows=48, columns=64, pixel_spacing=(0.5, 0.4), kernel="H31s", PatientAge="071Y")

    facts = instance_facts(image)

    assert facts.sop_instance_uid == image.SOPInstanceUID
    assert (facts.rows, facts.columns, facts.pixel_spacing) == (48, 64, (0.5, 0.4))
    assert (facts.modality, facts.kernel, facts.patient_age_years) == ("CT", "H31s", 71.0)
    assert facts.image_type == ("ORIGINAL", "PRIMARY", "AXIAL")
    assert facts.position == tuple(image.ImagePositionPatient)
    assert facts.orientation == (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@pytest.mark.parametrize(
    "keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"]
)
@pytest.mark.parametrize(
    "value", [None, "", "ID_07c9bea25", "1.2.3.SYNTHET", "1." + "2" * 63, "1..2", "1.2.", "1,2"]
)
def test_an_instance_without_a_proper_uid_has_no_identity(keyword: str, value: str | None) -> None:
    image = _image()
    if value is None:
        del image[keyword]
    else:
        _raw(image, keyword, "UI", value.encode())

    with pytest.raises(UnreadableInstance) as told:
        identity(image)

    assert told.value.reason is Reason.NO_IDENTITY


@pytest.mark.parametrize("value", [b"1.02.003", b"1.2\0", b"1." + b"2" * 62, b"2.25.1"])
def test_leading_zeros_padding_and_64_characters_pass(value: bytes) -> None:
    image = _raw(_image(), "StudyInstanceUID", "UI", value)

    assert identity(image)[0] == value.decode().rstrip("\0")


@pytest.mark.parametrize(
    ("keyword", "vr", "value"),
    [
        ("PixelSpacing", "DS", b"0.5\\abc"),
        ("PixelSpacing", "DS", b"0\\0"),
        ("PixelSpacing", "DS", b"0.5"),
        ("PixelSpacing", "DS", b"0.5\\1e300"),
        ("PixelSpacing", "DS", b"1e-320\\0.5"),
        ("ImagePositionPatient", "DS", b"1\\2"),
        ("ImagePositionPatient", "DS", b"1\\nan\\3"),
        ("ImagePositionPatient", "DS", b"0\\0\\-1e308"),
        ("ImageOrientationPatient", "DS", b"0\\0\\0\\0\\0\\0"),
        ("ImageOrientationPatient", "DS", b"1\\0\\0\\1\\0\\0"),
        ("SliceThickness", "DS", b"-5"),
        ("SliceThickness", "DS", b"inf"),
        ("AcquisitionTime", "TM", b"lunch"),
        ("PatientAge", "AS", b"12"),
    ],
)
def test_odd_numbers_become_nothing(keyword: str, vr: str, value: bytes) -> None:
    image = _raw(_image(missing=("PatientBirthDate",)), keyword, vr, value)

    facts = instance_facts(image)

    told = {
        "PixelSpacing": facts.pixel_spacing,
        "ImagePositionPatient": facts.position,
        "ImageOrientationPatient": facts.orientation,
        "SliceThickness": facts.slice_thickness_mm,
        "AcquisitionTime": facts.acquisition_time_s,
        "PatientAge": facts.patient_age_years,
    }
    assert told[keyword] is None


def test_half_a_character_becomes_a_sign_that_can_be_stored() -> None:
    written = BytesIO()
    _image(SpecificCharacterSet="ISO_IR 6", PatientID="+2AA-", description="Head +2AA-").save_as(
        written, enforce_file_format=True
    )
    content = written.getvalue().replace(b"ISO_IR 6", b"utf_7   ")  # pydicom knows every codec of Python's

    with quietly():
        facts = instance_facts(read_header(content))

    assert facts.series_description == "Head \ufffd"
    assert facts.patient_key


@given(
    keyword=st.sampled_from(sorted({element.keyword for element in TEMPLATE if element.keyword})),
    value=st.binary(max_size=40),
)
def test_no_content_of_any_element_raises_anything_but_no_identity(keyword: str, value: bytes) -> None:
    image = deepcopy(TEMPLATE)
    vr = image[keyword].VR
    _raw(image, keyword, vr if vr != "SQ" else "UN", value)

    try:
        identity(image)
    except UnreadableInstance:
        return
    facts = instance_facts(image)

    assert all(math.isfinite(number) for number in facts.pixel_spacing or ())


@pytest.mark.parametrize(
    ("age", "born", "years"),
    [
        ("071Y", "", 71.0),
        ("018M", "", 1.5),
        ("003W", "", 21 / 365.25),
        ("010D", "", 10 / 365.25),
        ("000Y", "", None),
        ("", "", None),
        ("", "19500615", 70.5),
        ("040Y", "19500615", 40.0),
    ],
)
def test_the_age_comes_from_the_age_or_the_birth_date(age: str, born: str, years: float | None) -> None:
    image = _image(PatientAge=age, PatientBirthDate=born, StudyDate="20201214")

    told = instance_facts(image).patient_age_years

    assert told == (pytest.approx(years, abs=0.01) if years is not None else None)


def test_acquisition_times_count_across_midnight() -> None:
    before = instance_facts(_image(AcquisitionDate="20261231", AcquisitionTime="235959.5"))
    after = instance_facts(_image(AcquisitionDateTime="20270101000000.5+0100", AcquisitionTime="120000"))

    assert before.acquisition_time_s is not None
    assert after.acquisition_time_s is not None
    assert after.acquisition_time_s - before.acquisition_time_s == pytest.approx(1.0)


@pytest.mark.parametrize(
    "tags",
    [
        {"Manufacturer": "ICH node project"},
        {"ManufacturerModelName": "ICH node"},
        {"SeriesDescription": "ICH AI SUSPECTED - not for dx"},
    ],
)
def test_our_own_objects_are_recognized(tags: dict[str, str]) -> None:
    assert instance_facts(_image(**tags)).own_object
    assert not instance_facts(_image()).own_object


def test_a_rejection_note_names_the_images_it_rejects() -> None:
    note = _image(modality="KO", sop_class=KeyObjectSelectionDocumentStorage)
    title, image, series, study = Dataset(), Dataset(), Dataset(), Dataset()
    title.CodeValue = "113001"
    image.ReferencedSOPInstanceUID = "1.2.3"
    series.ReferencedSOPSequence = Sequence([image])
    study.ReferencedSeriesSequence = Sequence([series])
    note.ConceptNameCodeSequence = Sequence([title])
    note.CurrentRequestedProcedureEvidenceSequence = Sequence([study])

    rejecting = instance_facts(note)
    title.CodeValue = "113000"  # of interest
    praising = instance_facts(note)

    assert rejecting.rejected_instances == ("1.2.3",)
    assert praising.rejected_instances == ()


def test_patients_are_told_apart_by_id_without_keeping_it() -> None:
    one, same, other = (instance_facts(_image(PatientID=name)) for name in ("A1", "a1 ", "A2"))

    assert one.patient_key == same.patient_key != other.patient_key
    assert "A1" not in repr(one)


def test_lossy_compression_is_told_with_its_largest_ratio() -> None:
    told = instance_facts(_image(LossyImageCompression="01", LossyImageCompressionRatio=["4.5", "12"]))

    assert (told.compression.lossy, told.compression.ratio) == (True, 12.0)


def test_frames_are_read_from_their_functional_groups() -> None:
    image = _image(
        sop_class=EnhancedCTImageStorage, NumberOfFrames=2, missing=("ImagePositionPatient", "PixelSpacing")
    )
    del image.ImageOrientationPatient
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing, measures.SliceThickness = [0.4, 0.4], 5
    shared.PlaneOrientationSequence = Sequence([orientation])
    shared.PixelMeasuresSequence = Sequence([measures])
    image.SharedFunctionalGroupsSequence = Sequence([shared])
    groups = []
    for height in (10.0, 5.0):
        group, place = Dataset(), Dataset()
        place.ImagePositionPatient = [-100, -100, height]
        group.PlanePositionSequence = Sequence([place])
        groups.append(group)
    image.PerFrameFunctionalGroupsSequence = Sequence(groups)

    facts = instance_facts(image)

    assert [plane.position for plane in facts.planes] == [(-100, -100, 10), (-100, -100, 5)]
    assert facts.orientation == (1, 0, 0, 0, 1, 0)
    assert (facts.pixel_spacing, facts.slice_thickness_mm, facts.frames) == ((0.4, 0.4), 5.0, 2)


def test_an_odd_element_in_a_functional_group_is_as_good_as_absent() -> None:
    image = _image(sop_class=EnhancedCTImageStorage)
    measures, group = Dataset(), Dataset()
    measures.SliceThickness = 5
    group.PixelMeasuresSequence = Sequence([_raw(measures, "PixelSpacing", "DZ", b"0.4\\0.4")])
    image.PerFrameFunctionalGroupsSequence = Sequence([group])

    assert instance_facts(image).slice_thickness_mm == 5.0


def test_a_bare_data_set_tells_its_transfer_syntax_by_how_it_was_read() -> None:
    bare = Dataset()
    bare.set_original_encoding(True, True)
    big = Dataset()
    big.set_original_encoding(False, False)

    assert [transfer_syntax(bare), transfer_syntax(big)] == ["1.2.840.10008.1.2", "1.2.840.10008.1.2.2"]
