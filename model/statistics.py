"""Figures of merit on plain arrays, with bootstrap intervals over subjects; None where undefined."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
Interval = tuple[float, float]

ROUNDS = 500  # of the bootstrap
BINS = 10  # of the calibration curve


@dataclass(frozen=True, kw_only=True)
class CalibrationBin:
    """The `count` cases whose score lies in [low, high): their mean score, and how many of them bleed."""

    low: float
    high: float
    mean_score: float
    frequency: float
    count: int


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


def f1(labels: Labels, scores: Array, threshold: float) -> float | None:
    """Return 2 TP / (2 TP + FP + FN) at the threshold; None without positives."""
    if not (labels == 1).any():
        return None
    called = scores >= threshold
    return float(2 * (called & (labels == 1)).sum() / (called.sum() + (labels == 1).sum()))


def predictive_values(
    sensitivity: float | None, specificity: float | None, prevalence: float
) -> tuple[float | None, float | None]:
    """Return PPV and NPV where `prevalence` (0..1) of the cases bleed, by Bayes; None where undefined."""
    if sensitivity is None or specificity is None:
        return None, None
    true_positive, false_positive = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    true_negative, false_negative = specificity * (1 - prevalence), (1 - sensitivity) * prevalence
    return _share(true_positive, false_positive), _share(true_negative, false_negative)


def _share(part: float, rest: float) -> float | None:
    return part / (part + rest) if part + rest > 0 else None


def calibration_curve(labels: Labels, scores: Array, bins: int = BINS) -> tuple[CalibrationBin, ...]:
    """Return equal bins of the score (0..1), empty ones left out; the last one holds a score of 1 too."""
    which = np.minimum((scores * bins).astype(np.int64), bins - 1)
    return tuple(
        CalibrationBin(
            low=b / bins,
            high=(b + 1) / bins,
            mean_score=float(scores[which == b].mean()),
            frequency=float(labels[which == b].mean()),
            count=int((which == b).sum()),
        )
        for b in np.unique(which)
    )


def expected_calibration_error(labels: Labels, scores: Array, bins: int = BINS) -> float | None:
    """Return the mean gap of score and frequency over equal bins of the score, weighed by their size."""
    if len(labels) == 0:
        return None
    curve = calibration_curve(labels, scores, bins)
    return sum(b.count * abs(b.mean_score - b.frequency) for b in curve) / len(labels)


def exact_interval(successes: int, cases: int) -> Interval | None:
    """Return the 95 % interval of a share after Clopper and Pearson; None without cases.

    Where all or none succeed the bootstrap knows no doubt; this one does.
    """
    if cases == 0:
        return None
    found = binomtest(successes, cases).proportion_ci(0.95, method="exact")
    return float(found.low), float(found.high)


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
    rounds: int = ROUNDS,
    seed: int = 0,
) -> Interval | None:
    """Return the 95 % interval of one statistic of row indices; see `bootstrap_intervals`."""

    def alone(rows: NDArray[np.intp]) -> dict[str, float | None]:
        return {"it": statistic(rows)}

    return bootstrap_intervals(alone, subjects, rounds=rounds, seed=seed).get("it")


def bootstrap_intervals(
    statistics: Callable[[NDArray[np.intp]], Mapping[str, float | None]],
    subjects: NDArray[np.int64],
    *,
    rounds: int = ROUNDS,
    seed: int = 0,
) -> dict[str, Interval | None]:
    """Return the 95 % intervals of statistics of row indices when subjects are drawn with replacement.

    `subjects` (N,) numbers the subject of each row. Draws in which a statistic is undefined are left out; it
    has no interval (None) if they are the majority. With fewer than two subjects nothing has one: {}.
    """
    _, numbers = np.unique(subjects, return_inverse=True)
    order = np.argsort(numbers, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(numbers))[:-1]) if len(numbers) else []
    if len(members) < 2:
        return {}
    random = np.random.default_rng(seed)
    drawn = (random.integers(0, len(members), len(members)) for _ in range(rounds))
    found = [statistics(np.concatenate([members[i] for i in draw])) for draw in drawn]
    return {name: _percentiles([values[name] for values in found]) for name in found[0]}


def _percentiles(values: Sequence[float | None]) -> Interval | None:
    defined = [v for v in values if v is not None]
    if 2 * len(defined) <= len(values):
        return None
    low, high = np.quantile(defined, [0.025, 0.975])
    return float(low), float(high)
