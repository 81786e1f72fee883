"""Heat maps: the evidence lies over the pixels that it was seen in, wherever the head lay in the slice."""

import numpy as np
import pytest
from model_builders import drawn_head
from PIL import Image

from model.heatmap import heat_map, peak
from model.prepare import NO_FRAME, Frame, prepare
from model.window import to_window

FRAMES = [
    Frame(top=0, left=0, side=60),
    Frame(top=12, left=30, side=40),
    Frame(top=-10, left=-25, side=150),  # all round the slice
    Frame(top=70, left=80, side=60),  # beyond its lower right corner
]


def evidence_with(row, column, g=6):
    evidence = np.zeros((g, g), np.float32)
    evidence[row, column] = 1.0
    return evidence


@pytest.mark.parametrize("frame", FRAMES)
def test_equal_evidence_is_equal_inside_the_frame_and_nothing_outside(frame):
    heat = heat_map(np.full((6, 6), 0.7, np.float32), frame, (100, 120))

    inside = np.zeros((100, 120), bool)
    inside[max(0, frame.top) : frame.top + frame.side, max(0, frame.left) : frame.left + frame.side] = True
    assert heat.dtype == np.float32
    assert heat.shape == (100, 120)
    assert heat[inside] == pytest.approx(0.7)
    assert not heat[~inside].any()


@pytest.mark.parametrize("frame", FRAMES[:2])
def test_the_map_is_a_bilinear_enlargement(frame):
    evidence = np.random.default_rng(3).random((6, 6), np.float32)

    heat = heat_map(evidence, frame, (100, 120))

    side = (frame.side, frame.side)
    enlarged = np.asarray(Image.fromarray(evidence).resize(side, Image.Resampling.BILINEAR))
    shown = heat[frame.top : frame.top + frame.side, frame.left : frame.left + frame.side]
    assert shown == pytest.approx(enlarged, abs=1e-5)


@pytest.mark.parametrize("frame", FRAMES[:3])
def test_the_peak_is_where_the_map_is_hottest(frame):
    evidence = evidence_with(2, 3)

    row, column = peak(evidence, frame)

    heat = heat_map(evidence, frame, (100, 120))
    assert heat[int(row), int(column)] >= 0.9 * heat.max() > 0.8
    assert row == pytest.approx(frame.top + 2.5 * frame.side / 6)
    assert column == pytest.approx(frame.left + 3.5 * frame.side / 6)


def test_a_spot_in_a_head_off_center_is_found_where_it_was_put():
    hu, _ = drawn_head("cradle", radii=(0.2, 0.16), center=(0.6, 0.35))
    hu[330:342, 190:202] = 75.0
    prepared = prepare(to_window(hu), 144)
    patches = prepared.picture.reshape(18, 8, 18, 8)
    evidence = ((patches > 0.85) & (patches < 0.97)).mean(axis=(1, 3)).astype(np.float32)

    row, column = peak(evidence, prepared.frame)

    patch = prepared.frame.side / 18
    assert row == pytest.approx(336, abs=patch)
    assert column == pytest.approx(196, abs=patch)


def test_a_slice_without_a_head_has_no_heat_and_no_peak():
    assert not heat_map(evidence_with(1, 1), NO_FRAME, (40, 50)).any()
    with pytest.raises(ValueError, match="no head"):
        peak(evidence_with(1, 1), NO_FRAME)
