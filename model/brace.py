"""Brace removal (paper section 2.2.1): a slice in window units in, a mask of the head out."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull

from model.disks import grow, shrink

Picture = NDArray[np.float32]
Mask = NDArray[np.bool_]

WORKING_PIXELS = 256
FOREGROUND = 3.5 / 255  # the authors' binarization: above 3 of 255, about 1 HU; no stored value lies on it
# pixels of the working picture, which is 256 to 511 wide
GAP = 4  # between the bones of a face
THIN_FACE = 5
EROSION_RADIUS = 2  # the authors' 3 of 512, a little more against thicker braces
MARGIN = EROSION_RADIUS + 2
SMALLEST_HEAD = 0.008  # share of the picture: a vertex slice of 30 mm in a 250 mm field is 0.011
SMALLEST_CAP = 0.0005  # smaller ones, to 7 mm, are heads where they are
ROUND = 0.35  # as round as a vertex: SOLID of an ellipse twice as long as wide is 0.4
SOLID = 0.17  # largest inner radius over the root of the area: a disk has 0.56, a headrest's arc under 0.1
THICK = 0.06  # inner radius, of the head's root area: what is thicker is no brace
LEAST_SCALE = 0.3  # of the picture's side: a small slice of the vertex does not make its brace thick
LEAST_WIDTH = 0.06  # inner radius, of a thick piece's length: a thick shell of a headrest has less
RIVAL = 0.5  # of the head's area: thick pieces beyond it mean that we do not know which one is the head
ARM = 0.30  # of the head's root area: longer thin attached pieces are braces, shorter ones noses and ears
HARD = 0.85  # of the window: darker is skin
# distances from the convex hull of the body and lengths, as shares of its root area
APART = 0.05  # skin and ears begin nearer, most braces farther away, and
HARD_SHARE = 0.15  # of their pixels are hard; or
SKIN_REACH = 0.25  # they reach farther than the skin of a fat neck
SHELL = 0.80  # what is hard, so long and
THIN = 0.035  # nowhere thicker (inner radius) is a shell that hugs the head
FAR = 0.10  # what goes on beyond it and is out there
LONG = 0.30  # and thin is a brace that touches
HALO = 3  # working pixels round a brace
BRIGHT = 0.6  # of the window: what begins there is more of it
EIGHT_NEIGHBORS = np.ones((3, 3))


@dataclass(frozen=True, kw_only=True)
class BraceResult:
    """`mask` (H, W): the head with its skin, nose and ears; all False where there is none.

    `body` (H, W) is the part of it that is thick: skull, brain, face, the same whether an ear is in the slice
    or not. `tripped`: other pieces are as thick as the head; they are kept, as one of them may be the head.
    """

    mask: Mask
    body: Mask
    tripped: bool

    @property
    def holds_head(self) -> bool:
        """Return whether anything is left."""
        return bool(self.mask.any())


def remove_brace(picture: Picture) -> BraceResult:
    """Find the head in a slice in window units (H, W), 0..1, without the brace that holds it."""
    factor = max(1, max(picture.shape) // WORKING_PIXELS)
    working = _shrink(picture, factor).copy()
    working[:, [0, -1]] = 0  # edge columns, as in the paper
    foreground = working > FOREGROUND
    mask, body = np.zeros_like(foreground), np.zeros_like(foreground)
    rows, columns = np.flatnonzero(foreground.any(axis=1)), np.flatnonzero(foreground.any(axis=0))
    tripped = False
    if len(rows) > 0:
        box = _around(rows), _around(columns)
        body[box], tripped = _find_body(foreground[box], max(foreground.shape))
        if body.any():
            away = _away_from(body[box], working[box], max(foreground.shape))
            mask[box] = body[box] | (foreground[box] & ~away)
    mask, body = (_enlarge(small, factor, picture.shape) for small in (mask, body))
    return BraceResult(mask=mask, body=body, tripped=tripped)


def _around(places: NDArray[np.intp]) -> slice:
    return slice(max(0, int(places[0]) - MARGIN), int(places[-1]) + 1 + MARGIN)


def _find_body(foreground: Mask, side: int) -> tuple[Mask, bool]:
    """Return what is thick in a part of a square picture of `side` pixels, and whether the guard trips."""
    head = _largest_solid(shrink(foreground, EROSION_RADIUS), SMALLEST_HEAD * side**2, SOLID)
    if head is None:  # an erosion would break a headrest into pieces that are round
        head = _largest_solid(foreground, SMALLEST_CAP * side**2, ROUND)
    if head is None:
        return np.zeros(foreground.shape, dtype=bool), False
    scale = max(float(np.sqrt(head.sum())), LEAST_SCALE * side)
    mask = _restore(foreground, _cut_arms(head, scale))
    # thick pieces are a cheek, an orbit, a part of the skull base: cut off by the erosion, but no brace
    thick = _thick_pieces(foreground & ~mask, THICK * scale)
    body = _restore(foreground, mask | thick) if thick.any() else mask
    return body, bool(thick.sum() > RIVAL * head.sum())


def _away_from(body: Mask, picture: Picture, side: int) -> Mask:
    """Return what lies outside the body's convex hull and is no skin, ear or nose."""
    if min(body.shape) < 2:  # a line has no hull
        return np.zeros_like(body)
    scale = max(float(np.sqrt(np.count_nonzero(body))), LEAST_SCALE * side)
    rows, columns = np.nonzero((picture > FOREGROUND) & ~body)
    distance = np.zeros(picture.shape, dtype=np.float32)
    distance[rows, columns] = _outside_hull(body, rows, columns) / scale
    outside, hard = distance > 0, picture > HARD
    away = _separate(distance, hard)
    shells = _long_and_thin(outside & hard & ~away, SHELL * scale, THIN * scale)
    away |= (grow(shells, HALO) if shells.any() else shells) & outside
    if _long_and_thin((distance > FAR) & ~away, LONG * scale, THIN * scale, hard).any():
        # of a brace that touches, or of a face, which has more gaps than bone
        from_face = np.zeros_like(distance)
        from_face[rows, columns] = _outside_hull(_solid(body | (outside & ~away)), rows, columns) / scale
        pieces, _ = ndimage.label((from_face > 0) & ~away, EIGHT_NEIGHBORS)
        arms = _long_and_thin((from_face > FAR) & ~away, LONG * scale, THIN * scale, hard)
        away |= _touching(pieces, arms)[pieces] & (from_face > APART)
    return away | (outside & _going_on(away, outside & (picture > BRIGHT), scale))


