"""What happens in a round: which studies come how, and who is killed when. Pure; a seed says it all."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a study is made of; all but `LOCALIZER` and `CHEST` claim to be a head and must be reported."""

    WHOLE = "whole head"  # long enough to be read while it still arrives
    SHORT = "short head"
    LATE = "head whose last slices come late"
    FEW = "head of five slices"
    BONE = "bone kernel alone"
    LOCALIZER = "localizer alone"
    CHEST = "chest"

    @property
    def is_reported(self) -> bool:
        return self not in (Kind.LOCALIZER, Kind.CHEST)


class Way(StrEnum):
    """How a scanner sends."""

    STEADY = "until all is acknowledged"
    ONE_PER_IMAGE = "an association per image"
    SHUFFLED = "in any order"
    AGAIN = "all twice"
    ONCE = "gives up at the first trouble"


class Target(StrEnum):
    """Who is killed."""

    RECEIVER = "receiver"
    WORKER = "worker"
    CHILDREN = "worker's children"  # that decode and read
    DELIVERER = "deliverer"
    SCHEDULER = "scheduler"
    ALL = "everything"
    SUPERVISOR = "supervisor"  # `serve`, where it runs the others; not drawn


class Moment(StrEnum):
    """When, as seen from outside."""

    RECEIVING = "receiving"
    QUEUEING = "queueing"
    INFERRING = "inferring"
    REPORTING = "reporting"
    SENDING = "sending"


# how often each dies; a worker takes seconds to start again, all that time nothing else happens
WEIGHTS = {
    Target.RECEIVER: 3,
    Target.WORKER: 2,
    Target.CHILDREN: 2,
    Target.DELIVERER: 3,
    Target.SCHEDULER: 2,
    Target.ALL: 1,
}

# when each has most to lose; half of the kills are then
BUSY = {
    Target.RECEIVER: Moment.RECEIVING,
    Target.WORKER: Moment.INFERRING,
    Target.CHILDREN: Moment.INFERRING,
    Target.DELIVERER: Moment.SENDING,
    Target.SCHEDULER: Moment.QUEUEING,
    Target.ALL: Moment.INFERRING,
}


class Trick(StrEnum):
    """What else happens."""

    NONE = "nothing else"
    OLDER_DATABASE = "an older database"
    SECOND_RECEIVER = "a second receiver between rename and commit"
    ORPHANS = "two receivers after a death between rename and commit"
    LOST_RECEIVER = "a second receiver dies for good"
    FROZEN_MACHINE = "one of two machines stands still past its leases"
    DATABASE_DOWN = "the database's server is down for some seconds"
    DISK_FULL = "the disk is full for some seconds"  # wants a small one of its own; not drawn


TRICKS = (Trick.LOST_RECEIVER, Trick.OLDER_DATABASE, Trick.ORPHANS, Trick.SECOND_RECEIVER)
# a database in a file is for one machine, and there while that runs
TRICKS_ON_A_SERVER = (*TRICKS, Trick.FROZEN_MACHINE, Trick.DATABASE_DOWN)
TRICK_EVERY = 3  # rounds
LONGEST_DELAY_S, LONGEST_JITTER_S, LONGEST_DOWN_S = 2.0, 0.6, 0.8


@dataclass(frozen=True, kw_only=True)
class PlannedStudy:
    """One study; its number is its seed, and all that is ever said of it."""

    number: int
    kind: Kind
    way: Way
    after_s: float


@dataclass(frozen=True, kw_only=True)
class Kill:
    """Who dies when, so long after the moment began, and how long it stays away."""

    target: Target
    moment: Moment
    after_s: float
    down_s: float


@dataclass(frozen=True, kw_only=True)
class Round:
    """One round; the PACS refuses `refusals` stores at first and takes `pacs_delay_s` for each."""

    number: int
    studies: tuple[PlannedStudy, ...]
    kills: tuple[Kill, ...]
    trick: Trick
    refusals: int
    pacs_delay_s: float


MOST_STUDIES = 4


def plan(seed: int, number: int, tricks: Sequence[Trick] = TRICKS) -> Round:
    """Draw round `number` (from 1) of a seed; every third one plays one of the tricks."""
    draw = random.Random(f"{seed}/{number}")
    first = number * 10
    return Round(
        number=number,
        studies=tuple(_study(draw, first + n) for n in range(draw.randint(2, MOST_STUDIES))),
        kills=_kills(draw),
        trick=tricks[number // TRICK_EVERY % len(tricks)] if number % TRICK_EVERY == 0 else Trick.NONE,
        refusals=draw.choice((0, 0, 0, 1, 2)),
        pacs_delay_s=draw.choice((0.0, 0.0, 0.1, 0.3)),
    )


def _study(draw: random.Random, number: int) -> PlannedStudy:
    kinds = draw.choices(tuple(Kind), weights=(4, 4, 2, 1, 1, 1, 1))
    return PlannedStudy(
        number=number,
        kind=kinds[0],
        way=draw.choice(tuple(Way)),
        after_s=draw.uniform(0, LONGEST_DELAY_S),
    )


def _kills(draw: random.Random) -> tuple[Kill, ...]:
    """One to three; in the order in which their moments come, and never one process twice."""
    drawn = draw.choices(tuple(WEIGHTS), weights=tuple(WEIGHTS.values()), k=draw.choice((1, 1, 2, 2, 3)))
    targets = tuple(dict.fromkeys(drawn))
    order = tuple(Moment)
    kills = (
        Kill(
            target=target,
            moment=draw.choice((BUSY[target], draw.choice(order))),
            # a small study is read in a third of a second
            after_s=draw.choice((0.0, draw.uniform(0, 0.1), draw.uniform(0, LONGEST_JITTER_S))),
            down_s=draw.uniform(0, LONGEST_DOWN_S),
        )
        for target in targets
    )
    return tuple(sorted(kills, key=lambda kill: order.index(kill.moment)))
