"""Brain evidence: heads hold a brain; phantoms, fruit, water and air do not."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from model_builders import drawn_head, drawn_volume

from model.brain import brain_evidence
from model.volume import Volume


def ball(core_hu: float, shell_hu: float, *, slices: int = 20, noise: float = 4.0) -> Volume:
    """Return a ball of 160 mm with a shell of 8 mm: water in plastic, a melon, a skull."""
    z, y, x = np.mgrid[-slices // 2 : slices // 2, -64:64, -64:64]
    radius = np.sqrt((z * 8.0) ** 2 + (y * 1.8) ** 2 + (x * 1.8) ** 2)
    hu = np.where(radius < 72, core_hu, np.where(radius < 80, shell_hu, -1000.0))
    hu = hu + np.random.default_rng(1).normal(0, noise, hu.shape) * (hu > -900)
    return Volume(hu=hu.astype(np.float32), positions_mm=np.arange(slices) * 8.0, spacing_mm=(1.8, 1.8))


def test_a_skull_full_of_brain_holds_one():
    evidence = brain_evidence(ball(32, 900))

    assert evidence.holds_brain
    assert evidence.longest_run_mm >= 60
    assert 12_000 < evidence.largest_area_mm2 < 18_000


def test_a_whole_head_begins_and_ends_where_hardly_any_brain_is_left_and_half_a_head_does_not():
    whole = ball(32, 900, slices=22)
    upper = Volume(hu=whole.hu[11:], positions_mm=whole.positions_mm[11:], spacing_mm=whole.spacing_mm)

    evidence, half = brain_evidence(whole), brain_evidence(upper)

    assert max(evidence.first_share, evidence.last_share) < 0.2
    assert half.first_share > 0.95
    assert half.last_share < 0.2


@pytest.mark.parametrize(
    ("core", "shell"),
    [(0, 120), (0, 900), (100, 900), (32, -60), (32, 60), (-50, 900), (-1000, 900), (-800, 40), (900, 900)],
    ids=[
        "water",
        "water in bone",
        "acrylic in bone",
        "melon",
        "no bone",
        "fat",
        "hollow",
        "lung",
        "solid bone",
    ],
)
def test_what_is_no_head_holds_no_brain(core, shell):
    assert not brain_evidence(ball(core, shell)).holds_brain


def test_windowed_series_are_judged_by_what_saturates():
    volume = ball(32, 900)
    clipped = Volume(
        hu=np.clip(volume.hu, 0, 80), positions_mm=volume.positions_mm, spacing_mm=volume.spacing_mm
    )

    assert brain_evidence(clipped, windowed=True).holds_brain
    assert not brain_evidence(clipped).holds_brain


def test_an_empty_headrest_holds_no_brain():
    hu, _ = drawn_head("cradle", size=128)
    bare, _ = drawn_head("none", size=128)
    hu[bare > -500] = -1000.0
    empty = np.repeat(hu[None], 12, axis=0)

    volume = Volume(hu=empty, positions_mm=np.arange(12) * 6.0, spacing_mm=(1.8, 1.8))

    assert not brain_evidence(volume).holds_brain


def test_too_little_of_a_brain_is_none():
    assert brain_evidence(drawn_volume(8, step_mm=5.0)).holds_brain
    assert not brain_evidence(drawn_volume(4, step_mm=5.0)).holds_brain
    assert not brain_evidence(drawn_volume(12, tissue_hu=5.0)).holds_brain


def dicom_volume(folder: Path) -> Volume:
    """Return the series of a folder, sorted along its normal."""
    slices = [pydicom.dcmread(f) for f in sorted(folder.iterdir()) if f.suffix != ".tsv"]
    orientation = np.array(slices[0].ImageOrientationPatient, float)
    normal = np.cross(orientation[:3], orientation[3:])
    placed = {float(normal @ np.array(s.ImagePositionPatient, float)): s for s in slices}
    positions = np.array(sorted(placed))
    hu = [
        placed[p].pixel_array * float(placed[p].RescaleSlope) + float(placed[p].RescaleIntercept)
        for p in positions
    ]
    spacing = tuple(float(s) for s in slices[0].PixelSpacing)
    return Volume(hu=np.stack(hu).astype(np.float32), positions_mm=positions, spacing_mm=spacing)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("folder", "holds"),
    [
        ("head-ct/toshiba-aquilion-5mm-study1", True),
        ("head-ct/ge-hispeed-dual-tilt", True),
        ("not-head/philips-plastic-head-phantom", False),
        ("not-head/ct-lung-crop-cms", False),
        ("not-head/ibsi-digital-phantom", False),
        ("not-head/ct-thorax-ge-brightspeed", False),
    ],
)
def test_real_series_are_told_apart(shared_folder, folder, holds):
    volume = dicom_volume(shared_folder / "data/dicom" / folder)

    assert brain_evidence(volume).holds_brain is holds