def _separate(distance: NDArray[np.float32], hard: Mask) -> Mask:
    """Return the pieces that keep their distance and are hard, or too far for the skin of a fat neck."""
    pieces, _ = ndimage.label(distance > 0, EIGHT_NEIGHBORS)
    foreign = _touching(pieces, distance > SKIN_REACH) | _hard_enough(pieces, hard)
    foreign &= ~_touching(pieces, (distance > 0) & (distance <= APART))
    foreign[0] = False
    separate: Mask = foreign[pieces]
    return separate


def _hard_enough(pieces: NDArray[np.int32], hard: Mask) -> Mask:
    """Return for each piece, by its number, whether so much of it is hard as of no skin."""
    areas = np.bincount(pieces.ravel())
    enough: Mask = np.bincount(pieces[hard], minlength=len(areas)) > HARD_SHARE * areas
    return enough


def _going_on(away: Mask, bright: Mask, scale: float) -> Mask:
    """Return the thin bright pieces, with their halo, in which a long brace that touches goes on."""
    left = bright & ~away
    if not (grow(away, HALO) & left).any():  # most slices, and telling long pieces from short takes longer
        return np.zeros_like(away)
    braces = _long_and_thin(away, LONG * scale, 2 * THIN * scale)
    pieces, _ = ndimage.label(left, EIGHT_NEIGHBORS)
    beside = _touching(pieces, grow(braces, HALO))
    beside[0] = False
    more = _long_and_thin(beside[pieces], 0, THIN * scale)
    return grow(more, HALO) if more.any() else more


