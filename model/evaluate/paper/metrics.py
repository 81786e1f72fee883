"""Figures of merit of both classifiers, from labels and probabilities; None where undefined."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.manifest import LOCATIONS
from model.statistics import Array, Interval, Labels, bootstrap_interval, confusion

LEAST = 1e-30  # a probability below it counts as this in the loss
KEYS = ("accuracy", "precision", "recall", "f1", "specificity")
NO_PLACE = len(LOCATIONS)  # the fourth location output of the authors' code: none


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Labels and probabilities of scored slices.

    `hemorrhage` (N,) is 0 or 1; `location` (N,) a class number, negative where there is none to learn;
    `location_probability` (N, 3), or (N, 4) with `none` last.
    """

    hemorrhage: Labels
    location: Labels
    hemorrhage_probability: Array
    location_probability: Array

    @property
    def placed(self) -> NDArray[np.bool_]:
        """Return which slices bleed at a known location: those that classifier 2 is measured on."""
        known = (self.location >= 0) & (self.location < NO_PLACE)
        return np.asarray((self.hemorrhage == 1) & known)


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The columns of Table 3 for one classifier."""

    accuracy: float | None
    precision: float | None
    recall: float | None
    f1: float | None
    specificity: float | None


@dataclass(frozen=True, kw_only=True)
class DualFigures:
    """Both classifiers with their confusions (truth in rows), the loss, and the overall accuracy."""

    loss: float
    accuracy: float
    presence: Figures
    location: Figures
    presence_confusion: NDArray[np.int64]
    location_confusion: NDArray[np.int64]

    def overall(self, key: str) -> float | None:
        """Return the mean of both classifiers' figure: our reading of Table 4, the paper gives none."""
        both = [getattr(self.presence, key), getattr(self.location, key)]
        known = [v for v in both if v is not None]
        return sum(known) / len(known) if known else None


def figures_of(counts: NDArray[np.int64], classes: list[int]) -> Figures:
    """Return the figures of a confusion (truth in rows), each the mean over `classes` taken as positive.

    Two classes of which one is positive: `classes` is [1]. Classes that do not occur in truth are left out;
    one that is never predicted has precision 0, as in scikit-learn.
    """
    total = int(counts.sum())
    occur = [c for c in classes if counts[c].sum()]
    right = np.array([counts[c, c] for c in occur], dtype=np.float64)
    truth = np.array([counts[c].sum() for c in occur], dtype=np.float64)
    predicted = np.array([counts[:, c].sum() for c in occur], dtype=np.float64)
    return Figures(
        accuracy=float(counts.diagonal().sum() / total) if total else None,
        precision=_mean(right / np.maximum(predicted, 1)),
        recall=_mean(right / truth),
        f1=_mean(2 * right / (truth + predicted)),
        specificity=_mean(np.array([s for c in classes if (s := specificity(counts, c)) is not None])),
    )


def specificity(counts: NDArray[np.int64], positive: int) -> float | None:
    """Return TN / (TN + FP) of one class against the rest; the paper's equation 6 is upside down."""
    negatives = int(counts.sum() - counts[positive].sum())
    false_positives = int(counts[:, positive].sum() - counts[positive, positive])
    return (negatives - false_positives) / negatives if negatives else None


def _mean(values: Array) -> float | None:
    return float(values.mean()) if len(values) else None


def dual_figures(scores: Scores) -> DualFigures:
    """Return everything that the tables and figures say about scored slices.

    A slice is called bleeding from probability 0.5, its location is the most probable output: that of
    classifier 2 counts on slices that bleed at a known location, whatever classifier 1 says of them.
    """
    placed = scores.placed
    called = (scores.hemorrhage_probability >= 0.5).astype(np.int64)
    outputs = scores.location_probability.shape[1]
    presence = confusion(scores.hemorrhage, called, 2)
    place = scores.location_probability[placed].argmax(axis=1)
    location = confusion(scores.location[placed], place, outputs)
    figures = figures_of(presence, [1]), figures_of(location, list(range(len(LOCATIONS))))
    known = [f.accuracy for f in figures if f.accuracy is not None]
    return DualFigures(
        loss=loss_of(scores),
        accuracy=sum(known) / max(len(known), 1),
        presence=figures[0],
        location=figures[1],
        presence_confusion=presence,
        location_confusion=location[: len(LOCATIONS)],
    )


def loss_of(scores: Scores) -> float:
    """Return the paper's loss: the sum of both mean cross-entropies, each over the slices that have it."""
    p = scores.hemorrhage_probability
    first = np.where(scores.hemorrhage == 1, p, 1 - p)
    learnt = scores.location >= 0
    second = scores.location_probability[learnt, scores.location[learnt]]
    return sum(float(-np.log(np.maximum(v, LEAST)).mean()) for v in (first, second) if len(v))


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """The 95 % intervals of the accuracies when subjects, not slices, are drawn anew."""

    presence: Interval | None
    location: Interval | None
    overall: Interval | None


def accuracy_intervals(scores: Scores, subjects: Labels) -> Intervals:
    """Return the intervals for scored slices whose subjects are numbered (N,)."""
    placed = scores.placed
    right = (scores.hemorrhage_probability >= 0.5) == (scores.hemorrhage == 1)
    right_place = scores.location_probability.argmax(axis=1) == scores.location

    def presence(rows: NDArray[np.intp]) -> float | None:
        return float(right[rows].mean())

    def location(rows: NDArray[np.intp]) -> float | None:
        chosen = rows[placed[rows]]
        return float(right_place[chosen].mean()) if len(chosen) else None

    def overall(rows: NDArray[np.intp]) -> float | None:
        second = location(rows)
        return None if second is None else (float(right[rows].mean()) + second) / 2

    return Intervals(
        presence=bootstrap_interval(presence, subjects),
        location=bootstrap_interval(location, subjects),
        overall=bootstrap_interval(overall, subjects),
    )
