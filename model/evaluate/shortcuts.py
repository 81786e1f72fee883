"""What a classifier could learn of an image set without seeing blood: the head's geometry, the noise."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from model.evaluate.measures import Figures, with_intervals
from model.image_set import SliceRow
from model.prepare import Frame
from model.statistics import Labels, auc, bootstrap_intervals

FOLDS = 5
SEED = 0
Crop = tuple[float, float, float]
"""left, top and side of the square that a stored picture shows, as shares of the scanner's frame."""
WHOLE: Crop = (0.0, 0.0, 1.0)


def crops_of(tables: Sequence[Path]) -> dict[Path, Crop]:
    """Return the crop of each picture whose table says it (crop_left, crop_top, crop_size, frame_size)."""
    found: dict[Path, Crop] = {}
    for table in tables:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            for fields in csv.DictReader(stream):
                if crop := _crop(fields):
                    found[table.parent / fields["path"]] = crop
    return found


def _crop(fields: Mapping[str, str]) -> Crop | None:
    try:
        left, top, side, frame = (
            float(fields[name]) for name in ("crop_left", "crop_top", "crop_size", "frame_size")
        )
    except (KeyError, TypeError, ValueError):
        return None
    return (left / frame, top / frame, side / frame) if frame > 0 and side > 0 else None


def geometry(
    rows: Sequence[SliceRow],
    frames: Sequence[Frame],
    shapes: NDArray[np.int64],
    crops: Mapping[Path, Crop],
) -> NDArray[np.float64]:
    """Return (N, 6): the head's side, area, center x and y, and the picture's height and width (log pixels).

    In shares of the scanner's frame where the table tells the crop, else of the stored picture; not a number
    where no head was found.
    """
    facts = []
    for row, frame, (height, width) in zip(rows, frames, shapes, strict=True):
        left, top, scale = crops.get(row.file, WHOLE)
        if frame.side == 0:
            facts.append([np.nan] * 6)
            continue
        side = scale * frame.side / max(height, width)
        x = left + scale * (frame.left + frame.side / 2) / width
        y = top + scale * (frame.top + frame.side / 2) / height
        facts.append([side, side**2, x, y, np.log(height), np.log(width)])
    return np.array(facts).reshape(len(rows), 6)


def auc_alone(features: NDArray[np.float64], labels: Labels, people: Labels) -> Figures | None:
    """Return the AUC of a logistic regression on features (N, F) alone, each subject judged by the others.

    Rows with a feature that is not a number are left out; None where a class has fewer than two subjects.
    """
    known = np.isfinite(features).all(axis=1)
    features, labels, people = features[known], labels[known], people[known]
    folds = min([FOLDS, *(len(set(people[labels == c].tolist())) for c in (0, 1))])
    if folds < 2:
        return None
    scores = np.zeros(len(labels))
    apart = StratifiedGroupKFold(folds, shuffle=True, random_state=SEED)
    for others, judged in apart.split(features, labels, people):
        if len(set(labels[others].tolist())) < 2:
            return None
        regression = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
        scores[judged] = regression.fit(features[others], labels[others]).decision_function(features[judged])

    def drawn(rows: NDArray[np.intp]) -> dict[str, float | None]:
        return {"auc": auc(labels[rows], scores[rows])}

    everyone = np.arange(len(labels))
    return with_intervals(drawn(everyone), bootstrap_intervals(drawn, people)) | {"slices": len(labels)}
