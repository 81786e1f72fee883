"""The figures of all folds together: each subject counts once, as its own fold's bundle answered."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.evaluate.measures import Cases, Figures, with_intervals
from model.evaluate.studies import locations_of, subjects
from model.evaluate.summary import location_figures, slice_cases, subject_cases
from model.evaluate.table import Predictions, read_predictions
from model.image_set import SliceRow
from model.manifest import Manifest, read_manifest
from model.statistics import auc, bootstrap_intervals


@dataclass(frozen=True, kw_only=True)
class Fold:
    """A fold's test rows, what its bundle answered, and the manifest that says how answers are read."""

    rows: list[SliceRow]
    predictions: Predictions
    manifest: Manifest


def read_fold(folder: Path, rows: Sequence[SliceRow]) -> Fold:
    """Read a finished fold again; `rows` carry its split. Raises ModelError."""
    test = [row for row in rows if row.split == "test"]
    answered, predictions = read_predictions(folder / "predictions.csv", test)
    return Fold(rows=answered, predictions=predictions, manifest=read_manifest(folder))


def pooled_figures(folds: Sequence[Fold]) -> Figures:
    """Return slices, subjects, slice, subject and location of all folds, with 95 % intervals over subjects.

    Scores meet as they are, each calibrated by its own fold; a location is chosen by its fold's threshold.
    """
    of_slices = _joined([slice_cases(fold.rows, fold.predictions) for fold in folds])
    of_subjects = _joined([_subject_cases(fold) for fold in folds])
    return {
        "slices": sum(len(fold.rows) for fold in folds),
        "subjects": len({row.person for fold in folds for row in fold.rows}),
        "slice": _area(of_slices),
        "subject": _area(of_subjects),
        "location": _locations(folds),
    }


def _subject_cases(fold: Fold) -> Cases:
    studies = [study for study in subjects(fold.rows) if study.label is not None]
    return subject_cases(studies, fold.predictions, fold.manifest.aggregation)


def _joined(parts: Sequence[Cases]) -> Cases:
    """Return the cases of all folds; the people of each are numbered on from those before."""
    before = np.cumsum([0, *(int(part.people.max(initial=-1)) + 1 for part in parts)])
    return Cases(
        labels=np.concatenate([part.labels for part in parts]),
        scores=np.concatenate([part.scores for part in parts]),
        people=np.concatenate([part.people + start for part, start in zip(parts, before, strict=False)]),
    )


def _area(cases: Cases) -> Figures:
    def drawn(rows: NDArray[np.intp]) -> dict[str, float | None]:
        return {"auc": auc(cases.labels[rows], cases.scores[rows])}

    return with_intervals(drawn(np.arange(len(cases.labels))), bootstrap_intervals(drawn, cases.people))


def _locations(folds: Sequence[Fold]) -> Figures | None:
    pairs = [
        locations_of(subjects(fold.rows), fold.predictions, fold.manifest.slice_thresholds.low)
        for fold in folds
    ]
    truth, predicted = (np.concatenate(side) for side in zip(*pairs, strict=True))
    return location_figures(truth, predicted)
