"""Brace removal: the brace goes, the head stays whole, whatever holds it."""

import csv
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from model_builders import HEADRESTS, drawn_head

from model.brace import remove_brace
from model.image_set import read_picture
from model.window import to_window

SIZES = (160, 256, 512, 640)


@pytest.mark.parametrize("headrest", HEADRESTS)
@pytest.mark.parametrize("size", SIZES)
def test_the_head_is_never_cut(headrest, size):
    for seed, radii in enumerate([(0.34, 0.27), (0.30, 0.24), (0.20, 0.17), (0.08, 0.07)]):
        hu, head = drawn_head(headrest, size=size, radii=radii, tilt_deg=seed * 11.0, seed=seed)

        result = remove_brace(to_window(hu))

        assert result.mask[head].all(), (headrest, size, radii, seed)


@pytest.mark.parametrize("headrest", ["plate", "cradle", "touching cradle", "side bars", "thick shell"])
def test_the_brace_goes(headrest):
    hu, _ = drawn_head(headrest)
    bare, _ = drawn_head("none")
    brace = (hu == hu.clip(150, 260)) & (bare < 100)

    result = remove_brace(to_window(hu))

    assert not result.tripped
    assert brace.sum() > 1000
    assert (result.mask & brace).sum() < 0.02 * brace.sum()


@pytest.mark.parametrize("hu_of_plate", [120.0, 900.0])
def test_a_plate_that_the_skin_lies_on_goes_and_the_skin_stays_elsewhere(hu_of_plate):
    hu, head = drawn_head("none")
    rows, columns = np.indices(hu.shape)
    plate = np.abs(rows - 256 - 0.34 * 1.09 * 512 - 2) < 2.5
    skin_elsewhere = (hu > 15) & (hu < 45) & (rows < 250) & ~head
    hu[plate] = hu_of_plate

    result = remove_brace(to_window(hu))

    far_out = plate & (np.abs(columns - 256) > 90)
    assert result.mask[head].all()
    assert result.mask[skin_elsewhere].mean() > 0.97
    assert not result.mask[far_out].any()


@pytest.mark.parametrize("headrest", ["plate", "cradle", "side bars", "thick shell"])
def test_a_headrest_alone_is_no_head(headrest):
    hu, _ = drawn_head(headrest)
    bare, _ = drawn_head("none")
    hu[bare > -500] = -1000.0

    result = remove_brace(to_window(hu))

    assert not result.holds_head
    assert not result.tripped


def test_how_eight_bits_were_scaled_to_the_window_changes_no_mask():
    stored = np.round(to_window(drawn_head("cradle")[0]) * 255).astype(np.uint8)
    stored[250:260, 470:500] = 3  # at the edge of what is seen

    divided = remove_brace(stored.astype(np.float32) / 255)
    multiplied = remove_brace(stored.astype(np.float32) * np.float32(1 / 255))

    assert (divided.mask == multiplied.mask).all()


@given(
    arrays(
        np.float32, array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.sampled_from([0, 0.5, 1])
    )
)
def test_a_picture_of_any_size_and_content_has_a_mask_of_its_shape(picture):
    result = remove_brace(picture)

    assert result.mask.shape == result.body.shape == picture.shape
    assert not (result.body & ~result.mask).any()


def test_air_is_no_head():
    assert not remove_brace(np.zeros((64, 64), np.float32)).holds_head


def test_two_bodies_trip_the_guard_and_both_stay():
    left, one = drawn_head(radii=(0.2, 0.15), center=(0.5, 0.25))
    right, other = drawn_head(radii=(0.2, 0.15), center=(0.5, 0.75))

    result = remove_brace(to_window(np.maximum(left, right)))

    assert result.tripped
    assert result.mask[one | other].all()


@pytest.mark.parametrize("headrest", ["none", "plate", "cradle", "side bars", "thick shell"])
def test_the_skin_stays_and_is_no_part_of_the_body(headrest):
    hu, _ = drawn_head(headrest)
    bare, _ = drawn_head("none")
    skin = (bare > 15) & (bare < 45) & (np.hypot(*(np.indices(bare.shape) - 255.5)) > 0.3 * 512)

    result = remove_brace(to_window(hu))

    assert skin.sum() > 2000
    assert result.mask[skin].mean() > 0.97
    assert result.body[skin].mean() < 0.05


def test_a_nose_and_an_ear_stay_where_a_hand_and_a_tube_go():
    hu, _ = drawn_head("cradle")
    rows, columns = np.indices(hu.shape)

    def spot(row, column, tall, wide):
        return ((rows - row) / tall) ** 2 + ((columns - column) / wide) ** 2 < 1

    nose, ear = spot(62, 256, 22, 5), spot(230, 101, 12, 6)
    finger, tube = spot(120, 445, 14, 9), spot(300, 470, 5, 5)
    hu[nose | ear | finger | tube] = 60.0

    mask = remove_brace(to_window(hu)).mask

    assert mask[nose].mean() > 0.95
    assert mask[ear].mean() > 0.95
    assert not mask[finger | tube].any()


@pytest.mark.parametrize("center", [(0.5, 0.2), (0.2, 0.5), (0.85, 0.8)])
def test_a_head_at_the_border_stays_whole_but_for_the_edge_columns(center):
    hu, head = drawn_head("none", center=center)

    mask = remove_brace(to_window(hu)).mask

    assert mask[head].mean() > 0.97


def test_an_open_skull_stays_whole():
    hu, head = drawn_head("cradle")
    hu[:, 290:330][:200] = np.where(hu[:, 290:330][:200] > 500, 35.0, hu[:, 290:330][:200])

    assert remove_brace(to_window(hu)).mask[head].all()


@pytest.mark.shared
def test_real_heads_keep_their_brain_and_lose_their_brace(shared_folder):
    folder = shared_folder / "data/phe-sich"
    with (folder / "slices.csv").open(newline="") as stream:
        bleeding = [r["path"] for r in csv.DictReader(stream) if r["hemorrhage"] == "1"]
    chosen = random.Random(5).sample(bleeding, 30)

    for path in chosen:
        picture = read_picture(folder / path)
        result = remove_brace(picture)

        bright = (picture > 0.1) & (picture < 0.95)  # brain and blood, most of them within the skull
        assert result.holds_head, path
        assert not result.tripped, path
        assert result.mask[bright].mean() > 0.85, path
        assert not result.mask[:, [0, -1]].any(), path
