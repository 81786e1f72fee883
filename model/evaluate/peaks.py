"""Does the heat map point at the bleed? The share of bleeding slices whose hottest point lies in a box."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model.evaluate.measures import Figures
from model.evaluate.summary import number_people
from model.image_set import Box, SliceRow
from model.statistics import bootstrap_interval


def heat_map_figures(rows: Sequence[SliceRow], peaks: NDArray[np.float64]) -> Figures | None:
    """Judge peaks (N, 2), x and y as shares of the picture; None without bleeding slices that have boxes.

    A slice in which no head was found has no peak: it counts as missed.
    """
    boxed = [(row, peak) for row, peak in zip(rows, peaks, strict=True) if row.hemorrhage == 1 and row.boxes]
    if not boxed or np.isnan(peaks).all():
        return None
    inside = np.array([any(_holds(box, peak) for box in row.boxes or ()) for row, peak in boxed])

    def share(drawn: NDArray[np.intp]) -> float:
        return float(inside[drawn].mean())

    interval = bootstrap_interval(share, number_people([row for row, _ in boxed]))
    return {
        "slices": len(boxed),
        "peak_in_box": float(inside.mean()),
        "ci": None if interval is None else list(interval),
        "box_share": float(np.mean([sum(_area(box) for box in row.boxes or ()) for row, _ in boxed])),
    }


def _holds(box: Box, peak: NDArray[np.float64]) -> bool:
    left, top, right, bottom = box
    return bool(left <= peak[0] <= right and top <= peak[1] <= bottom)


def _area(box: Box) -> float:
    left, top, right, bottom = box
    return max(0.0, right - left) * max(0.0, bottom - top)
