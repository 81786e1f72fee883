"""What is drawn on slices: bleeds within the brain, where the mask says; mimics; heads without brain."""

import numpy as np
import pytest
from model_builders import drawn_head
from scipy import ndimage

from model.prepare import prepare
from model.train.synthesis import brain_mask, draw_bleed, draw_bright_mimic, draw_soft_tissue
from model.window import to_window

SIZE = 128
HEAD = prepare(to_window(drawn_head(size=256)[0]), SIZE).picture
AIR = np.zeros((SIZE, SIZE), dtype=np.float32)
SEEDS = range(12)


def dilated(mask):
    return sum(np.roll(mask, (y, x), (0, 1)) for y in (-2, 0, 2) for x in (-2, 0, 2)) > 0


def test_brain_is_what_lies_within_the_skull():
    brain = brain_mask(HEAD)

    assert 0.25 < brain.mean() < 0.6
    assert 0.3 < HEAD[brain].mean() < 0.5
    assert (HEAD[brain] > 0.95).mean() < 0.02  # hardly any bone


@pytest.mark.parametrize("number", SEEDS)
def test_a_drawn_bleed_lies_within_brain_and_is_brighter(number):
    drawn = draw_bleed(HEAD, np.random.default_rng(number))

    assert drawn.blood.any()
    assert not (drawn.blood & ~dilated(brain_mask(HEAD))).any()
    assert drawn.picture[drawn.blood].mean() > HEAD[drawn.blood].mean() + 0.04
    assert drawn.picture[drawn.blood].mean() < 0.98  # blood does not saturate the window


@pytest.mark.parametrize("number", SEEDS)
def test_the_mask_says_where_the_blood_is(number):
    drawn = draw_bleed(HEAD, np.random.default_rng(number))

    brighter = drawn.picture - HEAD

    assert brighter[drawn.blood].mean() > 4 * np.abs(brighter[~drawn.blood]).mean()
    assert (brighter[~dilated(drawn.blood)] < 0.1).mean() > 0.98


def test_bleeds_come_in_all_sizes():
    areas = [draw_bleed(HEAD, np.random.default_rng(n)).blood.sum() for n in range(40)]

    assert min(areas) < 60
    assert max(areas) > 400


@pytest.mark.parametrize("picture", [AIR, np.ones_like(AIR)], ids=["air", "bone"])
def test_without_brain_no_bleed_is_drawn(picture):
    assert draw_bleed(picture, np.random.default_rng(0)) is None
    assert np.array_equal(draw_bright_mimic(picture, np.random.default_rng(0)), picture)


@pytest.mark.parametrize("draw", [draw_bright_mimic, draw_soft_tissue])
def test_what_is_no_blood_keeps_the_range_and_is_seeded(draw):
    one, same = ([draw(HEAD, np.random.default_rng(n)) for n in SEEDS] for _ in range(2))

    for picture, again in zip(one, same, strict=True):
        assert picture.shape == HEAD.shape
        assert picture.dtype == np.float32
        assert picture.min() >= 0
        assert picture.max() <= 1
        assert np.array_equal(picture, again)
        assert not np.array_equal(picture, HEAD)
    assert len({picture.tobytes() for picture in one}) == len(one)


def test_a_bleed_is_seeded():
    one, same, other = (draw_bleed(HEAD, np.random.default_rng(n)).picture for n in (1, 1, 2))

    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_mimics_are_bright():
    changes = [(draw_bright_mimic(HEAD, np.random.default_rng(n)) - HEAD).max() for n in SEEDS]

    assert np.median(changes) > 0.1


def test_soft_tissue_leaves_the_outline_and_takes_the_brain():
    outside = ~ndimage.binary_fill_holes(HEAD > 0)  # of the skin: the fat beneath is inside
    for number in SEEDS:
        refilled = draw_soft_tissue(HEAD, np.random.default_rng(number))

        assert refilled[outside].mean() < 0.02
        assert np.corrcoef(refilled[HEAD > 0.1], HEAD[HEAD > 0.1])[0, 1] < 0.5


def test_air_stays_air():
    assert np.array_equal(draw_soft_tissue(AIR, np.random.default_rng(0)), AIR)
