"""Brace removal (paper section 2.2.1): a slice in window units in, a mask of the head out."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from model.disks import grow, shrink

Picture = NDArray[np.float32]
Mask = NDArray[np.bool_]

WORKING_PIXELS = 256
FOREGROUND = 3 / 255  # the authors' binarization: above 3 of 255, about 1 HU
EROSION_RADIUS = 2  # of 256 pixels; the authors' 3 of 512, a little more against thicker braces
MARGIN = EROSION_RADIUS + 2
SMALLEST_HEAD = 0.003  # share of the picture: a vertex slice of 30 mm in a 250 mm field is 0.011
SOLID = 0.17  # largest inner radius over the root of the area: a disk has 0.56, a headrest's arc under 0.1
THICK = 0.06  # inner radius, of the head's root area: what is thicker is no brace
LEAST_SCALE = 0.3  # of the picture's side: a small slice of the vertex does not make its brace thick
RIVAL = 0.5  # of the head's area: thick pieces beyond it mean that we do not know which one is the head
ARM = 0.30  # of the head's root area: longer thin attached pieces are braces, shorter ones noses and ears


@dataclass(frozen=True, kw_only=True)
class BraceResult:
    """`mask` (H, W): the head; all False where there is none, all True where a guard tripped."""

    mask: Mask
    tripped: bool

    @property
    def holds_head(self) -> bool:
        """Return whether anything is left."""
        return bool(self.mask.any())


def remove_brace(picture: Picture) -> BraceResult:
    """Find the head in a slice in window units (H, W), 0..1, without the brace that holds it.

    A guard keeps the whole slice where pieces as thick as a body part would be removed.
    """
    factor = max(1, max(picture.shape) // WORKING_PIXELS)
    foreground = _shrink(picture, factor) > FOREGROUND
    foreground[:, [0, -1]] = False  # edge columns, as in the paper
    rows, columns = np.flatnonzero(foreground.any(axis=1)), np.flatnonzero(foreground.any(axis=0))
    small = np.zeros(foreground.shape, dtype=bool)
    if len(rows) == 0:
        return BraceResult(mask=_enlarge(small, factor, picture.shape), tripped=False)
    box = _around(rows), _around(columns)
    head = _find_head(foreground[box], max(foreground.shape))
    if head is None:
        return BraceResult(mask=np.ones(picture.shape, dtype=bool), tripped=True)
    small[box] = head
    return BraceResult(mask=_enlarge(small, factor, picture.shape), tripped=False)


def _around(places: NDArray[np.intp]) -> slice:
    return slice(max(0, int(places[0]) - MARGIN), int(places[-1]) + 1 + MARGIN)


def _find_head(foreground: Mask, side: int) -> Mask | None:
    """Return the head within a part of a square picture of `side` pixels; None where a guard trips."""
    head = _largest_solid(shrink(foreground, EROSION_RADIUS), SMALLEST_HEAD * side**2)
    if head is None:
        return np.zeros(foreground.shape, dtype=bool)
    scale = max(float(np.sqrt(head.sum())), LEAST_SCALE * side)
    mask = _restore(foreground, _cut_arms(head, scale))
    thick = _thick_pieces(foreground & ~mask, THICK * scale)
    if thick.sum() > RIVAL * head.sum():
        return None
    # thick pieces are a cheek, an orbit, a part of the skull base: cut off by the erosion, but no brace
    return _restore(foreground, mask | thick) if thick.any() else mask


def _shrink(picture: Picture, factor: int) -> Picture:
    if factor == 1:
        return picture
    rows, columns = (-(-side // factor) * factor for side in picture.shape)
    padded = np.zeros((rows, columns), dtype=np.float32)
    padded[: picture.shape[0], : picture.shape[1]] = picture
    sums = padded[:, ::factor].copy()
    for column in range(1, factor):  # ten times faster than a mean over two axes
        sums += padded[:, column::factor]
    blocks: Picture = sums.reshape(rows // factor, factor, -1).sum(axis=1)
    return blocks / np.float32(factor**2)


def _enlarge(mask: Mask, factor: int, shape: tuple[int, ...]) -> Mask:
    return mask.repeat(factor, axis=0).repeat(factor, axis=1)[: shape[0], : shape[1]]


def _fill(mask: Mask) -> Mask:
    """Fill what the outside cannot reach: the flood fill of the paper, from the border."""
    outside, _ = ndimage.label(np.pad(~mask, 1, constant_values=True))
    filled: Mask = (outside != outside[0, 0])[1:-1, 1:-1]
    return filled


def _areas(components: NDArray[np.int32]) -> NDArray[np.int_]:
    areas = np.bincount(components.ravel())
    areas[0] = 0  # the background
    return areas


def _largest_solid(eroded: Mask, smallest: float) -> Mask | None:
    """Return the component that encloses most and is no thin arc, filled; None where there is none."""
    components, _ = ndimage.label(eroded)
    areas, boxes = _areas(components), ndimage.find_objects(components)
    largest = [n for n in np.argsort(-areas)[:3] if areas[n] > 0]
    candidates = [(boxes[n - 1], _fill(components[boxes[n - 1]] == n)) for n in largest]
    for box, candidate in sorted(candidates, key=lambda found: np.count_nonzero(found[1]), reverse=True):
        area = np.count_nonzero(candidate)
        # "at least" the inner radius: farther than the next smaller number
        if area >= smallest and shrink(candidate, np.nextafter(SOLID * np.sqrt(area), 0)).any():
            whole = np.zeros(eroded.shape, dtype=bool)
            whole[box] = candidate
            return whole
    return None


def _cut_arms(head: Mask, scale: float) -> Mask:
    """Cut off thin long pieces that touch the head: a brace that leans on it."""
    radius = THICK * scale
    inside = shrink(head, radius)
    if not inside.any():  # the small slice of a vertex
        return head
    opened = head & grow(_largest(inside), radius + 2)
    arms, count = ndimage.label(head & ~opened, np.ones((3, 3)))
    short = np.zeros(count + 1, dtype=bool)
    for number, box in enumerate(ndimage.find_objects(arms), start=1):
        short[number] = max(s.stop - s.start for s in box) <= ARM * scale
    kept: Mask = opened | short[arms]
    return kept


def _largest(mask: Mask) -> Mask:
    components, count = ndimage.label(mask)
    return mask if count == 1 else np.asarray(components == _areas(components).argmax())


def _restore(foreground: Mask, head: Mask) -> Mask:
    """Undo the erosion, and take in what lies between the head's own parts (face, skull base)."""
    grown = grow(head, EROSION_RADIUS + 1)
    return _fill(grown | (foreground & _between(grown)))


