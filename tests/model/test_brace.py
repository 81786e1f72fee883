"""Brace removal: the brace goes, the head stays whole, whatever holds it."""

import csv
import random

import numpy as np
import pytest
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


@pytest.mark.parametrize("headrest", ["plate", "cradle", "side bars", "thick shell"])
def test_a_headrest_alone_is_no_head(headrest):
    hu, _ = drawn_head(headrest)
    bare, _ = drawn_head("none")
    hu[bare > -500] = -1000.0

    result = remove_brace(to_window(hu))

    assert not result.holds_head
    assert not result.tripped


def test_air_is_no_head():
    assert not remove_brace(np.zeros((64, 64), np.float32)).holds_head


def test_two_bodies_trip_the_guard_and_keep_the_whole_slice():
    left, _ = drawn_head(radii=(0.2, 0.15), center=(0.5, 0.25))
    right, _ = drawn_head(radii=(0.2, 0.15), center=(0.5, 0.75))

    result = remove_brace(to_window(np.maximum(left, right)))

    assert result.tripped
    assert result.mask.all()


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
