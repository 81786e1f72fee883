"""index.html and the figures that it shows: the evaluation as a person reads it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from matplotlib.figure import Figure

from model.evaluate.errors_sheet import Heat, Mistake, draw_errors, worst
from model.evaluate.figures import KINDS, NAMES, draw_calibration, draw_confusion, draw_curves, draw_roc, save
from model.evaluate.lines import lines
from model.evaluate.measures import Cases
from model.evaluate.table import Predictions
from model.image_set import SliceRow

TEMPLATE = Path(__file__).with_name("page.html")
CAPTIONS = {
    "roc": "ROC curves",
    "calibration": "Calibration: how often cases of a score bleed",
    "confusion": "Location of known bleeds, subjects counted",
    "curves": "The training",
    "worst_errors": "The worst errors: missed bleeds, then false alarms. Contour: likelier blood than not; "
    "cross: hottest point",
}
PASSED = {True: "passed", False: "look here first", None: "not done"}


@dataclass(frozen=True, kw_only=True)
class Material:
    """What the page is made from; `heat` is None where the network did not run, `curves` may be."""

    summary: Mapping[str, Any]
    rows: Sequence[SliceRow]
    predictions: Predictions
    levels: Mapping[str, Cases]
    heat: Heat | None
    curves: Path | None


def clear_page(folder: Path) -> None:
    """Remove what an earlier evaluation said and drew: it is not about these predictions."""
    for name in ["summary.json", "index.html", *(f"{name}.{kind}" for name in NAMES for kind in KINDS)]:
        (folder / name).unlink(missing_ok=True)


def write_page(folder: Path, material: Material) -> None:
    """Draw what can be drawn and write index.html beside it."""
    low = material.summary["thresholds"]["slice"]["low"]
    mistakes = worst(material.rows, material.predictions, low)
    drawn = _drawn(material, mistakes)
    for name, figure in drawn.items():
        save(figure, folder, name)
    page = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        _facts(material.summary),
        lines="\n".join(
            f"<tr><td>{escape(line.group)}<td>{escape(line.name)}<td class=value>{escape(line.value)}"
            for line in lines(material.summary)
        ),
        figures="\n".join(_figure(name) for name in drawn),
        mistakes=_list(f"{n}: {m.words}, {m.row.path}" for n, m in enumerate(mistakes, start=1)),
    )
    (folder / "index.html").write_text(page, encoding="utf-8")


def _drawn(material: Material, mistakes: Sequence[Mistake]) -> dict[str, Figure]:
    summary = material.summary
    figures = {
        "roc": draw_roc(material.levels, summary),
        "calibration": draw_calibration(summary),
        "confusion": draw_confusion(summary),
        "curves": draw_curves(material.curves) if material.curves else None,
        "worst_errors": draw_errors(mistakes, material.predictions, material.heat),
    }
    return {name: figure for name, figure in figures.items() if figure is not None}


def _facts(summary: Mapping[str, Any]) -> dict[str, str]:
    checks = summary["audit"]
    return {
        "bundle": escape(summary["bundle"]),
        "slices": str(summary["slices"]),
        "subjects": str(summary["subjects"]),
        "sources": escape(", ".join(summary["sources"])),
        "split": escape(summary["split"] or "all"),
        "sha256": escape(summary["bundle_sha256"]),
        "left_out": escape(_left_out(summary)),
        "passed": PASSED[checks["passed"] if checks else None],
        "verdict": "\n".join(f"<li>{escape(words)}" for words in (checks["verdict"] if checks else ())),
    }


def _left_out(summary: Mapping[str, Any]) -> str:
    counts = summary["left_out"]
    words = [
        f"Slices without a prediction: {counts['without_prediction']} (unreadable.csv says why)."
        if counts["without_prediction"]
        else "",
        f"Rows left out, as the table calls them contradicted: {counts['contradicted']}."
        if counts["contradicted"]
        else "",
        *summary["warnings"],
    ]
    return " ".join(word for word in words if word)


def _figure(name: str) -> str:
    caption = escape(CAPTIONS[name])
    return (
        f'<figure><a href="{name}.svg"><img src="{name}.png" alt="{caption}"></a>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _list(words: Iterable[str]) -> str:
    return "<ul>" + "\n".join(f"<li>{escape(word)}" for word in words) + "</ul>"
