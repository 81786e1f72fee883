"""Who trains, who validates, who tests: the paper's split by image, and the same with patients kept apart."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.evaluate.paper.recipe import RANDOM
from model.image_set import SliceRow

Indices = NDArray[np.intp]
NORMAL, UNPLACED = "none", "unplaced"


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Row numbers of the three parts, 8:1:1; no row stands in two of them, and none twice."""

    train: Indices
    val: Indices
    test: Indices


def draw_share(rows: Sequence[SliceRow], share: float, seed: int) -> list[SliceRow]:
    """Return a seeded share of the labelled slices, in their order, each class in proportion."""
    members: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        if row.hemorrhage is not None:
            members[class_of(row)].append(index)
    random = np.random.default_rng([seed, 1])
    kept: list[int] = []
    for name in sorted(members):
        kept += random.permutation(members[name])[: max(1, round(share * len(members[name])))].tolist()
    return [rows[i] for i in sorted(kept)]


def class_of(row: SliceRow) -> str:
    """Return `none`, the location, or `unplaced` for a bleed whose location is not known."""
    return row.location or UNPLACED if row.hemorrhage else NORMAL


def split_rows(rows: Sequence[SliceRow], kind: str, seed: int) -> Parts:
    """Split rows 8:1:1: by image as in the paper and its code, or by subject, class by class."""
    if kind == RANDOM:
        return _by_image(len(rows), seed)
    return _by_subject(rows, seed)


def _by_image(count: int, seed: int) -> Parts:
    order = np.random.default_rng([seed, 2]).permutation(count)
    first, second = int(0.8 * count), int(0.8 * count) + int(0.1 * count)  # as the authors' code rounds
    return Parts(train=np.sort(order[:first]), val=np.sort(order[first:second]), test=np.sort(order[second:]))


def _by_subject(rows: Sequence[SliceRow], seed: int) -> Parts:
    """Deal the subjects of each class 8:1:1, so that every class with three subjects is in all parts."""
    classes: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for row in rows:
        classes[row.person][class_of(row)] += 1
    strata: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for person, counts in classes.items():
        # healthy slices of a bleeding subject do not count; of two places the one with more slices does
        bleeds = Counter({name: n for name, n in counts.items() if name != NORMAL})
        strata[(bleeds or counts).most_common(1)[0][0]].append(person)
    random = np.random.default_rng([seed, 3])
    part_of: dict[tuple[str, str], str] = {}
    for name in sorted(strata):
        people = sorted(strata[name])
        held = max(1, round(len(people) / 10)) if len(people) >= 3 else 0
        for place, number in enumerate(random.permutation(len(people))):
            part = "test" if place < held else "val" if place < 2 * held else "train"
            part_of[people[number]] = part
    chosen = np.array([part_of[row.person] for row in rows])
    return Parts(**{part: np.flatnonzero(chosen == part) for part in ("train", "val", "test")})


def replication_factors(counts: Mapping[str, int]) -> dict[str, int]:
    """Return how often a slice of each class stands in the augmented training part.

    First the locations towards 1:1:1, then normal slices towards the bleeding ones, each by the whole
    number below, as the authors' function does it: their 4,407 / 6,093, 1,656, 495 become 30,222.
    """
    places = {name: n for name, n in counts.items() if name not in (NORMAL, UNPLACED) and n}
    factors = {name: max(places.values()) // n for name, n in places.items()}
    factors |= {name: 1 for name in counts if name not in factors}
    bleeding = sum(factors[name] * n for name, n in counts.items() if name != NORMAL)
    if counts.get(NORMAL):
        factors[NORMAL] = max(1, bleeding // counts[NORMAL])
    return factors


def replicate(rows: Sequence[SliceRow], train: Indices) -> Indices:
    """Return the training part with its copies. After the split: a copy never reaches another part."""
    names = [class_of(rows[i]) for i in train]
    factors = replication_factors(Counter(names))
    return np.repeat(train, [factors[name] for name in names])
