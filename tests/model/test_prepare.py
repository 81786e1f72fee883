"""Preparation: one function, the same picture whether a slice comes as HU, as 8-bit or as 16-bit picture."""

import numpy as np
import pytest
from model_builders import HEADRESTS, drawn_head
from PIL import Image

from model.image_set import read_picture
from model.prepare import HEAD_SHARE, NO_FRAME, prepare
from model.window import to_window


def test_hu_and_image_set_pictures_prepare_alike(tmp_path):
    hu, _ = drawn_head("cradle")
    Image.fromarray(np.rint(np.clip(hu, 0, 80) / 80 * 255).astype(np.uint8)).save(tmp_path / "8.png")
    Image.fromarray(np.clip(np.rint(hu) + 1024, 0, 65535).astype(np.uint16)).save(tmp_path / "16.png")

    from_hu = prepare(to_window(hu), 96).picture
    from_8_bit = prepare(read_picture(tmp_path / "8.png"), 96).picture
    from_16_bit = prepare(read_picture(tmp_path / "16.png"), 96).picture

    assert np.abs(from_hu - from_8_bit).max() < 0.02
    assert np.abs(from_hu - from_16_bit).max() < 0.02


@pytest.mark.parametrize("headrest", [h for h in HEADRESTS if h != "closed ring"])
def test_a_headrest_changes_nothing(headrest):
    with_it, without = (prepare(to_window(drawn_head(h)[0]), 96).picture for h in (headrest, "none"))

    assert np.abs(with_it - without).mean() < 0.02


def test_place_and_scale_of_the_head_are_normalized():
    near = drawn_head(radii=(0.34, 0.27), center=(0.48, 0.45))[0]
    far = drawn_head(radii=(0.204, 0.162), center=(0.6, 0.6))[0]

    a, b = (prepare(to_window(hu), 96).picture > 0.3 for hu in (near, far))

    assert (a != b).mean() < 0.03
    rows = np.flatnonzero(a.any(axis=1))
    assert (rows[-1] - rows[0] + 1) / 96 == pytest.approx(HEAD_SHARE, abs=0.03)


@pytest.mark.parametrize("size", [200, 384, 700])
def test_size_of_the_picture_does_not_matter(size):
    a, b = (prepare(to_window(drawn_head("cradle", size=s)[0]), 96).picture for s in (512, size))

    assert np.abs(a - b).mean() < 0.035  # skin is a pixel or two wide


def test_a_slice_without_a_head_is_all_zero():
    prepared = prepare(np.zeros((100, 120), np.float32), 48)

    assert prepared.picture.shape == (48, 48)
    assert not prepared.picture.any()
    assert not prepared.tripped
    assert prepared.frame == NO_FRAME


@pytest.mark.parametrize("center", [(0.5, 0.5), (0.6, 0.35), (0.2, 0.8)])
def test_the_frame_is_the_square_that_the_picture_shows(center):
    hu, _ = drawn_head(radii=(0.25, 0.2), center=center)

    prepared = prepare(to_window(hu), 96)

    frame = prepared.frame
    around = np.pad(to_window(hu), 512)[512 + frame.top :, 512 + frame.left :][: frame.side, : frame.side]
    shown = np.asarray(Image.fromarray(around).resize((96, 96), Image.Resampling.BILINEAR))
    skull_and_brain = prepared.picture > 0.1
    assert shown[skull_and_brain] == pytest.approx(prepared.picture[skull_and_brain], abs=0.04)
