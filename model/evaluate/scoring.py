"""The slices of a table through a bundle, in chunks: memory does not grow with the pictures."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from model.bundle import Bundle
from model.errors import ImageSetError, ModelFailure
from model.evaluate.look import Seen, Unreadable, look
from model.evaluate.table import Predictions
from model.heatmap import peak
from model.image_set import SliceRow
from model.prepare import Frame
from model.prepare_many import prepare_many
from model.score import SliceScores, score_pictures

CHUNK = 128
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What was read and scored: `rows` (N) in the table's order, beside them all that is known of each.

    `evidence` (N, G, G), 0..1; `frames` and `shapes` (N, 2: height, width) say where it lies in the stored
    picture; `noise_hu` (N, 2) as in `Seen`; `unreadable`: the rows that have no prediction, and why.
    """

    rows: tuple[SliceRow, ...]
    predictions: Predictions
    evidence: NDArray[np.float32]
    frames: tuple[Frame, ...]
    shapes: NDArray[np.int64]
    noise_hu: NDArray[np.float64]
    unreadable: tuple[Unreadable, ...]


def score_rows(bundle: Bundle, rows: Sequence[SliceRow], *, workers: int, progress: Progress) -> Scored:
    """Read, prepare and score the rows; raises ImageSetError where none can be read, and ModelFailure."""
    unreadable: list[Unreadable] = []
    parts: list[Scored] = []
    looked = prepare_many(partial(look, size=bundle.manifest.input.size), rows, workers=workers)
    for done, chunk in _chunks(zip(rows, looked, strict=True)):
        kept = [(row, found) for row, found in chunk if isinstance(found, Seen)]
        unreadable += [found for _, found in chunk if isinstance(found, Unreadable)]
        if kept:
            parts.append(_score(bundle, kept))
        progress(done, len(rows))
    if not parts:
        raise ImageSetError(f"none of the {len(rows)} pictures can be read; the first: {unreadable[0].why}")
    return _joined(parts, unreadable)


def _chunks(
    pairs: Iterator[tuple[SliceRow, Seen | Unreadable]],
) -> Iterator[tuple[int, list[tuple[SliceRow, Seen | Unreadable]]]]:
    chunk: list[tuple[SliceRow, Seen | Unreadable]] = []
    done = 0
    for done, pair in enumerate(pairs, start=1):
        chunk.append(pair)
        if len(chunk) == CHUNK:
            yield done, chunk
            chunk = []
    if chunk:
        yield done, chunk


def score(bundle: Bundle, pictures: NDArray[np.float32]) -> SliceScores:
    """Score prepared pictures (N, S, S) with the bundle's temperature; raises ModelFailure."""
    scores = score_pictures(bundle.network, pictures, bundle.manifest.input, bundle.manifest.temperature)
    if not (np.isfinite(scores.hemorrhage).all() and np.isfinite(scores.location).all()):
        raise ModelFailure("the network gave a score that is no number")
    return scores


def _score(bundle: Bundle, kept: Sequence[tuple[SliceRow, Seen]]) -> Scored:
    seen = [found for _, found in kept]
    scores = score(bundle, np.stack([one.picture for one in seen]))
    peaks = [_peak(evidence, one) for evidence, one in zip(scores.evidence, seen, strict=True)]
    return Scored(
        rows=tuple(row for row, _ in kept),
        predictions=Predictions(
            hemorrhage=scores.hemorrhage, location=scores.location, peaks=np.array(peaks)
        ),
        evidence=scores.evidence,
        frames=tuple(one.frame for one in seen),
        shapes=np.array([one.shape for one in seen]),
        noise_hu=np.array([one.noise_hu for one in seen]),
        unreadable=(),
    )


def _peak(evidence: NDArray[np.float32], seen: Seen) -> tuple[float, float]:
    """Return x, y of the evidence's maximum as shares of the stored picture; nan where there is none.

    No head was found then, or the bundle is from before there was evidence: its map is the same everywhere.
    """
    if seen.frame.side == 0 or evidence.min() == evidence.max():
        return float("nan"), float("nan")
    row, column = peak(evidence, seen.frame)
    height, width = seen.shape
    return column / width, row / height


def _joined(parts: Sequence[Scored], unreadable: Sequence[Unreadable]) -> Scored:
    return Scored(
        rows=tuple(row for part in parts for row in part.rows),
        predictions=Predictions(
            hemorrhage=np.concatenate([part.predictions.hemorrhage for part in parts]),
            location=np.concatenate([part.predictions.location for part in parts]),
            peaks=np.concatenate([part.predictions.peaks for part in parts]),
        ),
        evidence=np.concatenate([part.evidence for part in parts]),
        frames=tuple(frame for part in parts for frame in part.frames),
        shapes=np.concatenate([part.shapes for part in parts]),
        noise_hu=np.concatenate([part.noise_hu for part in parts]),
        unreadable=tuple(unreadable),
    )
