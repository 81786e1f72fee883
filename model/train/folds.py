"""Subjects dealt into folds and validation: at random, each kind of subject evenly."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import count

import numpy as np
from numpy.random import Generator

from model.errors import TrainingError
from model.evaluate.studies import subjects
from model.image_set import SliceRow

VALIDATION_SHARE = 0.1
Person = tuple[str, str]


def kinds(rows: Sequence[SliceRow]) -> dict[Person, str]:
    """Return what each subject counts as: its bleed's location where it has one, else its label."""
    return {rows[s.members[0]].person: s.location or f"label {s.label}" for s in subjects(rows)}


def deal(kind_of: dict[Person, str], folds: int, seed: int) -> dict[Person, int]:
    """Return the fold (0..folds - 1) of each subject; raises TrainingError with fewer subjects than folds."""
    if not 2 <= folds <= len(kind_of):
        raise TrainingError(f"expected 2 to {len(kind_of)} folds, one subject in each at least, got {folds}")
    random, turn = np.random.default_rng(seed), count()
    return {
        person: next(turn) % folds  # dealt on from kind to kind, so that folds differ by one at most
        for people in _shuffled(kind_of, random)
        for person in people
    }


def _shuffled(kind_of: dict[Person, str], random: Generator) -> list[list[Person]]:
    by_kind: defaultdict[str, list[Person]] = defaultdict(list)
    for person in sorted(kind_of):
        by_kind[kind_of[person]].append(person)
    return [[by_kind[kind][i] for i in random.permutation(len(by_kind[kind]))] for kind in sorted(by_kind)]


def split_for(fold: int, rows: Sequence[SliceRow], fold_of: dict[Person, int], seed: int) -> list[SliceRow]:
    """Return the rows with the fold's subjects as test, of the others a tenth of each kind as val."""
    others = {person: kind for person, kind in kinds(rows).items() if fold_of[person] != fold}
    validation: set[Person] = set()
    for people in _shuffled(others, np.random.default_rng([seed, fold])):
        if len(people) > 1:  # one alone is needed for training
            validation.update(people[: max(1, round(VALIDATION_SHARE * len(people)))])

    def split(person: Person) -> str:
        return "test" if fold_of[person] == fold else "val" if person in validation else "train"

    return [replace(row, split=split(row.person)) for row in rows]
