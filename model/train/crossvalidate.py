"""python -m model.train.crossvalidate: every subject predicted by a network that never saw it.

Each fold is a training of its own in DIR/fold-K. Exit status 0 done, 1 failed, 2 wrong use.
"""

import argparse
import csv
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path

import torch

from model.bundle import load_bundle
from model.device import choose_device
from model.errors import ModelError, TrainingError
from model.evaluate.scoring import score_rows
from model.evaluate.table import write_predictions
from model.image_set import SliceRow, read_tables
from model.manifest import read_manifest
from model.train.folds import deal, kinds, split_for
from model.train.options import add_options, read_order, read_settings
from model.train.pooled import Fold, pooled_figures, read_fold
from model.train.ranks import Ranks
from model.train.run import Order, fingerprint, train_rows
from model.train.settings import TrainingSettings
from model.whole_file import write_atomically

PLAN = "crossvalidation.json"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A cross-validation: the order whose folder holds all folds, its settings and number of folds."""

    order: Order
    settings: TrainingSettings
    folds: int


def run_crossvalidation(plan: Plan) -> dict[str, object]:
    """Train and predict each fold that is not there yet, pool them, and return the summary.

    Writes predictions.csv (with a column fold) and summary.json; raises ModelError.
    """
    if torch.distributed.is_torchelastic_launched():
        raise TrainingError("cross-validation runs in one process; call it without torchrun")
    rows = read_tables(plan.order.tables)
    fold_of = deal(kinds(rows), plan.folds, plan.settings.seed)
    warnings = _parent_warnings(plan.order.init, rows)
    sys.stderr.write("".join(f"model.train.crossvalidate: {words}\n" for words in warnings))
    _claim(plan, rows)
    folds = []
    for number in range(plan.folds):
        split = split_for(number, rows, fold_of, plan.settings.seed)
        folds.append(_fold(plan, number, split))
    _write_pooled(plan.order.out, plan.folds)
    sources = sorted({row.source for row in rows})
    summary = {"folds": plan.folds, "sources": sources, "warnings": warnings, **pooled_figures(folds)}
    write_atomically(plan.order.out / "summary.json", json.dumps(summary, indent=1, allow_nan=False) + "\n")
    return summary


def _claim(plan: Plan, rows: Sequence[SliceRow]) -> None:
    """Refuse a folder whose folds are those of another cross-validation."""
    facts = [fingerprint(plan.order, plan.settings, rows), plan.folds]
    mark = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    file = plan.order.out / PLAN
    plan.order.out.mkdir(parents=True, exist_ok=True)
    if file.exists() and json.loads(file.read_text(encoding="utf-8")) != {"fingerprint": mark}:
        raise TrainingError(
            f"{plan.order.out.name}: holds folds of other settings or data; choose another --out"
        )
    write_atomically(file, json.dumps({"fingerprint": mark}))


def _parent_warnings(init: Path | None, rows: Sequence[SliceRow]) -> list[str]:
    if init is None:
        return []
    learned: set[str] = set()
    training = read_manifest(init).training
    while training:
        learned.update(training["sources"])
        training = training.get("parent_training", {})
    known = sorted(learned & {row.source for row in rows})
    return [f"--init learned from {', '.join(known)} already: the figures flatter"] if known else []


def _fold(plan: Plan, number: int, rows: Sequence[SliceRow]) -> Fold:
    folder = plan.order.out / f"fold-{number + 1}"
    table = folder / "predictions.csv"
    if not table.exists():  # it is what a fold writes last
        sys.stderr.write(f"fold {number + 1} of {plan.folds}\n")
        order = replace(plan.order, out=folder, name=f"{plan.order.name}-fold-{number + 1}")
        device = choose_device(order.device)
        train_rows(order, plan.settings, rows, ranks=Ranks(), device=device)
        _predict(folder, [row for row in rows if row.split == "test"], device, order.workers or 1)
    return read_fold(folder, rows)


def _predict(folder: Path, rows: Sequence[SliceRow], device: torch.device, workers: int) -> None:
    bundle = load_bundle(folder)
    bundle.network.to(device).eval()
    scored = score_rows(bundle, rows, workers=workers, progress=lambda done, total: None)
    if scored.unreadable:
        raise TrainingError(
            f"a picture that was prepared once can no longer be read: {scored.unreadable[0].why}"
        )
    write_predictions(folder / "predictions.csv", scored.rows, scored.predictions)


def _write_pooled(out: Path, folds: int) -> None:
    """Write all folds' predictions.csv as one, with a column that names the fold (from 1)."""
    joined = StringIO()
    writer = csv.writer(joined, lineterminator="\n")
    for number in range(1, folds + 1):
        with (out / f"fold-{number}" / "predictions.csv").open(newline="", encoding="utf-8") as one:
            header, *lines = csv.reader(one)
        if number == 1:
            writer.writerow([*header, "fold"])
        writer.writerows([*line, number] for line in lines)
    write_atomically(out / "predictions.csv", joined.getvalue())


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = argparse.ArgumentParser(
        prog="python -m model.train.crossvalidate",
        description="Train once for each fold and predict its subjects with a network that never saw them; "
        "write predictions.csv and summary.json of all subjects. The split column is not looked at. A bundle "
        "given with --init must not have learned from these subjects, or the figures flatter. A killed run "
        "goes on when it is called again. Research software. Not for diagnostic use.",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for all folds")
    parser.add_argument("--folds", type=int, default=5, help="how many (default 5)")
    add_options(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = build_parser()
    chosen = parser.parse_args(arguments)
    settings = read_settings(chosen)
    if problems := settings.problems():
        parser.error("; ".join(problems))
    order = read_order(chosen)
    try:
        summary = run_crossvalidation(Plan(order=order, settings=settings, folds=chosen.folds))
    except ModelError as error:
        sys.stderr.write(f"model.train.crossvalidate: {error}\n")
        return 1
    sys.stdout.write(json.dumps(summary) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
