"""From slice scores to a study: its score, its location, its key slices; one noisy slice must not decide."""

import math

import numpy as np
from numpy.typing import NDArray

from model.errors import ModelError
from model.manifest import LOCATIONS

KEY_SLICES = 5
Scores = NDArray[np.float64]


def study_score(slice_scores: Scores, aggregation: str) -> float:
    """Return the score (0..1) of a study from the scores of its slices in order, foot to head.

    `run3_mean`: the best three neighbours; `top3_mean`: the three highest; `top_third_mean`: the top third.
    """
    if len(slice_scores) == 0:
        raise ModelError("a study without slices has no score")
    if aggregation == "run3_mean":
        width = min(3, len(slice_scores))
        return float(np.convolve(slice_scores, np.full(width, 1 / width), mode="valid").max())
    if aggregation == "top3_mean":
        return float(np.sort(slice_scores)[-3:].mean())
    if aggregation == "top_third_mean":
        return float(np.sort(slice_scores)[-math.ceil(len(slice_scores) / 3) :].mean())
    raise ModelError(f"aggregation {aggregation!r} is not known")


def study_location(location_scores: Scores, slice_scores: Scores, slice_threshold: float) -> dict[str, float]:
    """Return the location (summing to 1) from slice locations (N, 3), weighed by the slices' scores (N,).

    Slices at or above the threshold speak; where there is none, the three most suspicious do.
    """
    third = float(np.sort(slice_scores)[-3:].min())
    threshold = slice_threshold if slice_scores.max() >= slice_threshold else third
    weight = np.where(slice_scores >= threshold, slice_scores, 0.0) + 1e-12
    mean = (location_scores * weight[:, None]).sum(axis=0) / weight.sum()
    return dict(zip(LOCATIONS, (mean / mean.sum()).tolist(), strict=True))


def key_slices(slice_scores: Scores, slice_threshold: float) -> tuple[int, ...]:
    """Return the indices of at most five slices to look at, most suspicious first: never none."""
    order = np.argsort(-slice_scores, kind="stable")[:KEY_SLICES]
    chosen = [int(i) for i in order if slice_scores[i] >= slice_threshold]
    return tuple(chosen or [int(order[0])])
