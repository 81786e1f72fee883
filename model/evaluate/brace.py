"""python -m model.evaluate.brace: brace removal against a reference. Exit status 0 done, 1 failed.

The contact sheet of the worst slices shows patients' pictures: it stays where the data may be.
"""

import argparse
import csv
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from model.brace import remove_brace
from model.errors import ImageSetError, ModelError
from model.evaluate.brace_reference import VISIBLE, Judged, judge, reference_of
from model.evaluate.look import PICTURE_ERRORS
from model.evaluate.run import spare_workers
from model.image_set import SPLITS, SliceRow, read_picture, read_tables
from model.prepare_many import prepare_many

LEFT = 50  # pixels of a headrest as stored
LOST = 0.002  # of the head
WORST = 50
ACROSS = 10
KEPT, GONE, CUT, STAYED = (0, 0, 0, 0), (0.2, 0.35, 1.0, 1.0), (1.0, 0.15, 0.15, 1.0), (1.0, 0.85, 0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Looked:
    """One slice: its file, what was found, and the processor's time of the removal alone in milliseconds."""

    file: Path
    judged: Judged
    cpu_ms: float

    @property
    def badness(self) -> float:
        """Return how far it is over either limit, as a multiple."""
        return max(self.judged.left / LEFT, self.judged.lost_share / LOST)


def look_at(row: SliceRow) -> Looked:
    """Remove the brace from one slice and judge it; raises what `read_picture` raises."""
    picture = read_picture(row.file)
    begun = time.process_time()
    mask = remove_brace(picture).mask
    spent = time.process_time() - begun
    return Looked(file=row.file, judged=judge(mask, reference_of(picture)), cpu_ms=1000 * spent)


def summary_of(slices: Sequence[Looked]) -> dict[str, float | int]:
    """Return the counts: slices with a headrest, with one left over, with a cut head, with a cut brain."""
    found = [one.judged for one in slices]
    return {
        "slices": len(found),
        "with_headrest": sum(j.headrest > LEFT for j in found),
        "headrest_left": sum(j.left > LEFT for j in found),
        "head_lost": sum(j.lost_share > LOST for j in found),
        "brain_lost": sum(j.brain_lost > 0 for j in found),
        "cpu_ms_median": round(float(np.median([one.cpu_ms for one in slices])), 2),
        "cpu_ms_mean": round(float(np.mean([one.cpu_ms for one in slices])), 2),
    }


def draw_worst(slices: Sequence[Looked]) -> Figure:
    """Draw slices: yellow a headrest that stayed, red a head that was cut, blue what else was taken away."""
    down = -(-len(slices) // ACROSS)
    figure = Figure(figsize=(1.6 * ACROSS, 1.75 * down), layout="constrained")
    for number, one in enumerate(slices, start=1):
        axes = figure.add_subplot(down, ACROSS, number)
        axes.set_axis_off()
        axes.set_title(f"{one.judged.left} px, {one.judged.lost_share:.2%}", fontsize=7)
        picture = read_picture(one.file)
        axes.imshow(picture, cmap="gray", vmin=0, vmax=1)
        axes.imshow(_colours(picture))
    return figure


def _colours(picture: NDArray[np.float32]) -> NDArray[np.float64]:
    mask, reference = remove_brace(picture).mask, reference_of(picture)
    colours = np.zeros((*picture.shape, 4)) + KEPT
    colours[(picture > VISIBLE) & ~mask] = GONE
    colours[reference.head & ~mask] = CUT
    colours[reference.headrest & mask] = STAYED
    return colours


def _write_table(file: Path, slices: Sequence[Looked], root: Path) -> None:
    with file.open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["path", "headrest", "left", "head", "lost", "lost_share", "brain_lost"])
        for one in slices:
            j = one.judged
            path = one.file.relative_to(root) if one.file.is_relative_to(root) else one.file
            table.writerow([path, j.headrest, j.left, j.head, j.lost, f"{j.lost_share:.5f}", j.brain_lost])


def measure(table: Path, split: str | None, out: Path, workers: int) -> dict[str, float | int]:
    """Measure the slices of a table, write brace.csv, summary.json and worst.png, and return the summary."""
    rows = [r for r in read_tables((table,)) if split in (None, r.split)]
    if not rows:
        raise ImageSetError(f"{table}: expected slices of the split {split}, got none")
    slices = list(prepare_many(look_at, rows, workers=workers))
    out.mkdir(parents=True, exist_ok=True)
    _write_table(out / "brace.csv", slices, table.parent)
    summary = summary_of(slices)
    (out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    worst = sorted(slices, key=lambda one: -one.badness)[:WORST]
    draw_worst(worst).savefig(out / "worst.png", dpi=110)
    return summary


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m model.evaluate.brace",
        description="Remove the brace from every slice and compare with a slow reference: how often over "
        f"{LEFT} pixels of a headrest stay, how often over {LOST:.1%} of a head go. Writes brace.csv, "
        f"summary.json and worst.png (the {WORST} worst) into --out. Research software. Not for diagnostic "
        "use.",
    )
    add = parser.add_argument
    add("--slices", type=Path, required=True, metavar="CSV", help="a slices.csv whose pictures show braces")
    add("--split", choices=SPLITS, default=None, help="only this split (default: all slices)")
    add("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    add("--workers", type=int, default=spare_workers(), help="processes (default %(default)s)")
    chosen = parser.parse_args(arguments)
    try:
        summary = measure(chosen.slices, chosen.split, chosen.out, chosen.workers)
    except (ModelError, *PICTURE_ERRORS) as error:
        sys.stderr.write(f"model.evaluate.brace: {error}\n")
        return 1
    sys.stdout.write(json.dumps(summary) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
