"""Growing and shrinking masks by disks of any radius: exact, by shifts, cheaper than distance transforms."""

from math import isqrt

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def grow(mask: Mask, radius: float) -> Mask:
    """Return what lies within `radius` pixels (0 or more) of the mask (H, W), the mask included."""
    return _grow(mask, radius, outside=False)


def shrink(mask: Mask, radius: float) -> Mask:
    """Return what lies farther than `radius` pixels from all that is not mask; beyond (H, W) nothing is."""
    return ~_grow(~mask, radius, outside=True)


def _grow(mask: Mask, radius: float, *, outside: bool) -> Mask:
    """Lay the rows of a disk over the mask, from its short ones to the longest.

    The mask is one long row with margins, so that shifts up and down are shifts too, and none reaches into
    a neighbouring row.
    """
    reach = int(radius)
    rows, columns = mask.shape
    padded = np.full((rows + 2 * reach, columns + 2 * reach), outside)
    padded[reach : reach + rows, reach : reach + columns] = mask
    flat = padded.ravel()
    run, grown, half = flat.copy(), np.zeros_like(flat), 0
    for distance in range(reach, -1, -1):
        while half < isqrt(int(radius**2) - distance**2):
            half += 1
            _add_both_sides(run, flat, half)
        if distance:
            _add_both_sides(grown, run, distance * padded.shape[1])
    grown |= run
    return grown.reshape(padded.shape)[reach : reach + rows, reach : reach + columns]


def _add_both_sides(target: Mask, source: Mask, shift: int) -> None:
    target[shift:] |= source[:-shift]
    target[:-shift] |= source[shift:]
