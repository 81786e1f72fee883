"""One evaluation: a bundle and tables in; predictions.csv, summary.json, audit and figures out."""

import csv
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.bundle import Bundle, load_bundle
from model.device import choose_device
from model.errors import ImageSetError
from model.evaluate.audit import audit
from model.evaluate.errors_sheet import Heat
from model.evaluate.look import Unreadable
from model.evaluate.measures import Figures
from model.evaluate.page import Material, clear_page, write_page
from model.evaluate.peaks import heat_map_figures
from model.evaluate.scoring import Progress, Scored, score_rows
from model.evaluate.shortcuts import crops_of
from model.evaluate.studies import subjects
from model.evaluate.summary import STATED_PREVALENCE, slice_cases, subject_cases, summarize
from model.evaluate.table import Predictions, read_predictions, write_predictions
from model.image_set import SliceRow, check_subjects_apart, read_all
from model.manifest import Manifest, bundle_sha256, read_manifest

SCHEMA = 1
MOST_WORKERS = 8
NAMED = 5  # pictures that are named on stderr; unreadable.csv names all


@dataclass(frozen=True, kw_only=True)
class Order:
    """What the command line asks for. `predictions`: a predictions.csv that is there already."""

    bundle: Path
    tables: tuple[Path, ...]
    split: str | None
    out: Path
    device: str | None = None
    predictions: Path | None = None
    prevalence: float = STATED_PREVALENCE
    workers: int = 1
    audit: bool = True
    figures: bool = True
    curves: Path | None = None


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """The rows to judge, and what of the tables is not judged."""

    rows: tuple[SliceRow, ...]
    contradicted: int
    warnings: tuple[str, ...]


def spare_workers() -> int:
    """Return how many processes may prepare slices: the processors that are ours, eight at most."""
    return min(len(os.sched_getaffinity(0)), MOST_WORKERS)


def run_evaluation(order: Order, progress: Progress) -> dict[str, Any]:
    """Evaluate, write the files and return the summary; raises ModelError saying what is wrong."""
    manifest = read_manifest(order.bundle)
    asked = _read_tables(order)
    order.out.mkdir(parents=True, exist_ok=True)
    clear_page(order.out)
    scored, checks = None, None
    table = order.out / "predictions.csv"
    if order.predictions is None:
        bundle = load_bundle(order.bundle)
        bundle.network.to(choose_device(order.device)).eval()
        scored = score_rows(bundle, asked.rows, workers=order.workers, progress=progress)
        write_predictions(table, scored.rows, scored.predictions)
        _write_unreadable(order.out / "unreadable.csv", scored.unreadable)
        checks = _audit(order, bundle, scored) if order.audit else None
    # all figures come from the file, so that whoever has the file has the figures
    rows, predictions = read_predictions(order.predictions or table, scored.rows if scored else asked.rows)
    if order.predictions is not None and order.predictions.resolve() != table.resolve():
        write_predictions(table, rows, predictions)
    summary = {
        "schema": SCHEMA,
        "bundle": manifest.name,
        "bundle_sha256": bundle_sha256(order.bundle),
        "sources": sorted({row.source for row in asked.rows}),
        "split": order.split,
        **summarize(
            rows,
            predictions,
            slice_thresholds=manifest.slice_thresholds,
            study_thresholds=manifest.study_thresholds,
            aggregation=manifest.aggregation,
            prevalence=order.prevalence,
        ),
        "heat_map": heat_map_figures(rows, predictions.peaks),
        "left_out": {"contradicted": asked.contradicted, "without_prediction": len(asked.rows) - len(rows)},
        "warnings": list(asked.warnings),
        "audit": checks,
    }
    text = json.dumps(summary, indent=1, allow_nan=False) + "\n"
    (order.out / "summary.json").write_text(text, encoding="utf-8")
    if order.figures:
        write_page(order.out, _material(order, manifest, summary, scored, (rows, predictions)))
    return summary


def _read_tables(order: Order) -> _Asked:
    """Read the tables. A subject in two splits is refused where a split was asked for, else said."""
    doubts: Counter[str] = Counter()
    rows = read_all(order.tables, doubts)
    clear = [row for row in rows if not row.contradicted]
    warnings = [f"{problem}: taken as not known ({count} x)" for problem, count in doubts.items()]
    try:
        check_subjects_apart(clear)
    except ImageSetError as error:
        if order.split is not None:
            raise
        warnings.append(f"{error}: the figures of all slices do not suffer, those of a split would")
    chosen = tuple(row for row in clear if order.split in (None, row.split))
    if not chosen:
        raise ImageSetError(f"no slices in split {order.split!r}")
    sys.stderr.write("".join(f"{words}\n" for words in warnings))
    return _Asked(rows=chosen, contradicted=len(rows) - len(clear), warnings=tuple(warnings))


def _audit(order: Order, bundle: Bundle, scored: Scored) -> Figures:
    sys.stderr.write("looking for shortcuts\n")
    checks = audit(bundle, scored, crops_of(order.tables), workers=order.workers)
    sys.stderr.write("".join(f"shortcut audit: {words}\n" for words in checks["verdict"]))
    return checks


def _write_unreadable(file: Path, unreadable: Sequence[Unreadable]) -> None:
    """Name every picture that has no prediction, here and (the first few) on stderr; none, and no file."""
    file.unlink(missing_ok=True)
    if not unreadable:
        return
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("path", "subject", "why"))
        writer.writerows((one.row.path, one.row.subject, one.why) for one in unreadable)
    named = "; ".join(one.why for one in unreadable[:NAMED])
    sys.stderr.write(
        f"unreadable pictures, that have no prediction: {len(unreadable)} ({file.name} names all): {named}\n"
    )


def _material(
    order: Order,
    manifest: Manifest,
    summary: Figures,
    scored: Scored | None,
    table: tuple[Sequence[SliceRow], Predictions],
) -> Material:
    rows, predictions = table
    studies = [study for study in subjects(rows) if study.label is not None]
    return Material(
        summary=summary,
        rows=rows,
        predictions=predictions,
        levels={
            "slice": slice_cases(rows, predictions),
            "subject": subject_cases(studies, predictions, manifest.aggregation),
        },
        heat=None if scored is None else Heat(evidence=scored.evidence, frames=scored.frames),
        curves=_curves(order),
    )


def _curves(order: Order) -> Path | None:
    """Return the curves of the training: as told, else beside the bundle's weights."""
    beside = order.bundle / "curves.csv"
    return order.curves or (beside if beside.exists() else None)
