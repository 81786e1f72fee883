"""Which slices an epoch sees: sources by weight, classes evenly, locations and subjects by square roots."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model.image_set import SliceRow
from model.train.settings import TrainingSettings


def sampling_weights(rows: Sequence[SliceRow], settings: TrainingSettings) -> NDArray[np.float64]:
    """Return the probability of each row (N,), summing to 1.

    Every class of a source has the same mass, so that a source does not betray the class; within a class a
    location counts by the root of its size, and a subject by the root of its number of slices. Bleed-free
    slices that will get a drawn bleed come on top.
    """
    drawn = settings.synthetic_bleeds
    class_mass = {0: 1 / (1 - drawn), 1: max(2 - 1 / (1 - drawn), 0.1)}
    strata = [(r.source, r.hemorrhage, r.location) for r in rows]
    subject_size = Counter((r.person, r.hemorrhage) for r in rows)
    within = np.array([subject_size[r.person, r.hemorrhage] ** -0.5 for r in rows])
    mass: Counter[tuple[str, int | None, str | None]] = Counter()
    for stratum, weight in zip(strata, within, strict=True):
        mass[stratum] += weight
    rooted: Counter[tuple[str, int | None]] = Counter()
    for (source, hemorrhage, _), weight in mass.items():
        rooted[source, hemorrhage] += weight**0.5
    weights = np.array(
        [
            w
            * mass[s] ** -0.5
            / rooted[s[0], s[1]]
            * class_mass.get(s[1] or 0, 1.0)
            * settings.source_weights.get(s[0], 1.0)
            for w, s in zip(within, strata, strict=True)
        ]
    )
    return np.asarray(weights / weights.sum())


def epoch_order(weights: NDArray[np.float64], count: int, *, seed: int, epoch: int) -> NDArray[np.intp]:
    """Draw the rows of an epoch: the same for a seed and an epoch, so that a resumed run repeats it."""
    random = np.random.default_rng([seed, epoch])
    cumulated = np.cumsum(weights)
    offsets = (np.arange(count) + random.random(count)) / count  # stratified: an epoch keeps the proportions
    drawn = np.searchsorted(cumulated / cumulated[-1], offsets, side="right").clip(max=len(weights) - 1)
    return random.permutation(drawn)
