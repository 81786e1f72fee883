"""A volume refuses what does not fit together."""

import numpy as np
import pytest

from model.slabs import slab_means, slab_numbers
from model.volume import Volume

GOOD = {
    "hu": np.zeros((3, 4, 5), np.float32),
    "positions_mm": np.array([0.0, 5, 10]),
    "spacing_mm": (0.5, 0.5),
}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"hu": np.zeros((3, 4, 5))}, "float32"),
        ({"hu": np.zeros((4, 5), np.float32)}, "N, H, W"),
        ({"hu": np.full((3, 4, 5), np.nan, np.float32)}, "finite"),
        ({"positions_mm": np.array([0.0, 5])}, "positions_mm"),
        ({"positions_mm": np.array([0.0, 10, 5])}, "rise"),
        ({"positions_mm": np.array([0.0, 5, 5])}, "rise"),
        ({"spacing_mm": (0.5, 0.0)}, "spacing_mm"),
        ({"spacing_mm": (np.nan, 0.5)}, "spacing_mm"),
    ],
)
def test_a_volume_refuses_what_does_not_fit(change, says):
    with pytest.raises(ValueError, match=says):
        Volume(**(GOOD | change))


def test_thick_slices_stay_slabs_of_their_own():
    volume = Volume(**GOOD)

    numbers = slab_numbers(volume)

    assert numbers.tolist() == [0, 1, 2]
    assert slab_means(volume, numbers) is volume.hu


def test_thin_slices_are_averaged_to_five_millimeters():
    hu = np.arange(24, dtype=np.float32)[:, None, None] * np.ones((1, 2, 2), np.float32)
    volume = Volume(hu=hu, positions_mm=np.arange(24) * 1.25, spacing_mm=(1.0, 1.0))

    numbers = slab_numbers(volume)
    means = slab_means(volume, numbers)

    assert numbers.tolist() == [n for n in range(6) for _ in range(4)]
    assert means[:, 0, 0].tolist() == [1.5, 5.5, 9.5, 13.5, 17.5, 21.5]


def test_a_gap_in_thin_slices_makes_no_empty_slab():
    positions = np.concatenate([np.arange(8) * 1.0, 40 + np.arange(8) * 1.0])
    volume = Volume(hu=np.zeros((16, 2, 2), np.float32), positions_mm=positions, spacing_mm=(1.0, 1.0))

    numbers = slab_numbers(volume)

    assert sorted(set(numbers.tolist())) == list(range(numbers.max() + 1))
    assert np.isfinite(slab_means(volume, numbers)).all()
