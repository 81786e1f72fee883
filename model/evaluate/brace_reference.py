"""A reference for brace removal: slow, at full size, written apart from the rule that it judges.

What it cannot tell (a hand, a tube, a blanket, skin far from a fat neck) is neither head nor headrest.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label, regionprops
from skimage.morphology import convex_hull_image, isotropic_closing, isotropic_opening

Picture = NDArray[np.float32]
Mask = NDArray[np.bool_]

# of the picture's side; headrests seen here have an inner radius of at most 0.018
THICK = 0.02
NEAR = 0.04  # of another thick part: one body
PART = 0.02  # of its area; a finger is less
SLENDER = 0.02  # inner radius of an arc
LONG = 0.2
APART = 0.015
GAP = 0.005
BEGINS = 0.004
FACE = 0.2  # how far a nose, a chin or an ear stands out
BRAIN = 0.03  # inner radius: more than a sinus has
VISIBLE = 3.5 / 255
BONE_BRIGHT = 0.78
VERY_LONG = 0.45
SLIM = 8  # times its inner radius is an arc long


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Masks (H, W): what is head for certain, what is headrest for certain, and brain enclosed by bone."""

    head: Mask
    headrest: Mask
    brain: Mask


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A mask against the reference: pixels of headrest left, pixels of head lost and there, brain lost."""

    left: int
    headrest: int
    lost: int
    head: int
    brain_lost: int

    @property
    def lost_share(self) -> float:
        """Return the lost share of the head, 0 where there is none."""
        return self.lost / self.head if self.head else 0.0


def reference_of(picture: Picture) -> Reference:
    """Tell head and headrest apart in a slice in window units (H, W), 0..1.

    The head is what lies within the convex hull of its thick parts, and what begins at this hull. A headrest
    is a bone-bright arc outside, or a slender long piece that keeps its distance.
    """
    side = max(picture.shape)
    visible = picture > VISIBLE
    visible[:, [0, -1]] = False  # the paper blackens the edge columns
    apart = np.zeros_like(visible)
    for piece in regionprops(label(visible, connectivity=2)):
        place = tuple(piece.coords.T)
        if _is_arc(piece.image, LONG, side) and _is_hard(picture[place], piece.image):
            apart[place] = True
    hull = _hull(visible & ~apart, side)
    away = ndimage.distance_transform_edt(~hull) if hull.any() else np.full(picture.shape, np.inf)
    outside = visible & ~hull
    headrest = np.zeros_like(hull)
    for shown in (outside & (picture > BONE_BRIGHT), outside):
        for piece in regionprops(label(shown, connectivity=2)):
            place = tuple(piece.coords.T)
            length = LONG if np.median(away[place]) > APART * side else VERY_LONG
            if _is_arc(piece.image, length, side) and _is_hard(picture[place], piece.image):
                headrest[place] = True
    around = ndimage.binary_dilation(headrest, iterations=2)
    head = visible & hull
    for piece in regionprops(label(outside & ~around, connectivity=2)):
        place = tuple(piece.coords.T)
        if away[place].min() <= max(1.5, BEGINS * side) and away[place].max() <= FACE * side:
            head[place] = True
    return Reference(head=head, headrest=headrest, brain=_enclosed(picture))


def judge(mask: Mask, reference: Reference) -> Judged:
    """Compare the mask of a brace removal (H, W) with the reference."""
    return Judged(
        left=int((mask & reference.headrest).sum()),
        headrest=int(reference.headrest.sum()),
        lost=int((reference.head & ~mask).sum()),
        head=int(reference.head.sum()),
        brain_lost=int((reference.brain & ~mask).sum()),
    )


def _hull(visible: Mask, side: int) -> Mask:
    """Return the convex hull of the largest thick part and of those beside it."""
    solid = ndimage.binary_fill_holes(isotropic_closing(visible, GAP * side))  # with its sinuses
    thick = label(isotropic_opening(solid, THICK * side))
    areas = np.bincount(thick.ravel())
    areas[0] = 0
    if not areas.any():
        return np.zeros(visible.shape, dtype=bool)
    body = thick == areas.argmax()
    near = np.unique(thick[ndimage.distance_transform_edt(~body) <= NEAR * side])
    parts = np.isin(thick, [n for n in near if areas[n] >= PART * areas.max()])
    hull: Mask = convex_hull_image(parts)
    return hull


def _is_arc(image: Mask, length: float, side: int) -> bool:
    """Say whether a piece is slender, and long."""
    extent, radius = max(image.shape), _inner_radius(image)
    return extent >= max(length * side, SLIM * radius) and radius <= SLENDER * side


def _is_hard(values: Picture, image: Mask) -> bool:
    """Say whether a piece is bone-bright: a thick one most of it, a thin one, blurred, along its middle."""
    return bool(np.quantile(values, 0.5 if _inner_radius(image) > 3 else 0.9) > BONE_BRIGHT)


def _inner_radius(image: Mask) -> float:
    return float(ndimage.distance_transform_edt(np.pad(image, 1)).max())


def _enclosed(picture: Picture) -> Mask:
    """Return what bone encloses, but for the bone and small sinuses: brain where the skull is closed."""
    bone = picture > 0.99
    enclosed: Mask = ndimage.binary_fill_holes(bone) & ~bone
    brain: Mask = isotropic_opening(enclosed, BRAIN * max(picture.shape)) & enclosed
    return brain
