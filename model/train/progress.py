"""What a watcher sees of a run: progress.json, curves.csv and a line on stderr, all written as it goes."""

import csv
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

EVERY_S = 2.0
CURVE_COLUMNS = ("epoch", "training_loss", "validation_loss", "validation_auc", "rate", "seconds")


class Progress:
    """Tell how far a run is; `step` counts over all epochs."""

    def __init__(self, folder: Path, *, epochs: int, steps: int, first_step: int) -> None:
        self._folder, self._epochs, self._steps, self._first = folder, epochs, steps, first_step
        self._started = time.monotonic()
        self._next = 0.0

    def tell(self, *, epoch: int, step: int, loss: float) -> None:
        """Write progress.json and a line, at most every two seconds, and always at the end."""
        now = time.monotonic()
        if now < self._next and step < self._steps:
            return
        self._next = now + EVERY_S
        done = max(step - self._first, 1)
        left = (now - self._started) / done * (self._steps - step)
        facts = {"epoch": epoch, "epochs": self._epochs, "step": step, "steps": self._steps}
        write_atomically(
            self._folder / "progress.json",
            json.dumps(facts | {"loss": round(loss, 5), "eta_s": round(left, 1)}),
        )
        sys.stderr.write(
            f"epoch {epoch}/{self._epochs}  step {step}/{self._steps}  loss {loss:.4f}  {left:.0f} s left\n"
        )
        sys.stderr.flush()


def write_curves(folder: Path, curves: Sequence[dict[str, float]]) -> None:
    """Write curves.csv: one line for each finished epoch."""
    lines = [",".join(CURVE_COLUMNS)]
    lines += [",".join(f"{point[c]:.6g}" for c in CURVE_COLUMNS) for point in curves]
    write_atomically(folder / "curves.csv", "\n".join(lines) + "\n")


def read_curves(folder: Path) -> list[dict[str, float]]:
    """Read curves.csv again."""
    with (folder / "curves.csv").open(newline="") as stream:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(stream)]


def write_atomically(file: Path, text: str) -> None:
    """Write a file so that a reader sees the old text or the new one, never a part."""
    partial = file.with_name(file.name + ".part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(file)
