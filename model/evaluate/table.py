"""predictions.csv: written, and read again beside the tables that it answers; all figures come from it."""

import csv
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.errors import ImageSetError
from model.image_set import SliceRow
from model.manifest import LOCATIONS

PLACES = tuple(f"{place}_probability" for place in LOCATIONS)
SCORES = ("hemorrhage_probability", *PLACES)
PEAK = ("peak_x", "peak_y")
COLUMNS = ("path", "subject", *SCORES, *PEAK)
SUM_WITHIN = 1e-3  # the locations of a slice sum to 1


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """`hemorrhage` (N,), `location` (N, 3), `peaks` (N, 2): x, y as shares of the stored picture, or nan."""

    hemorrhage: NDArray[np.float64]
    location: NDArray[np.float64]
    peaks: NDArray[np.float64]


def write_predictions(file: Path, rows: Sequence[SliceRow], predictions: Predictions) -> None:
    """Write predictions.csv, a line for each row, whole or not at all."""
    partial = file.with_name(file.name + ".part")
    with partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row, hemorrhage, location, peak in zip(
            rows, predictions.hemorrhage, predictions.location, predictions.peaks, strict=True
        ):
            # in full: a threshold may be the very score of a slice
            numbers = [repr(float(value)) for value in (hemorrhage, *location)]
            places = ["" if np.isnan(share) else f"{share:.6g}" for share in peak]
            writer.writerow([row.path, row.subject, *numbers, *places])
    partial.replace(file)


def read_predictions(file: Path, rows: Sequence[SliceRow]) -> tuple[list[SliceRow], Predictions]:
    """Return the rows that have a prediction, in the file's order, with it; raises ImageSetError.

    Lines meet rows by path and subject. A line without a row is refused: it answers another table.
    """
    waiting: dict[tuple[str, str], deque[SliceRow]] = defaultdict(deque)
    for row in rows:
        waiting[row.path, row.subject].append(row)
    answered, numbers = [], []
    for where, fields in _lines(file):
        same = waiting.get((fields["path"], fields["subject"]))
        if not same:
            raise ImageSetError(f"{where}: no slice of the tables has this path and subject")
        answered.append(same.popleft())
        numbers.append(_numbers(where, fields))
    if not answered:
        raise ImageSetError(f"{file.name}: holds no predictions")
    table = np.array(numbers)
    return answered, Predictions(
        hemorrhage=table[:, 0],
        location=table[:, 1:4] / table[:, 1:4].sum(1, keepdims=True),
        peaks=table[:, 4:],
    )


def _lines(file: Path) -> list[tuple[str, dict[str, str]]]:
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            if missing := [c for c in ("path", "subject", *SCORES) if c not in (reader.fieldnames or ())]:
                raise ImageSetError(f"{file.name}: columns are missing: {', '.join(missing)}")
            return [(f"{file.name}: line {n}", fields) for n, fields in enumerate(reader, start=2)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ImageSetError(f"{file.name}: cannot be read: {error}") from error


def _numbers(where: str, fields: dict[str, str]) -> list[float]:
    try:
        scores = [float(fields[name]) for name in SCORES]
        peak = [float(fields.get(name) or "nan") for name in PEAK]
    except (TypeError, ValueError) as error:
        raise ImageSetError(f"{where}: expected numbers: {error}") from error
    if not all(0 <= score <= 1 for score in scores) or abs(sum(scores[1:]) - 1) > SUM_WITHIN:
        raise ImageSetError(f"{where}: expected scores within 0 and 1, and locations that sum to 1")
    return scores + peak
