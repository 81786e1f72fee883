"""A volume in HU out of a series: the same head however it lay in the scanner or was shuffled."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from builders import ct_series
from hypothesis import given, settings
from hypothesis import strategies as st
from multiframe import enhanced
from pydicom.dataset import Dataset
from pydicom.uid import JPEGLSLossless

from ich_node.core.grounds import Limits, Rules
from ich_node.dicom.volume import assemble
from ich_node.errors import CannotJudge
from ich_node.vocabulary import NOTE_AVERAGED, NOTE_LOSSY, NOTE_NO_AGE, NOTE_TRUSTED, Reason

SHAPE = (10, 12, 16)
FORWARD = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def _told(slices: int = SHAPE[0]) -> np.ndarray:
    """Values in which each voxel says where it is; half air, so that HU are plausible."""
    z, y, x = np.meshgrid(range(slices), range(SHAPE[1]), range(SHAPE[2]), indexing="ij")
    hu = (y * 6 + x * 2 + z).astype(np.int16)
    hu[:, :, 12:] = -1000
    return hu


def _series(pixels: np.ndarray | None = None, **changes: Any) -> list[Dataset]:
    return ct_series(pixels=_told() if pixels is None else pixels, **({"spacing_mm": 5.0} | changes))


def _assemble(series: Sequence[Dataset], **settings: Any) -> np.ndarray:
    return assemble(series, **settings).volume.hu


def _refused(series: Sequence[Dataset], **settings: Any) -> Reason:
    with pytest.raises(CannotJudge) as told:
        assemble(series, **settings)
    return told.value.reason


def test_hu_positions_spacing_and_names_are_those_of_the_series() -> None:
    series = _series(pixel_spacing=(0.5, 0.4), first_z_mm=-20.0)

    assembled = assemble(series)

    np.testing.assert_array_equal(assembled.volume.hu, _told())
    assert assembled.volume.hu.dtype == np.float32
    assert assembled.volume.spacing_mm == (0.5, 0.4)
    np.testing.assert_allclose(assembled.volume.positions_mm, -20.0 + 5.0 * np.arange(10))
    assert assembled.sop_instance_uids == tuple(image.SOPInstanceUID for image in series)


def test_the_extent_says_what_was_read_in_the_scanners_numbers() -> None:
    series = _series(description="Brain 5.0", series_number=4, first_z_mm=-20.0, first_instance=101)

    extent = assemble(series).extent

    assert (extent.series_uid, extent.series_number) == (series[0].SeriesInstanceUID, "4")
    assert (extent.series_description, extent.slices) == ("Brain 5.0", 10)
    assert (extent.covered_mm, extent.first_mm, extent.last_mm) == (45.0, -20.0, 25.0)
    assert extent.image_numbers[series[2].SOPInstanceUID] == "103"


@settings(max_examples=30, deadline=None)
@given(chance=st.randoms(use_true_random=False))
def test_order_of_arrival_and_instance_numbers_never_change_the_volume(chance: random.Random) -> None:
    series = _series()
    expected = assemble(series).volume
    numbers = list(range(len(series)))
    chance.shuffle(numbers)
    for image, number in zip(series, numbers, strict=True):
        image.InstanceNumber = number
    chance.shuffle(series)

    volume = assemble(series).volume

    np.testing.assert_array_equal(volume.hu, expected.hu)
    np.testing.assert_array_equal(volume.positions_mm, expected.positions_mm)


@pytest.mark.parametrize(
    ("orientation", "as_scanned"),
    [
        (FORWARD, lambda upright: upright),
        ((-1.0, 0.0, 0.0, 0.0, 1.0, 0.0), lambda upright: upright[:, :, ::-1]),
        ((1.0, 0.0, 0.0, 0.0, -1.0, 0.0), lambda upright: upright[:, ::-1]),
        ((-1.0, 0.0, 0.0, 0.0, -1.0, 0.0), lambda upright: upright[:, ::-1, ::-1]),
        ((0.0, 1.0, 0.0, 1.0, 0.0, 0.0), lambda upright: upright.transpose(0, 2, 1)),
        ((0.0, 1.0, 0.0, -1.0, 0.0, 0.0), lambda upright: upright.transpose(0, 2, 1)[:, ::-1]),
        ((0.0, -1.0, 0.0, 1.0, 0.0, 0.0), lambda upright: upright.transpose(0, 2, 1)[:, :, ::-1]),
    ],
)
def test_prone_feet_first_and_decubitus_stand_upright_by_their_cosines(
    orientation: Any, as_scanned: Any
) -> None:
    turned = orientation[0] == 0
    spacing = (0.4, 0.5) if turned else (0.5, 0.4)
    series = _series(
        np.ascontiguousarray(as_scanned(_told())), orientation=orientation, pixel_spacing=spacing
    )
    for image in series:
        image.PatientPosition = "HFS"  # the text is not believed

    volume = assemble(series).volume

    np.testing.assert_array_equal(volume.hu, _told())
    assert volume.spacing_mm == (0.5, 0.4)


def test_a_tilted_gantry_keeps_its_slices_and_measures_along_the_normal() -> None:
    volume = assemble(_series(tilt_deg=18.5)).volume

    np.testing.assert_array_equal(volume.hu, _told())
    np.testing.assert_allclose(np.diff(volume.positions_mm), 5.0, atol=1e-4)


def test_rescale_is_applied_slice_by_slice_in_float() -> None:
    series = _series()
    for index, image in enumerate(series):
        stored = np.frombuffer(image.PixelData, "<i2").astype(float)
        hu = stored * float(image.RescaleSlope) + float(image.RescaleIntercept)
        slope, intercept = (0.5, -1024.0 - index) if index % 2 else (1.0, 0.0)
        image.PixelRepresentation, image.BitsStored, image.HighBit = 1, 16, 15
        image.PixelData = ((hu - intercept) / slope).round().astype("<i2").tobytes()
        image.RescaleSlope, image.RescaleIntercept = slope, intercept

    np.testing.assert_array_equal(_assemble(series), _told())


def test_a_missing_rescale_is_one_and_zero_where_air_and_water_fit() -> None:
    fitting = _series(missing=("RescaleSlope", "RescaleIntercept"))
    for image, hu in zip(fitting, _told(), strict=True):
        image.PixelRepresentation, image.BitsStored, image.HighBit = 1, 16, 15
        image.PixelData = hu.astype("<i2").tobytes()
    shifted = _series(missing=("RescaleSlope", "RescaleIntercept"))  # stored values hold HU + 1024

    np.testing.assert_array_equal(_assemble(fitting), _told())
    assert _refused(shifted) is Reason.NOT_HU


@pytest.mark.parametrize(
    "damage",
    [
        {"RescaleIntercept": "0"},
        {"RescaleIntercept": "-2048"},
        {"RescaleSlope": "3"},
    ],
)
def test_values_that_are_no_hu_are_refused_unless_the_header_is_trusted(damage: dict[str, str]) -> None:
    series = _series(**damage)

    assert _refused(series) is Reason.NOT_HU
    assert NOTE_TRUSTED in assemble(series, trust_headers=True).notes


@pytest.mark.parametrize("padding", [-2000, 63536])
def test_declared_padding_is_air_before_anything_else(padding: int) -> None:
    series = _series()
    for image, hu in zip(series, _told(), strict=True):
        padded = hu.copy()
        padded[:3] = -2000
        image.PixelRepresentation, image.BitsStored, image.HighBit = 1, 16, 15
        image.RescaleIntercept = 1000  # so that padding would look like air and tissue like bone
        image.PixelData = padded.astype("<i2").tobytes()
        image.add_new("PixelPaddingValue", "SS" if padding < 0 else "US", padding)

    hu = _assemble(series, trust_headers=True)

    assert (hu[:, :3] == -1000).all()
    assert (hu[:, 3:, 0] > 900).all()


def test_a_padding_range_and_undeclared_deep_values_are_air_too() -> None:
    ranged, undeclared = _series(), _series()
    for image in ranged:
        image.add_new("PixelPaddingValue", "US", 1024)
        image.add_new("PixelPaddingRangeLimit", "US", 1024 + 20)
    for image, hu in zip(undeclared, _told(), strict=True):
        deep = hu.copy()
        deep[0] = -2000
        image.PixelRepresentation, image.BitsStored, image.HighBit = 1, 16, 15
        image.RescaleIntercept = 0
        image.PixelData = deep.astype("<i2").tobytes()

    told = _told()

    np.testing.assert_array_equal(_assemble(ranged), np.where((told >= 0) & (told <= 20), -1000, told))
    assert (_assemble(undeclared)[:, 0] == -1000).all()


def test_a_repeated_slice_is_dropped_and_a_contradicting_one_refused() -> None:
    series = _series()
    same, other = _series(seed=2)[3], _series(_told() + np.int16(7), seed=3)[3]
    for image in (same, other):
        image.ImagePositionPatient = series[3].ImagePositionPatient

    np.testing.assert_array_equal(_assemble([*series, same]), _told())
    assert _refused([*series, other]) is Reason.GEOMETRY


def test_a_series_without_positions_or_spacing_is_refused() -> None:
    assert _refused(_series(missing=("ImagePositionPatient",))) is Reason.GEOMETRY
    assert _refused(_series(missing=("ImageOrientationPatient",))) is Reason.GEOMETRY
    assert _refused(_series(missing=("PixelSpacing",))) is Reason.GEOMETRY
    assert _refused([]) is Reason.GEOMETRY


def test_an_image_that_tells_more_places_than_it_has_frames_refuses_the_series() -> None:
    series = _series()
    two = enhanced(series[4:6])
    two.NumberOfFrames, two.PixelData = 1, series[4].PixelData

    assert _refused([*series[:4], two, *series[6:]]) is Reason.GEOMETRY


def test_one_slice_that_cannot_be_decoded_refuses_the_series() -> None:
    series = _series()
    series[4].PixelData = series[4].PixelData[:-10]

    assert _refused(series) is Reason.UNDECODABLE
    assert _refused(_series(), rules=Rules(limits=Limits(rows=8))) is Reason.TOO_LARGE


@pytest.mark.parametrize(
    ("spacing_mm", "thickness_mm", "members"),
    [
        (0.625, 0.625, [8] * 5),
        (1.0, 1.0, [5] * 8),
        (1.25, 1.25, [4] * 10),
        (2.5, 2.5, [2] * 20),
        (5.0, 5.0, [1] * 40),
        (2.5, 5.0, [1] * 40),  # thick slices that overlap are read one by one
        (4.0, 4.0, [1] * 40),
    ],
)
def test_thin_slices_are_averaged_to_about_five_millimeters(
    spacing_mm: float, thickness_mm: float, members: list[int]
) -> None:
    pixels = _told(40)
    series = ct_series(pixels=pixels, spacing_mm=spacing_mm, thickness_mm=thickness_mm, first_z_mm=0.0)

    assembled = assemble(series)

    ends = np.cumsum(members)
    groups = [range(end - count, end) for end, count in zip(ends, members, strict=True)]
    expected = np.stack([pixels[list(group)].mean(axis=0) for group in groups])
    np.testing.assert_allclose(assembled.volume.hu, expected, rtol=1e-6)
    np.testing.assert_allclose(
        assembled.volume.positions_mm, [np.mean(group) * spacing_mm for group in groups]
    )
    named = [[image.SOPInstanceUID for image in series].index(uid) for uid in assembled.sop_instance_uids]
    assert all(abs(index - np.mean(group)) <= 0.5 for index, group in zip(named, groups, strict=True))
    assert (NOTE_AVERAGED in assembled.notes) is (members[0] > 1)
    assert assembled.extent.slices == 40


def test_a_thin_rest_joins_the_slab_before_it() -> None:
    assembled = assemble(ct_series(pixels=_told(22), spacing_mm=1.0, thickness_mm=1.0))

    assert len(assembled.volume.hu) == 4
    np.testing.assert_allclose(np.diff(assembled.volume.positions_mm), [5.0, 5.0, 6.0])


def test_notes_tell_of_loss_and_of_a_missing_age() -> None:
    plain = _series(PatientAge="070Y")
    lossy = _series(LossyImageCompression="01", missing=("PatientAge", "PatientBirthDate"))

    assert assemble(plain).notes == ()
    assert assemble(lossy).notes == (NOTE_LOSSY, NOTE_NO_AGE)


def test_compressed_slices_make_the_same_volume() -> None:
    series = _series()
    for image in series[::2]:
        image.compress(JPEGLSLossless, generate_instance_uid=False)

    np.testing.assert_array_equal(_assemble(series), _told())


def test_a_multi_frame_object_makes_the_same_volume_as_its_single_frames() -> None:
    series = _series()

    assembled = assemble([enhanced(series)])

    np.testing.assert_array_equal(assembled.volume.hu, _told())
    np.testing.assert_allclose(assembled.volume.positions_mm, assemble(series).volume.positions_mm)
    assert len(set(assembled.sop_instance_uids)) == 1
