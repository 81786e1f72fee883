"""Growing and shrinking by disks: the same as distance transforms say, at every radius and border."""

import numpy as np
import pytest
from scipy import ndimage

from model.disks import grow, shrink

RADII = (0.0, 1.0, 1.5, 2.0, 3.0, 4.608, 5.0, 9.3, 40.0)


@pytest.fixture
def mask(seed):
    random = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(random.random((50, 37)), 2.5)
    return smooth > np.quantile(smooth, random.uniform(0.05, 0.95))


@pytest.mark.parametrize("radius", RADII)
def test_growing_reaches_what_lies_within_the_radius(mask, radius):
    expected = ndimage.distance_transform_edt(~mask) <= radius

    assert (grow(mask, radius) == expected).all()


@pytest.mark.parametrize("radius", RADII)
def test_shrinking_keeps_what_lies_farther_than_the_radius_from_the_outside_too(mask, radius):
    expected = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1] > radius

    assert (shrink(mask, radius) == expected).all()


def test_just_below_a_radius_is_less_than_the_radius():
    point = np.zeros((9, 9), bool)
    point[4, 4] = True

    assert grow(point, 3.0)[4, 7]
    assert not grow(point, np.nextafter(3.0, 0))[4, 7]


def test_nothing_grows_from_nothing_and_nothing_is_lost_of_all_but_at_the_border():
    empty = np.zeros((8, 9), bool)

    assert not grow(empty, 3.0).any()
    assert shrink(~empty, 2.0)[2:-2, 2:-2].all()
    assert not shrink(~empty, 2.0)[:2].any()
