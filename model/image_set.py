"""Image sets: slices.csv with its pictures, read into window units whatever their size or depth."""

import csv
import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from model.errors import ImageSetError
from model.manifest import LOCATIONS
from model.window import to_window

COLUMNS = ("path", "subject", "hemorrhage", "location", "other_finding", "split")
SPLITS = ("train", "val", "test")
BOXES_FILE = "boxes.csv"
BOX_COLUMNS = ("x_min", "y_min", "x_max", "y_max")
HU_OFFSET = 1024.0
FLAGS: Mapping[str, int | None] = {"": None, "0": 0, "1": 1, "0.0": 0, "1.0": 1}
"""What a cell of 0, 1 or nothing may say; a spreadsheet writes 1.0 where some cells are empty."""
PLACES: Mapping[str, str | None] = {"": None, **{place: place for place in LOCATIONS}}
PARTS: Mapping[str, str] = {"": "", **{split: split for split in SPLITS}}

Meaning = TypeVar("Meaning")
Doubts = Counter[str]
"""How often a table said what nobody understands."""
Box = tuple[float, float, float, float]
"""x_min, y_min, x_max, y_max round a bleed, as shares (0..1) of the stored picture's width and height."""
FrameBox = tuple[float, float, float, float, float]
"""The same in pixels of the frame, and the frame's side; not a number where the file does not say it."""
Boxes = Mapping[str, Sequence[FrameBox]]


@dataclass(frozen=True, kw_only=True)
class SliceRow:
    """One line of slices.csv; `hemorrhage` and `location` are None where the table is silent.

    `boxes` are those of the boxes.csv beside the table; None where there is no such file.
    """

    file: Path
    path: str
    source: str
    subject: str
    hemorrhage: int | None
    location: str | None
    split: str
    contradicted: bool
    boxes: tuple[Box, ...] | None = None

    @property
    def person(self) -> tuple[str, str]:
        """Return who this is: subjects of two sources are two people even where their names agree."""
        return self.source, self.subject


