"""All pictures of a run, prepared once and held in memory as bytes."""

import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from model.image_set import SliceRow, read_picture
from model.prepare import prepare

Pictures = NDArray[np.uint8]
CHUNK = 16


def prepare_all(rows: Sequence[SliceRow], size: int, *, workers: int) -> Pictures:
    """Return all pictures (N, size, size), 0..255, in the order of the rows; shows progress on stderr."""
    pictures = np.zeros((len(rows), size, size), dtype=np.uint8)
    work = partial(_prepare_bytes, size=size)
    started = time.monotonic()
    if workers <= 1:
        for i, row in enumerate(rows):
            pictures[i] = work(row)
            _show(i + 1, len(rows), started)
        return pictures
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for i, picture in enumerate(pool.map(work, rows, chunksize=CHUNK)):
            pictures[i] = picture
            _show(i + 1, len(rows), started)
    return pictures


def _prepare_bytes(row: SliceRow, *, size: int) -> Pictures:
    picture = prepare(read_picture(row.file), size).picture
    return np.rint(picture * 255).astype(np.uint8)


def _show(done: int, total: int, started: float) -> None:
    if done % 200 == 0 or done == total:
        left = (time.monotonic() - started) / done * (total - done)
        sys.stderr.write(f"prepared {done} of {total} slices, {left:.0f} s left\n")
        sys.stderr.flush()
