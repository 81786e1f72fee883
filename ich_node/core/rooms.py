"""Whether each room of the node lives and can work, by the signs that its processes give. Pure.

A process promises with each sign by when the next one comes, so that long work is no silence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

ROOMS = ("receive", "work", "deliver", "schedule")
FORGOTTEN_AFTER = timedelta(hours=1)  # a process that is silent for so long while another one does its work


@dataclass(frozen=True, kw_only=True)
class Sign:
    """The last sign of one process: when, by when it promised the next, and why it cannot work."""

    room: str
    process: str
    begun_at: datetime
    seen_at: datetime
    due_at: datetime
    doing: str
    trouble: str | None

    @property
    def name(self) -> str:
        """Its process as people know it: host and number, without what tells two hosts of one name apart."""
        host, _, pid = self.process.rpartition(":")
        return f"{host.partition('@')[0]}:{pid}"


@dataclass(frozen=True, kw_only=True)
class Health:
    """What is to be said of a room; `since` is None where it never gave a sign."""

    room: str
    well: bool
    since: datetime | None
    why: str


def judge(signs: Sequence[Sign], *, now: datetime) -> list[Health]:
    """Judge each room: well where all its processes speak in time and none is in trouble."""
    return [_judge(room, [sign for sign in signs if sign.room == room], now) for room in ROOMS]


def _judge(room: str, signs: Sequence[Sign], now: datetime) -> Health:
    if not signs:
        return Health(room=room, well=False, since=None, why="no process of it runs")
    alive = [sign for sign in signs if now <= sign.due_at]
    silent = [sign for sign in signs if now > sign.due_at]
    if alive:
        silent = [sign for sign in silent if now - sign.due_at < FORGOTTEN_AFTER]
    if silent:
        last = max(silent, key=lambda sign: sign.seen_at)
        return Health(room=room, well=False, since=last.seen_at, why=f"{last.name} is silent: {last.doing}")
    if troubled := [sign for sign in alive if sign.trouble]:
        first = min(troubled, key=lambda sign: sign.seen_at)
        return Health(room=room, well=False, since=first.seen_at, why=f"{first.name}: {first.trouble}")
    return Health(room=room, well=True, since=min(sign.begun_at for sign in alive), why=alive[0].doing)
