"""Whether the wall clock was set: it and a clock that only counts on should advance alike. Pure."""

from dataclasses import dataclass

STEP_S = 2.0  # less is slewing and the time that a look takes


@dataclass(frozen=True, kw_only=True)
class Look:
    """Both clocks at one moment, in seconds since any begin."""

    wall_s: float
    steady_s: float


def step_s(before: Look, after: Look) -> float:
    """By how many seconds the wall clock was set between two looks, 0 where it was not; negative: back."""
    stepped = (after.wall_s - before.wall_s) - (after.steady_s - before.steady_s)
    return stepped if abs(stepped) >= STEP_S else 0.0
