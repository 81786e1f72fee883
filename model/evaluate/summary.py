"""The figures of an evaluation, from predictions beside their rows to the summary; None where undefined."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model.evaluate.measures import Cases, Figures, calibration, detection, exact_intervals, with_intervals
from model.evaluate.studies import Answers, Study, labels_of, locations_of, scores_of, subjects
from model.image_set import SliceRow
from model.manifest import LOCATIONS, Thresholds
from model.statistics import Labels, balanced_accuracy, bootstrap_intervals, confusion

STATED_PREVALENCE = 0.10
"""Of bleeding studies, where nobody says: about what unselected emergency head CTs hold."""


def summarize(
    rows: Sequence[SliceRow],
    answers: Answers,
    *,
    slice_thresholds: Thresholds,
    study_thresholds: Thresholds,
    aggregation: str,
    prevalence: float = STATED_PREVALENCE,
) -> Figures:
    """Return slices, subjects, slice, subject, location, calibration and prevalence as in summary.json."""
    studies = [s for s in subjects(rows) if s.label is not None]
    by_slice = slice_cases(rows, answers)
    by_subject = subject_cases(studies, answers, aggregation)
    subject = detection(by_subject, study_thresholds, prevalence)
    return {
        "slices": len(rows),
        "subjects": len({r.person for r in rows}),
        "slice": detection(by_slice, slice_thresholds, prevalence),
        "subject": subject | exact_intervals(subject["counts"]),
        "location": location_figures(*locations_of(studies, answers, slice_thresholds.low)),
        "calibration": {**calibration(by_slice), "subject": calibration(by_subject)},
        "prevalence": {
            "stated": prevalence,
            "slices": _share(by_slice.labels),
            "subjects": _share(by_subject.labels),
        },
        "thresholds": {
            "slice": {"low": slice_thresholds.low, "high": slice_thresholds.high},
            "study": {"low": study_thresholds.low, "high": study_thresholds.high},
        },
    }


def slice_cases(rows: Sequence[SliceRow], answers: Answers) -> Cases:
    """Return the slices whose hemorrhage is known."""
    known = np.array([i for i, r in enumerate(rows) if r.hemorrhage is not None], dtype=np.int64)
    return Cases(
        labels=np.array([rows[i].hemorrhage for i in known], dtype=np.int64),
        scores=answers.hemorrhage[known],
        people=number_people([rows[i] for i in known]),
    )


def subject_cases(studies: Sequence[Study], answers: Answers, aggregation: str) -> Cases:
    """Return the subjects whose hemorrhage is known, by the bundle's own aggregation."""
    return Cases(
        labels=labels_of(studies),
        scores=scores_of(studies, answers, aggregation),
        people=np.arange(len(studies)),
    )


def number_people(rows: Sequence[SliceRow]) -> Labels:
    """Return the number (N,) of each row's subject."""
    index = {person: n for n, person in enumerate(dict.fromkeys(row.person for row in rows))}
    return np.array([index[row.person] for row in rows], dtype=np.int64)


def _share(labels: Labels) -> float | None:
    return float(labels.mean()) if len(labels) else None


def location_figures(truth: Labels, predicted: Labels) -> Figures | None:
    """Return how well the locations (N,) of bleeding subjects were told; None without any."""
    if len(truth) == 0:
        return None

    def drawn(rows: NDArray[np.intp]) -> dict[str, float | None]:
        return _recalls(truth[rows], predicted[rows])

    everyone = np.arange(len(truth))
    figures = with_intervals(drawn(everyone), bootstrap_intervals(drawn, everyone))
    return {
        "balanced_accuracy": figures.pop("balanced_accuracy"),
        "ci": figures.pop("balanced_accuracy_ci"),
        "confusion": confusion(truth, predicted, len(LOCATIONS)).tolist(),
        "classes": list(LOCATIONS),
        "subjects": len(truth),
        "recall": figures,
    }


def _recalls(truth: Labels, predicted: Labels) -> dict[str, float | None]:
    counts = confusion(truth, predicted, len(LOCATIONS))
    recall = {
        place: float(counts[n, n] / counts[n].sum()) if counts[n].sum() else None
        for n, place in enumerate(LOCATIONS)
    }
    return {"balanced_accuracy": balanced_accuracy(truth, predicted, len(LOCATIONS)), **recall}
