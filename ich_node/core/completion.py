"""When a study counts as whole: nobody sends, and silence or a source says so; or the deadline. Pure.

A positive does not wait for that: heads that look whole are read while the study still arrives.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Any

from ich_node.core.grounds import Rules
from ich_node.core.instances import InstanceFacts
from ich_node.core.retrieval import Held, SeriesThere, gaps_between
from ich_node.core.selection import Candidate, choose

SETTLED_S = 1.0  # a series that has not grown for so long is looked at while others still come
AGAIN_S = 10.0  # before a study is looked at early once more: slices that trickle in are not read one by one
COMPARED_AFTER_S = 5.0  # without an image: a source asked sooner may still be receiving the study itself
GONE_AFTER_S = 20.0  # without a sign of life of a receiver: what it held is held by nobody any more
WHOLE_HEAD_MM = 100.0  # first to last center: from the skull's base to the vertex are 110 to 150 in adults


class SourceSays(StrEnum):
    """What a C-FIND of a source says of a study, as it was when it was asked."""

    ALL_CAME = "all came"
    MORE_TO_COME = "more to come"  # of a series of which something came


class Completion(StrEnum):
    """The decision about a study that is being received."""

    WAIT = "wait"
    WHOLE = "whole"
    DEADLINE = "deadline"


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """What is known of a study's arrival; times are aware. `source_says` is of what came up to now."""

    first_instance_at: datetime
    last_instance_at: datetime
    open_associations: int
    source_says: SourceSays | None = None

    @property
    def speaks_for_a_loss(self) -> bool:
        """Whether more of the study exists than came, as far as anybody can tell."""
        return self.open_associations > 0 or self.source_says is SourceSays.MORE_TO_COME

    def is_whole(self, *, now: datetime, quiet_s: float) -> bool:
        """Whether nobody sends any more, and it was silent for so long or its source says that all came."""
        quiet = now - self.last_instance_at >= timedelta(seconds=quiet_s)
        return not self.speaks_for_a_loss and (quiet or self.source_says is SourceSays.ALL_CAME)


def decide(arrival: Arrival, *, now: datetime, quiet_s: float, deadline_s: float) -> Completion:
    """Decide whether the study is whole; silence alone never counts while its sender is still connected.

    A source that says that all came ends the silence early; one that has more makes it wait for the deadline.
    """
    if now - arrival.first_instance_at >= timedelta(seconds=deadline_s):
        return Completion.DEADLINE
    return Completion.WHOLE if arrival.is_whole(now=now, quiet_s=quiet_s) else Completion.WAIT


def compare(there: Sequence[SeriesThere], here: Held) -> SourceSays | None:
    """Say what a source's list of series means for what came; None where it proves nothing.

    A series of which nothing came may not be meant for us; one of which something came is. A source that does
    not know all that came, or does not count, lags behind and proves nothing.
    """
    gaps = gaps_between(there, here)
    if any(here.get(gap.series.series_uid) for gap in gaps):
        return SourceSays.MORE_TO_COME
    expected = {series.series_uid: series.expected for series in there}
    knows_all = all(len(images) <= expected.get(uid, 0) for uid, images in here.items())
    return SourceSays.ALL_CAME if there and not gaps and knows_all and all(expected.values()) else None


@dataclass(frozen=True, kw_only=True)
class Head:
    """A head scan with even steps that would be read by its headers; lengths in mm.

    `numbers_missing` counts the scanner's image numbers that nothing came for between the first and the last.
    """

    series_uid: str
    slices: int
    span_mm: float
    step_mm: float
    numbers_missing: int
    instances: tuple[str, ...]

    @property
    def looks_whole(self) -> bool:
        """Whether it runs over a head's length and no image number is left out."""
        return self.span_mm >= WHOLE_HEAD_MM and self.numbers_missing == 0

    def to_dict(self) -> dict[str, Any]:
        """The evidence as the history keeps it."""
        return {key: value for key, value in asdict(self).items() if key != "instances"}


def heads_of(facts: Sequence[InstanceFacts], rules: Rules | None = None) -> tuple[Head, ...]:
    """Find the head scans that would be read, by headers alone, and that look whole; none without facts."""
    if not facts:
        return ()
    numbers = {fact.sop_instance_uid: fact.instance_number for fact in facts}
    heads = (_head(candidate, numbers) for candidate in choose(facts, rules).chosen)
    return tuple(head for head in heads if head is not None and head.looks_whole)


def _head(candidate: Candidate, numbers: dict[str, int | None]) -> Head | None:
    geometry = candidate.geometry
    if geometry is None or geometry.slice_spacing_mm is None:
        return None
    return Head(
        series_uid=candidate.series_uid,
        slices=geometry.slices,
        span_mm=geometry.span_mm,
        step_mm=geometry.slice_spacing_mm,
        numbers_missing=_left_out([numbers[uid] for uid in candidate.instances]),
        instances=candidate.instances,
    )


def _left_out(numbers: Sequence[int | None]) -> int:
    """Count the numbers between the first and the last that nothing has; 0 where the scanner gave none."""
    given = {number for number in numbers if number is not None}
    return max(given) - min(given) + 1 - len(given) if given else 0


def key_of(heads: Sequence[Head]) -> str:
    """Name a set of heads by its images: the same set is not read early twice."""
    uids = sorted(uid for head in heads for uid in head.instances)
    return sha256("\n".join(uids).encode()).hexdigest()
