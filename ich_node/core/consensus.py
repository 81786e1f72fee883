"""From the opinions of several readers about one study to its truth, or to none. Pure."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

from ich_node.vocabulary import Location

SAW_RESULT_WEIGHT = 0.5  # who has seen our result tends to agree with it; "not known" counts as having seen
_ROUNDING = 1e-9

Answer = TypeVar("Answer", bound=Hashable)


class Presence(StrEnum):
    """What a reader says of the hemorrhage."""

    PRESENT = "present"
    ABSENT = "absent"
    UNDETERMINED = "undetermined"


@dataclass(frozen=True, kw_only=True)
class Opinion:
    """One label: who, when, what, how sure (0 to 1, None if not said), having seen our result or not."""

    hemorrhage: Presence
    location: Location | None
    reader: str
    read_at: datetime
    saw_result: bool | None = None
    confidence: float | None = None

    @property
    def weight(self) -> float:
        """What the opinion counts, from 0 to 1."""
        sure = 1.0 if self.confidence is None else self.confidence
        return sure * (1.0 if self.saw_result is False else SAW_RESULT_WEIGHT)


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What the readers of a study agree on; `location` is None where absent, not said or disputed."""

    present: bool
    location: Location | None
    readers: int


def consensus(opinions: Sequence[Opinion]) -> Truth | None:
    """Weigh the latest opinion of each reader; None unless present or absent has over half of the weight.

    Whoever says undetermined weighs against both. Of one reader's opinions at the same time the last counts.
    """
    latest = _latest(opinions)
    answer = _majority([(opinion.hemorrhage, opinion.weight) for opinion in latest])
    if answer is None or answer is Presence.UNDETERMINED:
        return None
    present = answer is Presence.PRESENT
    located = [
        (opinion.location, opinion.weight)
        for opinion in latest
        if opinion.hemorrhage is Presence.PRESENT and opinion.location is not None
    ]
    return Truth(present=present, location=_majority(located) if present else None, readers=len(latest))


def _latest(opinions: Sequence[Opinion]) -> list[Opinion]:
    by_reader = {opinion.reader: opinion for opinion in sorted(opinions, key=lambda one: one.read_at)}
    return list(by_reader.values())


def _majority(votes: Sequence[tuple[Answer, float]]) -> Answer | None:
    whole = math.fsum(weight for _, weight in votes)
    for answer in dict.fromkeys(answer for answer, _ in votes):
        share = math.fsum(weight for other, weight in votes if other == answer)
        if 2 * share > whole + _ROUNDING:
            return answer
    return None
