"""Brace removal (paper section 2.2.1): a slice in window units in, a mask of the head out."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label
from skimage.morphology import disk, isotropic_dilation

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
    head = _largest_solid(_erode(foreground, EROSION_RADIUS), SMALLEST_HEAD * side**2)
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
    blocks: Picture = padded.reshape(rows // factor, factor, columns // factor, factor).mean(axis=(1, 3))
    return blocks


def _enlarge(mask: Mask, factor: int, shape: tuple[int, ...]) -> Mask:
    return mask.repeat(factor, axis=0).repeat(factor, axis=1)[: shape[0], : shape[1]]


def _erode(mask: Mask, radius: int) -> Mask:
    eroded: Mask = ndimage.binary_erosion(mask, disk(radius))
    return eroded


def _fill(mask: Mask) -> Mask:
    """Fill what the outside cannot reach: the flood fill of the paper, from the border."""
    outside = label(np.pad(~mask, 1, constant_values=True), connectivity=1)
    filled: Mask = (outside != outside[0, 0])[1:-1, 1:-1]
    return filled


def _inner_radius(mask: Mask) -> float:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        return 0.0
    box = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return float(ndimage.distance_transform_edt(np.pad(box, 1)).max())


def _areas(components: NDArray[np.int_]) -> NDArray[np.int_]:
    areas = np.bincount(components.ravel())
    areas[0] = 0  # the background
    return areas


def _largest_solid(eroded: Mask, smallest: float) -> Mask | None:
    """Return the component that encloses most and is no thin arc, filled; None where there is none."""
    components = label(eroded, connectivity=1)
    areas = _areas(components)
    candidates = [_fill(components == n) for n in np.argsort(-areas)[:3] if areas[n] > 0]
    for candidate in sorted(candidates, key=np.count_nonzero, reverse=True):
        area = np.count_nonzero(candidate)
        if area >= smallest and _inner_radius(candidate) >= SOLID * np.sqrt(area):
            return candidate
    return None


def _cut_arms(head: Mask, scale: float) -> Mask:
    """Cut off thin long pieces that touch the head: a brace that leans on it."""
    radius = THICK * scale
    inside = ndimage.distance_transform_edt(np.pad(head, 1))[1:-1, 1:-1]
    if inside.max() <= radius:  # the small slice of a vertex
        return head
    core = _largest(inside > radius)
    opened: Mask = head & isotropic_dilation(core, radius + 2)
    arms = label(head & ~opened, connectivity=2)
    kept = opened.copy()
    for number, box in enumerate(ndimage.find_objects(arms), start=1):
        if max(s.stop - s.start for s in box) <= ARM * scale:
            kept |= arms == number
    return kept


def _largest(mask: Mask) -> Mask:
    components = label(mask, connectivity=1)
    return np.asarray(components == _areas(components).argmax())


def _restore(foreground: Mask, head: Mask) -> Mask:
    """Undo the erosion, and take in what lies between the head's own parts (face, skull base)."""
    grown = isotropic_dilation(head, EROSION_RADIUS + 1)
    return _fill(grown | (foreground & _between(grown)))


def _between(mask: Mask) -> Mask:
    """Return the pixels that have the mask on both sides in their row and in their column."""

    def spans(m: Mask, axis: int) -> Mask:
        before = np.maximum.accumulate(m, axis=axis)
        after = np.flip(np.maximum.accumulate(np.flip(m, axis), axis=axis), axis)
        return before & after

    return spans(mask, 0) & spans(mask, 1)


def _thick_pieces(removed: Mask, radius: float) -> Mask:
    """Return the pieces of what would be removed that are thicker than any brace."""
    components = label(_erode(removed, EROSION_RADIUS), connectivity=1)
    areas = _areas(components)
    suspects = np.flatnonzero(areas > radius**2)
    thick = [n for n in suspects if _inner_radius(components == n) + EROSION_RADIUS > radius]
    return np.isin(components, thick)
