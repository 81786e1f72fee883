"""When a study counts as whole: no open association and a quiet time, or the deadline. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class Completion(StrEnum):
    """The decision about a study that is being received."""

    WAIT = "wait"
    WHOLE = "whole"
    DEADLINE = "deadline"


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """What is known of a study's arrival; times are aware."""

    first_instance_at: datetime
    last_instance_at: datetime
    open_associations: int


def decide(arrival: Arrival, *, now: datetime, quiet_s: float, deadline_s: float) -> Completion:
    """Decide whether the study is whole; silence alone never counts while its sender is still connected."""
    if now - arrival.first_instance_at >= timedelta(seconds=deadline_s):
        return Completion.DEADLINE
    quiet = now - arrival.last_instance_at >= timedelta(seconds=quiet_s)
    return Completion.WHOLE if quiet and arrival.open_associations == 0 else Completion.WAIT