def _touching(pieces: NDArray[np.int32], part: Mask) -> Mask:
    """Return for each piece, by its number, whether any of it lies in a part."""
    found = np.zeros(int(pieces.max()) + 1, dtype=bool)
    found[pieces[part]] = True
    return found


def _solid(mask: Mask) -> Mask:
    """Return the mask with its gaps closed, without what is thin then."""
    return grow(shrink(grow(mask, GAP), GAP + THIN_FACE), THIN_FACE)


def _long_and_thin(mask: Mask, length: float, radius: float, hard: Mask | None = None) -> Mask:
    """Return the pieces of a mask that are longer, nowhere thicker and, where it is asked for, hard."""
    spans = [np.flatnonzero(mask.any(axis=axis)) for axis in (0, 1)]
    if max(span[-1] + 1 - span[0] if len(span) else 0 for span in spans) <= length:
        return np.zeros_like(mask)
    pieces, count = ndimage.label(mask, EIGHT_NEIGHBORS)
    chosen = np.zeros(count + 1, dtype=bool)
    for number, box in enumerate(ndimage.find_objects(pieces), start=1):
        if max(s.stop - s.start for s in box) > length:
            chosen[number] = not shrink(pieces[box] == number, radius).any()
    if hard is not None and chosen.any():
        chosen &= _hard_enough(pieces, hard)
    arms: Mask = chosen[pieces]
    return arms


def _outside_hull(mask: Mask, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.float32]:
    """Return how far places lie outside the convex hull of a mask, in pixels; 0 and less is inside."""
    filled = np.flatnonzero(mask.any(axis=1))
    first, last = _ends_of_rows(mask[filled])
    corners = np.concatenate([np.stack([filled, ends], axis=1) for ends in (first, last)])
    sides = ConvexHull(corners).equations.astype(np.float32)
    places = np.stack([rows, columns]).astype(np.float32)
    distance: NDArray[np.float32] = (sides[:, :2] @ places + sides[:, 2:]).max(axis=0)
    return distance


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


def _largest_solid(eroded: Mask, smallest: float, solid: float) -> Mask | None:
    """Return the component that encloses most and is no thin arc, filled; None where there is none."""
    components, _ = ndimage.label(eroded)
    areas, boxes = _areas(components), ndimage.find_objects(components)
    largest = [n for n in np.argsort(-areas)[:3] if areas[n] > 0]
    candidates = [(boxes[n - 1], _fill(components[boxes[n - 1]] == n)) for n in largest]
    for box, candidate in sorted(candidates, key=lambda found: np.count_nonzero(found[1]), reverse=True):
        area = np.count_nonzero(candidate)
        # "at least" the inner radius: farther than the next smaller number
        if area >= smallest and shrink(candidate, np.nextafter(solid * np.sqrt(area), 0)).any():
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
    arms, count = ndimage.label(head & ~opened, EIGHT_NEIGHBORS)
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
    first, last = _ends_of_rows(mask)
    span: Mask = (columns >= first[:, None]) & (columns <= last[:, None]) & mask.any(axis=1, keepdims=True)
    return span


def _ends_of_rows(mask: Mask) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    return mask.argmax(axis=1), mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1)


def _thick_pieces(removed: Mask, radius: float) -> Mask:
    """Return the pieces of what would be removed that are thicker than any brace."""
    eroded, depth = shrink(removed, EROSION_RADIUS), max(0.0, radius - EROSION_RADIUS)
    if not shrink(eroded, depth).any():  # most slices, and looking at the pieces takes longer
        return np.zeros_like(removed)
    components, count = ndimage.label(eroded)
    areas, boxes = _areas(components), ndimage.find_objects(components)
    thick = np.zeros(count + 1, dtype=bool)
    for n in np.flatnonzero(areas > radius**2):
        length = max(s.stop - s.start for s in boxes[n - 1])
        thick[n] = shrink(components[boxes[n - 1]] == n, max(depth, length * LEAST_WIDTH)).any()
    pieces: Mask = thick[components]
    return pieces
