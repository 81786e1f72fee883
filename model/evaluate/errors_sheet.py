"""The contact sheet: bleeds that scored lowest, other slices that scored highest, with their heat maps."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from model.evaluate.look import PICTURE_ERRORS
from model.evaluate.table import Predictions
from model.heatmap import heat_map
from model.image_set import SliceRow, read_picture
from model.prepare import Frame

MOST = 12  # of each kind
ACROSS = 6
CONTOUR = 0.5  # of the evidence: more likely blood than not


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A slice on the wrong side of the low threshold; `index` is its place in the predictions."""

    index: int
    row: SliceRow
    score: float

    @property
    def words(self) -> str:
        return f"{'bleed' if self.row.hemorrhage else 'no bleed'}, score {self.score:.3f}"


@dataclass(frozen=True, kw_only=True)
class Heat:
    """The evidence (N, G, G) of all slices and the frames that it lies in."""

    evidence: NDArray[np.float32]
    frames: Sequence[Frame]


def worst(rows: Sequence[SliceRow], predictions: Predictions, threshold: float) -> list[Mistake]:
    """Return at most 12 missed bleeds, lowest score first, then at most 12 false alarms, highest first."""
    mistakes = [
        Mistake(index=i, row=row, score=float(score))
        for i, (row, score) in enumerate(zip(rows, predictions.hemorrhage, strict=True))
        if row.hemorrhage is not None and (score >= threshold) != (row.hemorrhage == 1)
    ]
    missed = sorted((m for m in mistakes if m.row.hemorrhage == 1), key=lambda m: m.score)
    called = sorted((m for m in mistakes if m.row.hemorrhage == 0), key=lambda m: -m.score)
    return missed[:MOST] + called[:MOST]


def draw_errors(mistakes: Sequence[Mistake], predictions: Predictions, heat: Heat | None) -> Figure | None:
    """Draw the mistakes as stored, each with its heat map's contour and peak; None where there are none."""
    if not mistakes:
        return None
    down = -(-len(mistakes) // ACROSS)
    figure = Figure(figsize=(2.1 * ACROSS, 2.35 * down), layout="constrained")
    for number, mistake in enumerate(mistakes, start=1):
        axes = figure.add_subplot(down, ACROSS, number)
        axes.set_axis_off()
        axes.set_title(f"{number}: {mistake.words}", fontsize=8)
        _draw(axes, mistake, predictions.peaks[mistake.index], heat)
    return figure


def _draw(axes: Axes, mistake: Mistake, peak: NDArray[np.float64], heat: Heat | None) -> None:
    try:
        picture = read_picture(mistake.row.file)
    except PICTURE_ERRORS:
        axes.text(0.5, 0.5, "picture not found", ha="center", transform=axes.transAxes)
        return
    height, width = picture.shape
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1)
    if not np.isnan(peak).any():
        axes.plot(peak[0] * width - 0.5, peak[1] * height - 0.5, "+", color="#ffd24a", markersize=9)
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    if heat is None:
        return
    shown = heat_map(heat.evidence[mistake.index], heat.frames[mistake.index], (height, width))
    if shown.max() > CONTOUR > shown.min():
        axes.contour(shown, levels=[CONTOUR], colors=["#ff6a3d"], linewidths=0.9)
