"""The head phantom: true HU, a bleed exactly where and when it is asked for, the same for the same seed."""

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from ich_node.demo.phantom import FIRST_TRAINING_SEED, LOCATIONS, HeadPhantom, head_phantom
from ich_node.demo.phantom_bleed import Location

SEEDS = (11, 12, 13)


@cache
def drawn(seed: int, bleed: Location | None = None) -> HeadPhantom:
    return head_phantom(seed, bleed, size=256)


def brain_of(phantom: HeadPhantom) -> NDArray[np.bool_]:
    """What the skull encloses in the slices above the skull base, found from the picture alone."""
    heights = np.array([position[2] for position in phantom.positions_mm])
    enclosed = np.zeros(phantom.hu.shape, dtype=np.bool_)
    for index in np.flatnonzero((heights > 5) & (heights < 55)):
        skull = phantom.hu[index] > 300
        enclosed[index] = ndimage.binary_erosion(ndimage.binary_fill_holes(skull) & ~skull, iterations=5)
    return enclosed


def middle_of(phantom: HeadPhantom) -> NDArray[np.float64]:
    """Center of the bleed (x, y, z) in mm; 0 is near the middle of the head."""
    slices, rows, columns = np.nonzero(phantom.bleed_mask)
    heights = np.array([position[2] for position in phantom.positions_mm])
    half = (phantom.hu.shape[1] - 1) / 2
    return np.array(
        [
            (columns.mean() - half) * phantom.pixel_spacing_mm,
            (rows.mean() - half) * phantom.pixel_spacing_mm,
            heights[slices].mean(),
        ]
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_tissues_have_the_hu_that_they_have_in_people(seed: int) -> None:
    phantom = drawn(seed)

    brain = phantom.hu[brain_of(phantom)]
    corner = phantom.hu[:, :6, :6]

    assert np.median(corner) == pytest.approx(-1000, abs=2)
    assert 27 < np.median(brain) < 38
    assert (
        0.005
        < np.mean(ndimage.uniform_filter(phantom.hu.astype(float), (0, 3, 3))[brain_of(phantom)] < 15)
        < 0.3
    )
    assert 700 < np.percentile(phantom.hu[phantom.hu > 300], 60) < 1400
    assert phantom.hu.max() <= 3071
    assert (abs(phantom.hu.astype(int) + 65) < 25).sum() > 2000, "no fat under the skin"


@pytest.mark.parametrize("seed", SEEDS)
def test_noise_is_that_of_a_scanner(seed: int) -> None:
    phantom = drawn(seed)

    beside = phantom.hu[:, :6, :6].astype(float)

    assert 2.5 < beside.std() < 7


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("bleed", LOCATIONS)
def test_a_bleed_is_bright_and_of_the_volume_that_truth_says(seed: int, bleed: Location) -> None:
    with_bleed, without = drawn(seed, bleed), drawn(seed)

    truth, mask = with_bleed.truth, with_bleed.bleed_mask
    voxel_ml = with_bleed.pixel_spacing_mm**2 * with_bleed.slice_spacing_mm / 1000

    assert truth.location == bleed
    assert truth.slice_voxels == tuple(mask.sum(axis=(1, 2)))
    assert truth.volume_ml == pytest.approx(mask.sum() * voxel_ml)
    assert 2.9 <= truth.volume_ml <= 30.5
    assert 48 < np.median(with_bleed.hu[mask]) < 80
    assert np.median(without.hu[mask]) < 42


def largest_bright_ml(phantom: HeadPhantom) -> float:
    """Volume of the largest piece in the brain that is brighter than any tissue over more than a few mm."""
    steady = ndimage.median_filter(phantom.hu, (1, 7, 7))
    inner = ndimage.binary_erosion(brain_of(phantom), np.ones((1, 3, 3)), iterations=4)
    pieces, _ = ndimage.label((steady > 48) & inner)
    sizes = np.bincount(pieces.ravel())[1:]
    voxel_ml = phantom.pixel_spacing_mm**2 * phantom.slice_spacing_mm / 1000
    return float(sizes.max(initial=0)) * voxel_ml


@pytest.mark.parametrize("seed", SEEDS)
def test_a_head_without_a_bleed_holds_nothing_like_one(seed: int) -> None:
    plain, bleeding = drawn(seed), drawn(seed, "lobar")

    assert plain.truth.location is None
    assert plain.truth.volume_ml == 0
    assert not any(plain.truth.slice_voxels)
    assert largest_bright_ml(plain) < 0.6
    assert largest_bright_ml(bleeding) > 1.5


@pytest.mark.parametrize("seed", SEEDS)
def test_bleeds_lie_where_their_names_say(seed: int) -> None:
    deep, lobar, lower = (middle_of(drawn(seed, location)) for location in LOCATIONS)

    assert -10 < deep[2] < 25
    assert np.hypot(deep[0], deep[1]) < 50
    assert lobar[2] > 10
    assert np.hypot(lobar[0], lobar[1]) > 20
    assert lower[2] < -12
    assert lower[1] > -10, "the posterior fossa is behind"


def test_the_same_seed_gives_the_same_head_and_other_seeds_others() -> None:
    again = head_phantom(SEEDS[0], "deep", size=256)

    assert np.array_equal(again.hu, drawn(SEEDS[0], "deep").hu)
    assert again.truth == drawn(SEEDS[0], "deep").truth
    assert drawn(SEEDS[1]).hu.shape != again.hu.shape or not np.array_equal(drawn(SEEDS[1]).hu, again.hu)


def test_a_scan_reaches_from_the_skull_base_to_the_air_over_the_vertex() -> None:
    for seed in SEEDS:
        phantom = drawn(seed)
        heights = [position[2] for position in phantom.positions_mm]

        assert 28 <= len(heights) <= 40
        assert np.allclose(np.diff(heights), phantom.slice_spacing_mm)
        assert 4 <= phantom.slice_spacing_mm <= 5
        assert (phantom.hu[-1] > 300).sum() == 0, "bone in the last slice: the vertex is cut off"
        assert (phantom.hu[0] > 300).sum() > 100


def test_the_face_looks_to_row_0() -> None:
    phantom = drawn(SEEDS[0])
    heights = np.array([position[2] for position in phantom.positions_mm])

    low = phantom.hu[heights < -25]
    air_inside = (low < -500) & np.array([ndimage.binary_fill_holes(plane > -300) for plane in low])

    assert np.nonzero(air_inside)[1].mean() < phantom.hu.shape[1] * 0.5


def test_the_fine_size_shows_the_same_head() -> None:
    fine, coarse = head_phantom(SEEDS[0], "lobar", size=512), drawn(SEEDS[0], "lobar")

    blocks = fine.hu.reshape(len(fine.hu), 256, 2, 256, 2).mean(axis=(2, 4))

    assert fine.hu.shape[1:] == (512, 512)
    assert fine.truth.volume_ml == pytest.approx(coarse.truth.volume_ml)
    assert np.corrcoef(blocks.ravel(), coarse.hu.ravel())[0, 1] > 0.98


def test_other_sizes_are_refused_and_training_seeds_start_at_a_million() -> None:
    with pytest.raises(ValueError, match="size must be"):
        head_phantom(1, size=300)

    assert FIRST_TRAINING_SEED == 1_000_000