def _between(mask: Mask) -> Mask:
    """Return the pixels that have the mask on both sides in their row and in their column."""
    return _between_in_rows(mask) & _between_in_rows(np.ascontiguousarray(mask.T)).T


def _between_in_rows(mask: Mask) -> Mask:
    columns = np.arange(mask.shape[1])
    first, last = mask.argmax(axis=1), columns[-1] - mask[:, ::-1].argmax(axis=1)
    span: Mask = (columns >= first[:, None]) & (columns <= last[:, None]) & mask.any(axis=1, keepdims=True)
    return span


def _thick_pieces(removed: Mask, radius: float) -> Mask:
    """Return the pieces of what would be removed that are thicker than any brace."""
    eroded, depth = shrink(removed, EROSION_RADIUS), max(0.0, radius - EROSION_RADIUS)
    if not shrink(eroded, depth).any():  # most slices, and looking at the pieces takes longer
        return np.zeros_like(removed)
    components, count = ndimage.label(eroded)
    areas, boxes = _areas(components), ndimage.find_objects(components)
    thick = np.zeros(count + 1, dtype=bool)
    for n in np.flatnonzero(areas > radius**2):
        thick[n] = shrink(components[boxes[n - 1]] == n, depth).any()
    pieces: Mask = thick[components]
    return pieces
