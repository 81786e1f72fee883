"""How long the rest takes: a step of every network measured first, then each epoch's own time."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from model.evaluate.paper.recipe import Case

SCORING_SHARE = 1 / 3  # of a training slice's time: forward without backward


@dataclass(frozen=True, kw_only=True)
class Load:
    """How many slices a case trains on, validates and tests."""

    train: int
    val: int
    test: int

    def epoch(self) -> float:
        """Return the work of an epoch, in training slices."""
        return self.train + self.val * SCORING_SHARE


class Forecast:
    """Tell the seconds left over all cases, from seconds a slice of each (network, augmented)."""

    def __init__(
        self, loads: Mapping[Case, Load], epochs: int, seconds: Mapping[tuple[str, bool], float]
    ) -> None:
        self._loads, self._seconds = dict(loads), dict(seconds)
        self._epochs_left = dict.fromkeys(loads, epochs)

    def epoch_done(self, case: Case, seconds: float) -> None:
        """Take an epoch off, and its time as what this network's epochs take from now on."""
        self._epochs_left[case] -= 1
        self._seconds[case.network, case.augmented] = seconds / self._loads[case].epoch()

    def left(self) -> float:
        """Return the seconds left."""
        return sum(
            self._seconds[case.network, case.augmented]
            * (self._epochs_left[case] * load.epoch() + self._tests_left(case) * SCORING_SHARE * load.test)
            for case, load in self._loads.items()
        )

    def _tests_left(self, case: Case) -> int:
        return int(self._epochs_left[case] > 0)


def seconds_a_slice(work: Callable[[], None], slices: int, *, repeats: int = 3) -> float:
    """Return the time of one slice in a step of `slices`, after a first step that sets things up."""
    work()
    started = time.perf_counter()
    for _ in range(repeats):
        work()
    return (time.perf_counter() - started) / repeats / slices


def spoken(seconds: float) -> str:
    """Return a duration as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
