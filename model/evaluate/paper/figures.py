"""Figures 1, 3 and 4 in the paper's form, as PNG and SVG; the two splits stand above each other."""

import textwrap
from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from model.evaluate.paper.metrics import dual_figures
from model.evaluate.paper.plan import Plan
from model.evaluate.paper.recipe import DTVIT, SPLIT_TITLES, SPLITS, Case, Recipe
from model.evaluate.paper.report import header_line
from model.evaluate.paper.results import Result
from model.evaluate.paper.treatment import Stages, into_frame, remove_brace_as_authors
from model.image_set import read_picture
from model.manifest import LOCATIONS

LOOKED_AT = 24  # slices from which Figure 1 takes the one that lost most
DOTS_PER_INCH = 150
LETTERS_PER_INCH = 15  # of the line below a figure
PANELS = {  # of Figure 3
    "loss, with augmentation": ("loss", True),
    "accuracy, with augmentation": ("accuracy", True),
    "loss, without augmentation": ("loss", False),
    "accuracy, without augmentation": ("accuracy", False),
}


def draw_figures(out: Path, recipe: Recipe, plan: Plan, results: Mapping[Case, Result]) -> None:
    """Draw the three figures into a folder; what is not trained yet is an empty panel that says so."""
    line = header_line(recipe)
    _save(
        figure_1(_instance(plan, recipe.seed)), out / "figure1", "From the data: never publish or commit it."
    )
    _save(figure_3(results), out / "figure3", line)
    _save(figure_4(results), out / "figure4", line)


def _instance(plan: Plan, seed: int) -> Stages:
    """Return, of some slices, the one that lost most and yet less than half: a headrest, not a head."""
    order = np.random.default_rng([seed, 5]).permutation(len(plan.rows))[:LOOKED_AT]
    stages = [
        remove_brace_as_authors(into_frame(read_picture(plan.rows[i].file), plan.crops[i])) for i in order
    ]
    return max(stages, key=_removed)


def _removed(stages: Stages) -> int:
    removed = int((stages.binary & ~stages.mask).sum())
    return removed if 2 * removed < stages.binary.sum() else -1


def figure_1(stages: Stages) -> Figure:
    """Draw the morphological treatment of one slice: original, steps, result."""
    panels = {
        "original": stages.original,
        "binarized": stages.binary,
        "eroded": stages.eroded,
        "mask": stages.mask,
        "processed": stages.treated,
    }
    figure = Figure(figsize=(3 * len(panels), 3.6), layout="constrained")
    for axes, (title, picture) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        axes.imshow(picture, cmap="gray", vmin=0, vmax=1)
        axes.set_title(title)
        axes.set_axis_off()
    figure.suptitle("Figure 1: Morphological treatment of CT images")
    return figure


def figure_3(results: Mapping[Case, Result]) -> Figure:
    """Draw DTViT's losses and accuracies in training and validation, (a) to (d), a row for each split."""
    figure = Figure(figsize=(16, 7.5), layout="constrained")
    grid = figure.subplots(len(SPLITS), len(PANELS), squeeze=False)
    for row, split in enumerate(SPLITS):
        for column, (title, (what, augmented)) in enumerate(PANELS.items()):
            axes = grid[row, column]
            axes.set_title(f"({'abcd'[column]}) {title}\n{SPLIT_TITLES[split]}", fontsize=10)
            _curves(axes, results.get(Case(network=DTVIT, split=split, augmented=augmented)), what)
    figure.suptitle("Figure 3: Accuracy and loss in training and validation, DTViT")
    return figure


def _curves(axes: Axes, result: Result | None, what: str) -> None:
    if result is None:
        _not_trained(axes)
        return
    epochs = [point["epoch"] for point in result.curves]
    for part in ("training", "validation"):
        axes.plot(epochs, [point[f"{part}_{what}"] for point in result.curves], marker="o", ms=3, label=part)
    axes.locator_params(axis="y", nbins=4)
    axes.locator_params(axis="x", integer=True, nbins=min(len(epochs), 10))
    axes.set_xlabel("epoch")
    axes.set_ylabel(what)
    axes.grid(alpha=0.3)
    axes.legend()


def figure_4(results: Mapping[Case, Result]) -> Figure:
    """Draw DTViT's confusions on the test part, with augmentation: (a) presence, (b) location."""
    figure = Figure(figsize=(10, 9), layout="constrained")
    grid = figure.subplots(len(SPLITS), 2, squeeze=False)
    for row, split in enumerate(SPLITS):
        result = results.get(Case(network=DTVIT, split=split, augmented=True))
        for axes, title in zip(grid[row], ("(a) normal and ICH", "(b) location of the ICH"), strict=True):
            axes.set_title(f"{title}\n{SPLIT_TITLES[split]}", fontsize=10)
        if result is None:
            _not_trained(grid[row, 0])
            _not_trained(grid[row, 1])
            continue
        figures = dual_figures(result.scores)
        _confusion(grid[row, 0], figures.presence_confusion, ["normal", "ICH"])
        _confusion(grid[row, 1], figures.location_confusion, [*LOCATIONS, "none"])
    figure.suptitle("Figure 4: Confusion matrices of DTViT on the testing dataset")
    return figure


def _confusion(axes: Axes, counts: NDArray[np.int64], names: list[str]) -> None:
    axes.imshow(counts, cmap="Blues", vmin=0)
    for (row, column), count in np.ndenumerate(counts):
        dark = count > counts.max() / 2
        axes.text(column, row, str(count), ha="center", va="center", color="white" if dark else "black")
    axes.set_xticks(range(counts.shape[1]), names[: counts.shape[1]])
    axes.set_yticks(range(counts.shape[0]), names[: counts.shape[0]])
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")


def _not_trained(axes: Axes) -> None:
    axes.text(0.5, 0.5, "not trained yet", ha="center", va="center", transform=axes.transAxes)
    axes.set_xticks([])
    axes.set_yticks([])


def _save(figure: Figure, file: Path, line: str) -> None:
    width = int(figure.get_figwidth() * LETTERS_PER_INCH)
    figure.supxlabel(textwrap.fill(line, width), fontsize=7)
    figure.savefig(file.with_suffix(".png"), dpi=DOTS_PER_INCH)
    figure.set_layout_engine("none")  # laid out already: the same for both files
    with matplotlib.rc_context({"svg.fonttype": "none"}):  # words stay words: they can be found and read out
        figure.savefig(file.with_suffix(".svg"), metadata={"Date": None})
