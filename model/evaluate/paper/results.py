"""What is kept of a training: curves and counts as JSON, every test slice's probabilities as CSV."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model.errors import TrainingError
from model.evaluate.paper.metrics import NO_PLACE, Scores
from model.evaluate.paper.recipe import Case
from model.evaluate.paper.training import IGNORED, Point
from model.image_set import SliceRow
from model.manifest import LOCATIONS
from model.statistics import Labels
from model.whole_file import write_atomically

SCHEMA = 1
OUTPUTS = (*LOCATIONS, "none")
LABELS = ("source", "path", "subject", "hemorrhage", "location", "hemorrhage_probability")


@dataclass(frozen=True, kw_only=True)
class Result:
    """A finished training; `subjects` (N,) numbers the subject of each test slice."""

    curves: list[Point]
    facts: dict[str, Any]
    scores: Scores
    subjects: Labels


def folder_of(out: Path, case: Case) -> Path:
    """Return where a case's files lie."""
    return out / "runs" / case.name


def location_class(hemorrhage: int | None, location: str | None, outputs: int) -> int:
    """Return the class number that the location head learns, IGNORED where there is none.

    With three outputs only bleeding slices reach the head (the paper is silent); with four a normal slice
    is `none`, as in the authors' code.
    """
    if hemorrhage and location:
        return LOCATIONS.index(location)
    return NO_PLACE if outputs > NO_PLACE and hemorrhage == 0 else IGNORED


def write_result(
    out: Path, case: Case, rows: Sequence[SliceRow], scores: Scores, facts: dict[str, Any]
) -> None:
    """Write both files; the JSON last and whole, for it is what says that the training is finished."""
    folder = folder_of(out, case)
    folder.mkdir(parents=True, exist_ok=True)
    outputs = scores.location_probability.shape[1]
    with (folder / "predictions.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([*LABELS, *(f"{place}_probability" for place in OUTPUTS[:outputs])])
        for row, present, places in zip(
            rows, scores.hemorrhage_probability, scores.location_probability, strict=True
        ):
            labels = [row.source, row.path, row.subject, row.hemorrhage, row.location or ""]
            writer.writerow([*labels, f"{present:.8g}", *(f"{p:.8g}" for p in places)])
    write_atomically(folder / "result.json", json.dumps({"schema": SCHEMA, **facts}, indent=1) + "\n")


def read_result(out: Path, case: Case, fingerprint: str) -> Result | None:
    """Read a finished training; None where there is none, TrainingError if it belongs to another plan."""
    file = folder_of(out, case) / "result.json"
    if not file.exists():
        return None
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
        belongs = facts["fingerprint"] == fingerprint
        curves = facts.pop("curves")
        scores, subjects = read_predictions(file.with_name("predictions.csv"))
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise TrainingError(f"{file}: cannot be read; remove its folder: {error}") from error
    if not belongs:
        raise TrainingError(
            f"{file}: belongs to a plan with other settings or data; choose another --out, or remove it"
        )
    return Result(curves=curves, facts=facts, scores=scores, subjects=subjects)


def read_predictions(file: Path) -> tuple[Scores, Labels]:
    """Read what any table can be computed from: the scores, and a number for each slice's subject."""
    with file.open(newline="", encoding="utf-8") as stream:
        lines = list(csv.DictReader(stream))
    places = [f"{p}_probability" for p in OUTPUTS if f"{p}_probability" in lines[0]]
    hemorrhage = [int(line["hemorrhage"]) for line in lines]
    location = [
        location_class(present, line["location"] or None, len(places))
        for present, line in zip(hemorrhage, lines, strict=True)
    ]
    people = {p: n for n, p in enumerate(dict.fromkeys((li["source"], li["subject"]) for li in lines))}
    scores = Scores(
        hemorrhage=np.array(hemorrhage),
        location=np.array(location),
        hemorrhage_probability=np.array([float(line["hemorrhage_probability"]) for line in lines]),
        location_probability=np.array([[float(line[p]) for p in places] for line in lines]),
    )
    return scores, np.array([people[line["source"], line["subject"]] for line in lines])
