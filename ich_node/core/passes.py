"""Which instances of one stack came from one pass of the scanner. Pure."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from ich_node.core.geometry import SAME_POSITION_MM, levels, orientation_of, stack
from ich_node.core.instances import InstanceFacts, Orientation

_SAME_TABLE = 0.1  # of a slice's thickness: a table that comes back stops as near as that
_FEWEST_BY_TIME = 8  # fewer slices that only their time tells apart are repeated ones, no pass


@dataclass(frozen=True, kw_only=True, order=True)
class _Cut:
    """A place where a run may fall into two passes; of several the greatest is taken.

    Most collisions must end there. The pause then keeps slices of the second pass that collide with none
    with their own; where no clock tells, the side that collides as a whole is the pass.
    """

    collisions: int
    pause_s: float
    share: float
    off_middle: int  # negative: many equal passes are parted by halves, which is fast
    place: int


@dataclass(frozen=True, kw_only=True)
class _Sides:
    """How many kinds have members before a place, behind it, and on both sides."""

    before: int
    behind: int
    both: int


def passes_of(group: Sequence[InstanceFacts]) -> list[list[InstanceFacts]]:
    """Split one stack into passes of the scanner, only where positions collide.

    Time, then AcquisitionNumber, tell passes apart; where a maker counts acquisitions within one volume none
    of its slices collide, and it stays whole. What still collides are duplicates, judged by their pixels.
    """
    orientation = orientation_of(group)
    runs = [sorted(group, key=lambda fact: (_moment(fact), fact.sop_instance_uid))]
    passes = []
    while runs:
        run = runs.pop()
        cut = max(_cuts(run, orientation), default=None) if orientation else None
        if cut is None:
            passes.append(sorted(run, key=lambda fact: fact.sop_instance_uid))
        else:
            runs += [run[cut.place :], run[: cut.place]]
    return passes


def _moment(fact: InstanceFacts) -> tuple[float, float]:
    time_s, number = fact.acquisition_time_s, fact.acquisition_number
    return (math.inf if time_s is None else time_s, math.inf if number is None else number)


def _cuts(run: Sequence[InstanceFacts], orientation: Orientation) -> Iterator[_Cut]:
    """List where a run, ordered by moment, may fall into two passes.

    At least half of the positions on the smaller side collide with the other one, and AcquisitionNumber tells
    the sides apart, or they are too many for repeated slices.
    """
    positions, numbers = _positions(run, orientation), _numbers(run)
    if max(map(len, positions), default=0) < 2:
        return
    sides = zip(_sides(positions, len(run)), _sides(numbers, len(run)), strict=True)
    for place, (found, counted) in enumerate(sides, start=1):
        smaller = min(found.before, found.behind)
        collides = found.both and 2 * found.both >= smaller
        told_apart = counted.both == 0 or smaller >= _FEWEST_BY_TIME
        if collides and told_apart and _moment(run[place - 1]) != _moment(run[place]):
            yield _Cut(
                collisions=found.both,
                pause_s=_pause_s(run[place - 1], run[place]),
                share=found.both / smaller,
                off_middle=-abs(2 * place - len(run)),
                place=place,
            )


def _positions(run: Sequence[InstanceFacts], orientation: Orientation) -> list[list[int]]:
    """Gather the places in the run of what lies in one position."""
    place_of = {fact.sop_instance_uid: place for place, fact in enumerate(run)}
    thinnest_mm = min(fact.slice_thickness_mm or 0.0 for fact in run)
    within_mm = max(SAME_POSITION_MM, _SAME_TABLE * thinnest_mm)
    gathered = levels(stack(run, orientation), within_mm=within_mm)
    return [[place_of[one.sop_instance_uid] for one in level] for level in gathered]


def _numbers(run: Sequence[InstanceFacts]) -> list[list[int]]:
    """Gather the places in the run of what has one AcquisitionNumber."""
    places: dict[int | None, list[int]] = defaultdict(list)
    for place, fact in enumerate(run):
        places[fact.acquisition_number].append(place)
    return list(places.values())


def _sides(kinds: Collection[Sequence[int]], count: int) -> list[_Sides]:
    """Count kinds, each given by the places of its members, on both sides of every place but the first."""
    first, last = [0] * count, [0] * count
    for members in kinds:
        first[min(members)] += 1
        last[max(members)] += 1
    begun, ended = list(accumulate(first)), list(accumulate(last))
    return [
        _Sides(before=begun[place], behind=len(kinds) - ended[place], both=begun[place] - ended[place])
        for place in range(count - 1)
    ]


def _pause_s(before: InstanceFacts, after: InstanceFacts) -> float:
    start, end = before.acquisition_time_s, after.acquisition_time_s
    return 0.0 if start is None or end is None else end - start
