"""The figures of an evaluation, from scored rows to the summary; None where undefined."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.evaluate.studies import Study, labels_of, locations_of, scores_of, subjects
from model.image_set import SliceRow
from model.manifest import LOCATIONS, Thresholds
from model.score import SliceScores
from model.statistics import (
    Array,
    Labels,
    auc,
    balanced_accuracy,
    bootstrap_interval,
    brier,
    confusion,
    expected_calibration_error,
    sensitivity,
    specificity,
)

Figures = dict[str, Any]


def summarize(
    rows: Sequence[SliceRow],
    scores: SliceScores,
    *,
    slice_thresholds: Thresholds,
    study_thresholds: Thresholds,
    aggregation: str,
) -> Figures:
    """Return slices, subjects, slice, subject, location and calibration as in summary.json."""
    known = np.array([i for i, r in enumerate(rows) if r.hemorrhage is not None], dtype=np.int64)
    labels = np.array([rows[i].hemorrhage for i in known], dtype=np.int64)
    people = _numbers([rows[i].person for i in known])
    studies = [s for s in subjects(rows) if s.label is not None]
    study_labels, study_scores = labels_of(studies), scores_of(studies, scores, aggregation)
    return {
        "slices": len(rows),
        "subjects": len({r.person for r in rows}),
        "slice": _ranking(labels, scores.hemorrhage[known], people, slice_thresholds.low),
        "subject": _ranking(study_labels, study_scores, np.arange(len(studies)), study_thresholds.low),
        "location": _location(studies, scores, slice_thresholds.low),
        "calibration": {
            "brier": brier(labels, scores.hemorrhage[known]),
            "ece": expected_calibration_error(labels, scores.hemorrhage[known]),
        },
        "thresholds": {
            "slice": {"low": slice_thresholds.low, "high": slice_thresholds.high},
            "study": {"low": study_thresholds.low, "high": study_thresholds.high},
        },
    }


def _numbers(people: Sequence[tuple[str, str]]) -> Labels:
    index = {person: n for n, person in enumerate(dict.fromkeys(people))}
    return np.array([index[p] for p in people], dtype=np.int64)


def _ranking(labels: Labels, scores: Array, people: Labels, low: float) -> Figures:
    def drawn(rows: NDArray[np.intp]) -> float | None:
        return auc(labels[rows], scores[rows])

    area = auc(labels, scores)
    interval = None if area is None else bootstrap_interval(drawn, people)
    return {
        "auc": area,
        "auc_ci": None if interval is None else list(interval),
        "sensitivity": sensitivity(labels, scores, low),
        "specificity": specificity(labels, scores, low),
    }


def _location(studies: Sequence[Study], scores: SliceScores, threshold: float) -> Figures | None:
    truth, predicted = locations_of(studies, scores, threshold)
    if len(truth) == 0:
        return None

    def drawn(rows: NDArray[np.intp]) -> float | None:
        return balanced_accuracy(truth[rows], predicted[rows], len(LOCATIONS))

    interval = bootstrap_interval(drawn, np.arange(len(truth)))
    return {
        "balanced_accuracy": balanced_accuracy(truth, predicted, len(LOCATIONS)),
        "ci": None if interval is None else list(interval),
        "confusion": confusion(truth, predicted, len(LOCATIONS)).tolist(),
    }
