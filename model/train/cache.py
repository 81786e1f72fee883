"""All pictures of a run, prepared once and held in memory as bytes; on disk too where a folder is named."""

import hashlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.errors import ImageSetError
from model.image_set import Box, SliceRow, read_picture
from model.prepare import prepare
from model.prepare_many import prepare_many
from model.window import PREPARATION_VERSION

Pictures = NDArray[np.uint8]
Frames = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class PreparedSlices:
    """`pictures` (N, S, S), 0..255; `frames` (N, 4): left, top, width, height of the square they show.

    Frames are in shares of the stored picture, so that boxes can follow; width 0 where no head was found.
    """

    pictures: Pictures
    frames: Frames


def prepare_all(
    rows: Sequence[SliceRow], size: int, *, workers: int, folder: Path | None = None
) -> PreparedSlices:
    """Return all slices in the order of the rows; shows progress on stderr.

    With a `folder` the prepared slices of each source are kept there and found again by the next run.
    """
    pictures = np.zeros((len(rows), size, size), dtype=np.uint8)
    frames = np.zeros((len(rows), 4), dtype=np.float32)
    for source in dict.fromkeys(row.source for row in rows):
        members = [i for i, row in enumerate(rows) if row.source == source]
        own = [rows[i] for i in members]
        file = None if folder is None else folder / f"{source}-{size}-{_fingerprint(own, size)}.npz"
        found = _load(file) or _prepare(own, size, workers)
        if file is not None and not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            partial_file = file.with_suffix(".part.npz")
            np.savez(partial_file, pictures=found.pictures, frames=found.frames)
            partial_file.replace(file)
        pictures[members], frames[members] = found.pictures, found.frames
    return PreparedSlices(pictures=pictures, frames=frames)


def prepared_boxes(boxes: Sequence[Box], frame: NDArray[np.float32]) -> list[Box]:
    """Move boxes from shares of the stored picture into shares of the prepared one."""
    left, top, width, height = (float(v) for v in frame)
    if width == 0:
        return []
    return [
        ((x0 - left) / width, (y0 - top) / height, (x1 - left) / width, (y1 - top) / height)
        for x0, y0, x1, y1 in boxes
    ]


def _fingerprint(rows: Sequence[SliceRow], size: int) -> str:
    """Hash what decides the prepared pictures: the code, and the files by their size and time."""
    stats = [(row.path, *_size_and_time(row.file)) for row in rows]
    return hashlib.sha256(json.dumps([PREPARATION_VERSION, size, stats]).encode()).hexdigest()[:16]


def _size_and_time(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except OSError as error:
        raise ImageSetError(f"{file.name}: cannot be read: {error.strerror}") from error
    return found.st_size, found.st_mtime_ns


def _load(file: Path | None) -> PreparedSlices | None:
    if file is None or not file.exists():
        return None
    with np.load(file, allow_pickle=False) as held:
        return PreparedSlices(pictures=held["pictures"], frames=held["frames"])


def _prepare(rows: Sequence[SliceRow], size: int, workers: int) -> PreparedSlices:
    pictures = np.zeros((len(rows), size, size), dtype=np.uint8)
    frames = np.zeros((len(rows), 4), dtype=np.float32)
    started = time.monotonic()
    for i, (picture, frame) in enumerate(
        prepare_many(partial(_prepare_one, size=size), rows, workers=workers)
    ):
        pictures[i], frames[i] = picture, frame
        _show(i + 1, len(rows), started)
    return PreparedSlices(pictures=pictures, frames=frames)


def _prepare_one(row: SliceRow, *, size: int) -> tuple[Pictures, tuple[float, float, float, float]]:
    stored = read_picture(row.file)
    prepared = prepare(stored, size)
    rows, columns = stored.shape
    frame = prepared.frame
    shares = (frame.left / columns, frame.top / rows, frame.side / columns, frame.side / rows)
    return np.rint(prepared.picture * 255).astype(np.uint8), shares


def _show(done: int, total: int, started: float) -> None:
    if done % 200 == 0 or done == total:
        left = (time.monotonic() - started) / done * (total - done)
        sys.stderr.write(f"prepared {done} of {total} slices, {left:.0f} s left\n")
        sys.stderr.flush()
