"""The figures of an evaluation, drawn with matplotlib and written as PNG and SVG."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from model.evaluate.measures import Cases

INK, SECOND, QUIET = "#1f4e79", "#b5482a", "#8a8a8a"
NAMES = ("roc", "calibration", "confusion", "curves", "worst_errors")
KINDS = ("png", "svg")
CURVES = ("epoch", "training_loss", "validation_loss", "validation_auc")  # columns of curves.csv


def save(figure: Figure, folder: Path, name: str) -> None:
    """Write NAME.png and NAME.svg; equal figures give equal files."""
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(folder / f"{name}.png", dpi=110)
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})


def draw_roc(levels: Mapping[str, Cases], summary: Mapping[str, Any]) -> Figure | None:
    """Draw the ROC curves of slices and subjects with their operating points; None with one class only."""
    shown = {level: cases for level, cases in levels.items() if summary[level]["auc"] is not None}
    if not shown:
        return None
    figure, axes = _sheet("1 - specificity", "sensitivity")
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=0.8, linestyle=":")
    for (level, cases), colour in zip(shown.items(), (INK, SECOND), strict=False):
        called, found, _ = roc_curve(cases.labels, cases.scores)
        figures = summary[level]
        axes.plot(called, found, color=colour, label=f"{level}s, AUC {_told(figures, 'auc')}")
        for point, marker in ((figures, "o"), (figures["high"], "^")):
            axes.plot(1 - point["specificity"], point["sensitivity"], marker, color=colour, markersize=7)
    axes.plot([], [], "o", color=QUIET, label="low threshold")
    axes.plot([], [], "^", color=QUIET, label="high threshold")
    axes.legend(loc="lower right", frameon=False)
    return figure


def draw_calibration(summary: Mapping[str, Any]) -> Figure | None:
    """Draw how often cases of a score bleed; the area of a point grows with its count. None: no labels."""
    both = {"slices": summary["calibration"], "subjects": summary["calibration"]["subject"]}
    if not any(found["bins"] for found in both.values()):
        return None
    figure, axes = _sheet("mean score", "share that bleeds")
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=0.8, linestyle=":")
    for (name, found), colour in zip(both.items(), (INK, SECOND), strict=True):
        bins = found["bins"]
        if not bins:
            continue
        x, y = [b["mean_score"] for b in bins], [b["frequency"] for b in bins]
        most = max(b["count"] for b in bins)
        axes.plot(x, y, color=colour, linewidth=1, label=f"{name}, Brier {_told(found, 'brier')}")
        axes.scatter(x, y, s=[12 + 90 * b["count"] / most for b in bins], color=colour, alpha=0.7)
    axes.legend(loc="upper left", frameon=False)
    return figure


def draw_confusion(summary: Mapping[str, Any]) -> Figure | None:
    """Draw the location's confusion matrix, subjects counted; None without locations."""
    found = summary["location"]
    if found is None:
        return None
    figure, axes = _sheet("predicted", "truth", square=False)
    counts = found["confusion"]
    rows = [[count / max(sum(row), 1) for count in row] for row in counts]
    axes.imshow(rows, cmap="Blues", vmin=0, vmax=1)
    for y, row in enumerate(counts):
        for x, count in enumerate(row):
            axes.text(
                x, y, str(count), ha="center", va="center", color="white" if rows[y][x] > 0.5 else "black"
            )
    axes.set_xticks(range(len(counts)), found["classes"])
    axes.set_yticks(range(len(counts)), found["classes"])
    axes.set_title(f"balanced accuracy {_told(found, 'balanced_accuracy', 'ci')}", fontsize=10)
    return figure


def draw_curves(file: Path) -> Figure | None:
    """Draw a training's losses and validation AUC by epoch; None where the file holds none of them."""
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            points = [{name: float(row[name]) for name in CURVES} for row in csv.DictReader(stream)]
    except (KeyError, TypeError, ValueError):  # curves of another program
        return None
    if not points:
        return None
    figure, axes = _sheet("epoch", "loss", square=False)
    epochs = [point["epoch"] for point in points]
    axes.plot(epochs, _column(points, "training_loss"), color=INK, label="training loss")
    axes.plot(epochs, _column(points, "validation_loss"), color=SECOND, label="validation loss")
    right = axes.twinx()
    right.plot(epochs, _column(points, "validation_auc"), color=QUIET, linestyle="--")
    right.set_ylabel("validation AUC of slices (dashed)")
    axes.legend(frameon=False)
    return figure


def _column(points: Sequence[Mapping[str, float]], name: str) -> list[float]:
    return [point[name] for point in points]


def _told(figures: Mapping[str, Any], name: str, interval: str | None = None) -> str:
    held = figures[interval or f"{name}_ci"]
    value = f"{figures[name]:.3f}"
    return value if held is None else f"{value} ({held[0]:.3f} to {held[1]:.3f})"


def _sheet(x: str, y: str, *, square: bool = True) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5.2, 4.8), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    if square:
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    return figure, axes
