"""The builder that all other tests lean on."""

import time

import numpy as np
import pytest
from builders import ct_series, write_files
from pydicom import dcmread
from pydicom.pixels import apply_rescale
from pydicom.uid import EnhancedCTImageStorage


def test_it_builds_the_same_series_each_time_and_fast() -> None:
    ct_series()
    started = time.perf_counter()

    first, second = ct_series(), ct_series()

    assert (time.perf_counter() - started) / 2 < 0.25  # about 15 ms; the limit is for a busy machine
    assert first == second


@pytest.mark.parametrize("orientation", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize("tilt_deg", [0.0, 18.0])
def test_slices_lie_spacing_mm_apart_along_their_normal(orientation: str, tilt_deg: float) -> None:
    series = ct_series(orientation=orientation, tilt_deg=tilt_deg, spacing_mm=4.5, slices=5)

    axes = np.array(series[0].ImageOrientationPatient, dtype=float)
    normal = np.cross(axes[:3], axes[3:])
    along = np.array([image.ImagePositionPatient for image in series], dtype=float) @ normal

    assert np.allclose(np.abs(np.diff(along)), 4.5, atol=1e-3)


def test_the_table_moves_along_z_however_the_gantry_is_tilted() -> None:
    series = ct_series(tilt_deg=15, slices=3)

    steps = np.diff(np.array([image.ImagePositionPatient for image in series], dtype=float), axis=0)

    assert np.allclose(steps[:, :2], 0, atol=1e-3)
    assert (steps[:, 2] > 0).all()


def test_every_keyword_reaches_the_header(tmp_path) -> None:
    series = ct_series(
        slices=2,
        kernel="H70h",
        body_part=None,
        contrast="ISOVUE",
        sop_class=EnhancedCTImageStorage,
        missing=["RescaleSlope"],
        PatientAge="012Y",
    )

    image = dcmread(write_files(series, tmp_path)[0])

    assert image.ConvolutionKernel == "H70h"
    assert image.ContrastBolusAgent == "ISOVUE"
    assert image.SOPClassUID == image.file_meta.MediaStorageSOPClassUID == EnhancedCTImageStorage
    assert image.PatientAge == "012Y"
    assert "RescaleSlope" not in image
    assert "BodyPartExamined" not in image


def test_the_small_head_has_air_bone_and_brain_and_bleeds_when_asked() -> None:
    def hu(bleed: bool) -> np.ndarray:
        return np.stack([apply_rescale(i.pixel_array, i) for i in ct_series(bleed=bleed)])

    plain, bleeding = hu(False), hu(True)

    assert np.median(plain[:, :3, :3]) == -1000
    assert (plain > 700).sum() > 500
    assert 25 < np.median(plain[(plain > 0) & (plain < 80)]) < 40
    assert (bleeding > 55).sum() > (plain > 55).sum() + 50
    assert np.all(np.stack([apply_rescale(i.pixel_array, i) for i in ct_series(pixels="empty")]) == -1000)


def test_an_array_is_taken_as_it_is() -> None:
    pixels = np.arange(3 * 4 * 5, dtype=np.int16).reshape(3, 4, 5)

    series = ct_series(pixels=pixels)

    assert len(series) == 3
    assert np.array_equal(np.stack([apply_rescale(i.pixel_array, i) for i in series]), pixels)
