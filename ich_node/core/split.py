"""Which patients train, validate and test; decided once for each patient and kept. Pure.

Within each class (bleeding or not) new patients, ordered by a hash, go to the part that lacks
most of its share: three patients of a class are enough for each part to hold one. A part once given
never changes: the caller keeps the answer and hands it in again.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum


class Split(StrEnum):
    """A part of the labelled patients."""

    TRAIN = "train"
    TEST = "test"  # kept aside: judges champion and challenger, is never trained on
    VAL = "val"  # sets the thresholds


# the order decides between equal needs; three in ten are kept aside, as it is patients that the gate counts
SHARES = {Split.TEST: 0.3, Split.TRAIN: 0.5, Split.VAL: 0.2}


def assign(kept: Mapping[str, Split], classes: Mapping[str, bool]) -> dict[str, Split]:
    """Give each patient of `classes` (pseudonym to: bleeding or not) a part; those in `kept` keep theirs.

    A patient whose class has changed since stays where he is and counts for his present class.
    """
    parts = {patient: kept[patient] for patient in classes if patient in kept}
    for bleeding in (True, False):
        members = [patient for patient, present in classes.items() if present is bleeding]
        counts = Counter(parts[patient] for patient in members if patient in parts)
        for patient in sorted((one for one in members if one not in parts), key=_hash):
            part = _most_lacking(counts)
            parts[patient] = part
            counts[part] += 1
    return parts


def _hash(patient: str) -> str:
    return hashlib.sha256(patient.encode()).hexdigest()


def _most_lacking(counts: Mapping[Split, int]) -> Split:
    whole = sum(counts.values()) + 1
    # rounded, so that equal needs are equal and the order of SHARES decides
    return max(SHARES, key=lambda part: round(SHARES[part] * whole - counts.get(part, 0), 9))
