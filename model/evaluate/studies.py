"""From scored slices to subjects, by the bundle's own aggregation, and what is known of each subject."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model.aggregate import study_location, study_score
from model.image_set import SliceRow
from model.manifest import LOCATIONS
from model.statistics import Array, Labels

MARGIN_SLICES = 2  # neighbours of a bleed may show a part of it unlabelled
FEWEST_SLICES = 6


class Answers(Protocol):
    """What the figures are made from: `hemorrhage` (N,) and `location` (N, 3), fresh or read from a file."""

    @property
    def hemorrhage(self) -> NDArray[np.float64]: ...

    @property
    def location(self) -> NDArray[np.float64]: ...


@dataclass(frozen=True, kw_only=True)
class Study:
    """One subject: `members` index its slices in the table's order; None is what is not known."""

    members: Labels
    label: int | None
    location: str | None


def subjects(rows: Sequence[SliceRow]) -> list[Study]:
    """Group rows by subject. A bleeding slice makes a bleeding subject; two locations make none."""
    grouped: dict[tuple[str, str], list[int]] = {}
    for index, row in enumerate(rows):
        grouped.setdefault(row.person, []).append(index)
    return [_study(rows, members) for members in grouped.values()]


def _study(rows: Sequence[SliceRow], members: list[int]) -> Study:
    known = [h for i in members if (h := rows[i].hemorrhage) is not None]
    locations = {place for i in members if (place := rows[i].location) is not None}
    return Study(
        members=np.array(members),
        label=max(known) if known else None,
        location=locations.pop() if len(locations) == 1 and known and max(known) else None,
    )


def bleed_free_parts(rows: Sequence[SliceRow]) -> list[Study]:
    """Return what is left of bleeding subjects without their bleeding slices and these slices' neighbours.

    Whole volumes without a bleed are rare in image sets; these stand in for them when thresholds are fitted.
    """
    parts = []
    for study in subjects(rows):
        labels = [rows[i].hemorrhage for i in study.members]
        if study.label != 1 or 0 not in labels or None in labels:
            continue
        bleeds = np.convolve(np.array(labels, dtype=float), np.ones(2 * MARGIN_SLICES + 1), mode="same") > 0
        if (~bleeds).sum() >= FEWEST_SLICES:
            parts.append(Study(members=study.members[~bleeds], label=0, location=None))
    return parts


def scores_of(studies: Sequence[Study], scores: Answers, aggregation: str) -> Array:
    """Return the score of each study (N,)."""
    return np.array([study_score(scores.hemorrhage[s.members], aggregation) for s in studies])


def labels_of(studies: Sequence[Study]) -> Labels:
    """Return the labels (N,) of studies that have one."""
    return np.array([s.label for s in studies], dtype=np.int64)


def locations_of(studies: Sequence[Study], scores: Answers, threshold: float) -> tuple[Labels, Labels]:
    """Return true and predicted class numbers of the studies whose location is known."""
    located = [s for s in studies if s.location is not None]
    truth = [LOCATIONS.index(str(s.location)) for s in located]
    predicted = [
        LOCATIONS.index(max(place, key=place.__getitem__))
        for s in located
        for place in [study_location(scores.location[s.members], scores.hemorrhage[s.members], threshold)]
    ]
    return np.array(truth, dtype=np.int64), np.array(predicted, dtype=np.int64)
