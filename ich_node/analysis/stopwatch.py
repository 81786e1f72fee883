"""How long each stage of an analysis took. May read the monotonic clock and nothing else."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter


def nowhere(_stage: str) -> None:
    """Tell nobody which stage begins."""


@dataclass(kw_only=True)
class Stopwatch:
    """Adds up seconds by stage; `at` hears the name of each stage as it begins."""

    at: Callable[[str], None] = nowhere
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one stage; entered again, it adds up."""
        self.at(name)
        begun = perf_counter()
        try:
            yield
        finally:
            self.add(name, perf_counter() - begun)

    def add(self, name: str, seconds: float) -> None:
        """Add seconds that were measured elsewhere."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds
