"""One evaluation: a bundle and tables in, predictions.csv and summary.json out."""

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.bundle import Bundle, load_bundle
from model.device import choose_device
from model.errors import ImageSetError, ModelFailure
from model.evaluate.summary import summarize
from model.image_set import SliceRow, read_picture, read_tables
from model.manifest import LOCATIONS
from model.prepare import prepare
from model.score import SliceScores, score_pictures

COLUMNS = ("path", "subject", "hemorrhage_probability", *(f"{place}_probability" for place in LOCATIONS))
SCHEMA = 1
CHUNK = 128
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Order:
    """What the command line asks for."""

    bundle: Path
    tables: tuple[Path, ...]
    split: str | None
    out: Path
    device: str | None


def run_evaluation(order: Order, progress: Progress) -> dict[str, Any]:
    """Evaluate, write both files and return the summary; raises ModelError saying what is wrong."""
    bundle = load_bundle(order.bundle)
    rows = [r for r in read_tables(order.tables) if order.split in (None, r.split)]
    if not rows:
        raise ImageSetError(f"no slices in split {order.split!r}")
    bundle.network.to(choose_device(order.device))
    scores = score_rows(bundle, rows, progress)
    manifest = bundle.manifest
    figures = summarize(
        rows,
        scores,
        slice_thresholds=manifest.slice_thresholds,
        study_thresholds=manifest.study_thresholds,
        aggregation=manifest.aggregation,
    )
    summary = {"schema": SCHEMA, **figures, "bundle_sha256": bundle.sha256}
    order.out.mkdir(parents=True, exist_ok=True)
    write_predictions(order.out / "predictions.csv", rows, scores)
    text = json.dumps(summary, indent=1, allow_nan=False) + "\n"
    (order.out / "summary.json").write_text(text, encoding="utf-8")
    return summary


def score_rows(bundle: Bundle, rows: Sequence[SliceRow], progress: Progress) -> SliceScores:
    """Prepare and score the rows in chunks: memory does not grow with the set. Raises ModelFailure."""
    parts = []
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        pictures = _pictures(chunk, bundle.manifest.input.size)
        parts.append(
            score_pictures(bundle.network, pictures, bundle.manifest.input, bundle.manifest.temperature)
        )
        progress(start + len(chunk), len(rows))
    scores = SliceScores(
        hemorrhage=np.concatenate([p.hemorrhage for p in parts]),
        location=np.concatenate([p.location for p in parts]),
        logit=np.concatenate([p.logit for p in parts]),
    )
    if not (np.isfinite(scores.hemorrhage).all() and np.isfinite(scores.location).all()):
        raise ModelFailure("the network gave a score that is no number")
    return scores


def _pictures(rows: Sequence[SliceRow], size: int) -> NDArray[np.float32]:
    return np.stack([prepare(read_picture(row.file), size).picture for row in rows])


def write_predictions(file: Path, rows: Sequence[SliceRow], scores: SliceScores) -> None:
    """Write predictions.csv: the last three columns sum to 1, given a hemorrhage."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row, hemorrhage, location in zip(rows, scores.hemorrhage, scores.location, strict=True):
            writer.writerow([row.path, row.subject, f"{hemorrhage:.8g}", *(f"{p:.8g}" for p in location)])
