"""A volume refuses what does not fit together."""

import numpy as np
import pytest

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
