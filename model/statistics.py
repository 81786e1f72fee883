"""Figures of merit on plain arrays, with bootstrap intervals over subjects; None where undefined."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
Interval = tuple[float, float]


def auc(labels: Labels, scores: Array) -> float | None:
    """Return the area under the ROC curve, ties counting half; None with one class only."""
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if positives == 0 or negatives == 0:
        return None
    _, group, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[group]
    return float((ranks[labels == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def sensitivity(labels: Labels, scores: Array, threshold: float) -> float | None:
    """Return the share of positives at or above the threshold; None without positives."""
    return float((scores[labels == 1] >= threshold).mean()) if (labels == 1).any() else None


def specificity(labels: Labels, scores: Array, threshold: float) -> float | None:
    """Return TN / (TN + FP), the share of negatives below the threshold; None without negatives."""
    return float((scores[labels == 0] < threshold).mean()) if (labels == 0).any() else None


def brier(labels: Labels, scores: Array) -> float | None:
    """Return the mean squared distance of score and label; None without slices."""
    return float(np.mean((scores - labels) ** 2)) if len(labels) else None


def expected_calibration_error(labels: Labels, scores: Array, bins: int = 10) -> float | None:
    """Return the mean gap of score and frequency over equal bins of the score, weighed by their size."""
    if len(labels) == 0:
        return None
    which = np.minimum((scores * bins).astype(np.int64), bins - 1)
    sizes = np.bincount(which, minlength=bins)
    gaps = np.abs(np.bincount(which, scores, bins) - np.bincount(which, labels.astype(np.float64), bins))
    return float(gaps[sizes > 0].sum() / len(labels))


def confusion(truth: Labels, predicted: Labels, classes: int) -> NDArray[np.int64]:
    """Return counts (classes, classes): rows are the truth, columns the prediction."""
    return np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)


def balanced_accuracy(truth: Labels, predicted: Labels, classes: int) -> float | None:
    """Return the mean recall over the classes that occur; None where nothing does."""
    counts = confusion(truth, predicted, classes)
    occur = counts.sum(axis=1) > 0
    return float((counts.diagonal()[occur] / counts.sum(axis=1)[occur]).mean()) if occur.any() else None


def bootstrap_interval(
    statistic: Callable[[NDArray[np.intp]], float | None],
    subjects: NDArray[np.int64],
    *,
    rounds: int = 500,
    seed: int = 0,
) -> Interval | None:
    """Return the 95 % interval of a statistic of row indices when subjects are drawn with replacement.

    `subjects` (N,) numbers the subject of each row; draws in which the statistic is undefined are left out,
    and None comes back if they are the majority.
    """
    _, numbers = np.unique(subjects, return_inverse=True)
    order = np.argsort(numbers, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(numbers))[:-1]) if len(numbers) else []
    if len(members) < 2:
        return None
    random = np.random.default_rng(seed)
    drawn = (random.integers(0, len(members), len(members)) for _ in range(rounds))
    values = [statistic(np.concatenate([members[i] for i in draw])) for draw in drawn]
    defined = [v for v in values if v is not None]
    if 2 * len(defined) <= rounds:
        return None
    low, high = np.quantile(defined, [0.025, 0.975])
    return float(low), float(high)