def read_slices(table: Path, doubts: Doubts | None = None) -> list[SliceRow]:
    """Read a slices.csv in its order; the source is its folder's name. Raises ImageSetError.

    With `doubts` a cell that nobody understands, and boxes that cannot be placed, are counted there and taken
    as not known: who measures wants the figures of the rest. Who learns must not learn from a guess.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            if missing := [c for c in COLUMNS if c not in (reader.fieldnames or ())]:
                raise ImageSetError(f"{table.name}: columns are missing: {', '.join(missing)}")
            boxes = _boxes_beside(table, doubts)
            rows = [
                _row(table, f"{table.name}: line {line}", fields, boxes, doubts)
                for line, fields in enumerate(reader, start=2)
                if any(fields.values())  # spreadsheets leave lines of nothing but commas
            ]
    except OSError as error:
        raise ImageSetError(f"{table}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ImageSetError(f"{table.name}: expected comma-separated UTF-8 text: {error}") from error
    if not rows:
        raise ImageSetError(f"{table.name}: holds no slices")
    return rows


def _row(
    table: Path, where: str, fields: dict[str, str], boxes: Boxes | None, doubts: Doubts | None
) -> SliceRow:
    if not fields["path"] or not fields["subject"]:
        raise ImageSetError(f"{where}: path and subject must not be empty")
    source = table.resolve().parent.name
    split = _meaning("split", fields, PARTS, where, doubts)
    return SliceRow(
        file=table.parent / fields["path"],
        path=fields["path"],
        source=source,
        subject=fields["subject"],
        hemorrhage=_meaning("hemorrhage", fields, FLAGS, where, doubts),
        location=_meaning("location", fields, PLACES, where, doubts),
        # a split of another name is none of ours, and no reason to draw lots
        split=str(fields["split"]) if split is None else split or split_of(source, fields["subject"]),
        contradicted=FLAGS.get((fields.get("contradicted") or "").strip()) == 1,
        boxes=_boxes_of(fields, boxes, where, doubts),
    )


def _meaning(
    column: str,
    fields: Mapping[str, str | None],
    meanings: Mapping[str, Meaning],
    where: str,
    doubts: Doubts | None,
) -> Meaning | None:
    """Return what a cell means, however it is capitalized; None where that is not known."""
    cell = fields[column]  # None where the line is too short
    word = None if cell is None else cell.strip().casefold()
    if word is None or word not in meanings:
        expected = ", ".join(list(meanings)[1:])
        _doubt(f"{column}: expected one of {expected} or nothing, got {cell!r}", where, doubts)
        return None
    return meanings[word]


def _doubt(problem: str, where: str, doubts: Doubts | None) -> None:
    """Count a problem, or raise ImageSetError where nobody counts."""
    if doubts is None:
        raise ImageSetError(f"{where}: {problem}")
    doubts[problem] += 1


def _boxes_beside(table: Path, doubts: Doubts | None) -> Boxes | None:
    try:
        return read_boxes(table.with_name(BOXES_FILE))
    except ImageSetError as error:
        _doubt(str(error), table.name, doubts)
        return None


def _boxes_of(
    fields: dict[str, str], boxes: Boxes | None, where: str, doubts: Doubts | None
) -> tuple[Box, ...] | None:
    if boxes is None:
        return None
    try:
        return _stored_boxes(boxes.get(fields["path"], ()), fields)
    except ImageSetError as error:
        _doubt(str(error), where, doubts)
        return None


def read_boxes(file: Path) -> Boxes | None:
    """Read a boxes.csv as {path: boxes in pixels of the frame}; None where there is no such file.

    Columns: path, x_min, y_min, x_max, y_max (the pixels at the edge, inside the box), and frame_size (the
    frame's side) unless slices.csv says it. Raises ImageSetError.
    """
    if not file.exists():
        return None
    found: dict[str, list[FrameBox]] = {}
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            for fields in csv.DictReader(stream):
                left, top, right, bottom = (float(fields[name]) for name in BOX_COLUMNS)
                side = float(fields.get("frame_size") or "nan")
                found.setdefault(fields["path"], []).append((left, top, right + 1, bottom + 1, side))
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise ImageSetError(
            f"{file.name}: expected path and the numbers {', '.join(BOX_COLUMNS)}: {error!r}"
        ) from error
    return {path: tuple(boxes) for path, boxes in found.items()}


def _stored_boxes(boxes: Sequence[FrameBox], fields: dict[str, str]) -> tuple[Box, ...]:
    """Turn pixels of the frame into shares of the stored picture.

    Columns crop_left, crop_top, crop_size: the square of the frame that is stored; without them, all of it.
    """
    try:
        left, top = (float(fields.get(name) or 0) for name in ("crop_left", "crop_top"))
        named = float(fields.get("crop_size") or fields.get("frame_size") or "nan")
        sides = [named if math.isfinite(named) else own for *_, own in boxes]
    except ValueError as error:
        raise ImageSetError(f"crop and frame_size: expected numbers: {error}") from error
    if not all(side > 0 for side in sides):
        raise ImageSetError("boxes need frame_size, the side of the frame that they lie in")
    return tuple(
        ((x0 - left) / side, (y0 - top) / side, (x1 - left) / side, (y1 - top) / side)
        for (x0, y0, x1, y1, _), side in zip(boxes, sides, strict=True)
    )


def split_of(source: str, subject: str) -> str:
    """Assign a subject whose table names no split by a hash: 80 % train, 10 % val, 10 % test."""
    part = int.from_bytes(hashlib.sha256(f"{source}/{subject}".encode()).digest()[:8]) % 10
    return {8: "val", 9: "test"}.get(part, "train")


def check_subjects_apart(rows: Iterable[SliceRow]) -> None:
    """Raise ImageSetError if a subject stands in two splits: then no figure could be believed."""
    seen: dict[tuple[str, str], str] = {}
    for row in rows:
        if seen.setdefault(row.person, row.split) != row.split:
            raise ImageSetError(f"{row.source}: subject {row.subject} stands in two splits")


def read_tables(tables: Sequence[Path]) -> list[SliceRow]:
    """Read several tables, contradicted rows left out, and prove that no subject stands in two splits."""
    rows = [row for row in read_all(tables) if not row.contradicted]
    check_subjects_apart(rows)
    return rows


def read_all(tables: Sequence[Path], doubts: Doubts | None = None) -> list[SliceRow]:
    """Read the rows of several tables as `read_slices`; folders of one name are two sources all the same."""
    folders: dict[str, Path] = {}
    found: list[SliceRow] = []
    for table in tables:
        rows = read_slices(table, doubts)
        source, number = rows[0].source, 1
        while folders.setdefault(source, table.resolve().parent) != table.resolve().parent:
            number += 1
            source = f"{rows[0].source} ({number})"
        found += [replace(row, source=source) for row in rows]
    return found


def read_picture(file: Path) -> NDArray[np.float32]:
    """Read a picture as window units (H, W): 8-bit gray is the window itself, 16-bit PNG is HU + 1024."""
    try:
        with Image.open(file) as image:
            if image.mode.startswith("I"):
                return to_window(np.asarray(image, dtype=np.float32) - np.float32(HU_OFFSET))
            return np.asarray(image.convert("L"), dtype=np.float32) * np.float32(1 / 255)
    except (OSError, UnidentifiedImageError) as error:
        raise ImageSetError(f"{file.name}: no picture that can be read: {error}") from error
