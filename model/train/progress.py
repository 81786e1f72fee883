"""What a watcher sees of a run: progress.json, curves.csv and a line on stderr, all written as it goes."""

import csv
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import rich.progress
from rich.console import Console

from model.whole_file import write_atomically

EVERY_S = 2.0
CURVE_COLUMNS = ("epoch", "training_loss", "validation_loss", "validation_auc", "rate", "seconds")


class Progress:
    """Tell how far a run is; `step` counts over all epochs. Without a folder nothing is told.

    On a terminal a bar shows it, elsewhere plain lines. The remaining time is what the steps of this call
    have taken on the whole, validation included.
    """

    def __init__(self, folder: Path | None, *, epochs: int, steps: int, first_step: int) -> None:
        self._folder, self._epochs, self._steps, self._first = folder, epochs, steps, first_step
        self._started = time.monotonic()
        self._next = 0.0
        self._bar = _bar() if folder is not None and sys.stderr.isatty() else None
        self._task = self._bar.add_task("", total=steps, completed=first_step) if self._bar else None

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    def tell(self, *, epoch: int, step: int, loss: float) -> None:
        """Write progress.json and show it, at most every two seconds, and always at the end."""
        now = time.monotonic()
        if self._folder is None or (now < self._next and step < self._steps):
            return
        self._next = now + EVERY_S
        done = max(step - self._first, 1)
        left = (now - self._started) / done * (self._steps - step)
        facts = {"epoch": epoch, "epochs": self._epochs, "step": step, "steps": self._steps}
        write_atomically(
            self._folder / "progress.json",
            json.dumps(facts | {"loss": round(loss, 5), "eta_s": round(left, 1)}),
        )
        self._show(epoch, step, f"loss {loss:.4f}  {_duration(left)} left")

    def _show(self, epoch: int, step: int, words: str) -> None:
        words = f"epoch {epoch}/{self._epochs}  step {step}/{self._steps}  {words}"
        if self._bar and self._task is not None:
            self._bar.update(self._task, completed=step, description=words)
            return
        sys.stderr.write(words + "\n")
        sys.stderr.flush()


def _bar() -> rich.progress.Progress:
    columns = (rich.progress.BarColumn(), rich.progress.TextColumn("{task.description}"))
    return rich.progress.Progress(*columns, console=Console(stderr=True), refresh_per_second=2)


def _duration(seconds: float) -> str:
    """Return how long in words: 40 s, 12 min, 3 h 05 min."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def write_curves(folder: Path, curves: Sequence[dict[str, float]]) -> None:
    """Write curves.csv: one line for each finished epoch."""
    lines = [",".join(CURVE_COLUMNS)]
    lines += [",".join(f"{point[c]:.6g}" for c in CURVE_COLUMNS) for point in curves]
    write_atomically(folder / "curves.csv", "\n".join(lines) + "\n")


def read_curves(folder: Path) -> list[dict[str, float]]:
    """Read curves.csv again."""
    with (folder / "curves.csv").open(newline="") as stream:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(stream)]
