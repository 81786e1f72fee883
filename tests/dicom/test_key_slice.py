"""A painted key slice: a line where the heat passes a half, wide enough to look into, never filled."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ich_node.dicom.key_slice import OUTLINE, KeySlice, paint

COLOR = [int(OUTLINE[place : place + 2], 16) for place in (1, 3, 5)]
SIDES = st.tuples(st.integers(1, 12), st.integers(1, 12))


def painted(heat, side=200):
    picture = np.full(heat.shape, 100, dtype=np.uint8)
    return np.asarray(paint(KeySlice(sop_instance_uid="1.2", picture=picture, heat=heat), side))


def line(pixels):
    return (pixels == COLOR).all(axis=2)


def warm(*spots, shape=(100, 100)):
    heat = np.zeros(shape, dtype=np.float32)
    for spot in spots:
        heat[spot] = 1.0
    return heat


def test_two_warm_places_have_a_line_each():
    found = line(painted(warm(np.s_[10:30, 10:30], np.s_[60:90, 60:90])))

    assert found[:100, :100].any()
    assert found[100:, 100:].any()
    assert not found[:100, 100:].any()
    assert not found[100:, :100].any()


def test_the_line_lies_where_the_heat_passes_a_half():
    heat = np.tile(np.linspace(0, 1, 100, dtype=np.float32), (100, 1))  # a half in the middle

    rows, columns = np.nonzero(line(painted(heat)))

    beside = columns[(rows > 10) & (rows < 190) & (columns < 190)]
    assert len(beside) > 150
    assert abs(beside - 100).max() <= 2


def test_warmth_up_to_the_edge_of_the_slice_is_closed_along_it():
    found = line(painted(warm(np.s_[:40, 20:60])))

    assert found[:3, 50:110].any(axis=0).all()


@pytest.mark.parametrize("spot", [np.s_[50, 50], np.s_[50, 40:60], np.s_[40:60, 50]])
def test_a_line_round_little_does_not_hide_it(spot):
    pixels = painted(warm(spot), side=100)

    assert line(pixels).any()
    assert (pixels[50, 50] == 100).all()


@given(data=st.data(), shape=SIDES)
@settings(max_examples=60, deadline=None)
def test_any_heat_is_painted_or_left_alone(data, shape):
    heat = data.draw(arrays(np.float32, shape, elements=st.sampled_from([0, 0.25, 0.5, 0.75, 1])))

    pixels = painted(heat, side=64)

    assert max(pixels.shape[:2]) == 64
    assert bool((pixels != 100).any()) == bool((heat > 0.5).any())
