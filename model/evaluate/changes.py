"""Slices changed as another scanner would, or without their brain; runs in processes without torch."""

import zlib
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from model.evaluate.look import QUIET_TISSUE
from model.image_set import SliceRow, read_picture
from model.prepare import prepare
from model.window import WIDTH_HU

Picture = NDArray[np.float32]
Mask = NDArray[np.bool_]

BONE = 0.97  # of the window: what saturates
SKULL_SHARE = 0.5  # of the head that a closed skull encloses, at least; else it is open: its base, an orbit
THICKEST_SKULL, SCALP_AND_SKULL = 0.10, 0.12  # of the picture's side


def zoomed(picture: Picture, factor: float, random: np.random.Generator) -> Picture:
    """Scale the whole picture, as another field of view would."""
    height, width = (max(1, round(side * factor)) for side in picture.shape)
    return np.asarray(
        Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR), dtype=np.float32
    )


def noisy(picture: Picture, sigma_hu: float, random: np.random.Generator) -> Picture:
    """Add normal noise wherever there is something; air is far below the window and stays black."""
    noise = random.normal(0, sigma_hu / WIDTH_HU, picture.shape)
    return np.where(picture > 0, np.clip(picture + noise, 0, 1), 0).astype(np.float32)


def blurred(picture: Picture, sigma_pixels: float, random: np.random.Generator) -> Picture:
    """Blur, as a softer kernel would."""
    soft: Picture = ndimage.gaussian_filter(picture, sigma_pixels)
    return soft


def stretched(picture: Picture, gain: float, random: np.random.Generator) -> Picture:
    """Multiply the window's values, as a scanner out of calibration would."""
    changed: Picture = np.clip(picture * np.float32(gain), 0, 1)
    return changed


CHANGES: Mapping[str, tuple[Callable[[Picture, float, np.random.Generator], Picture], float]] = {
    "zoom 0.8": (zoomed, 0.8),
    "zoom 1.25": (zoomed, 1.25),
    "noise 4 HU": (noisy, 4.0),
    "noise 8 HU": (noisy, 8.0),
    "blur 1 px": (blurred, 1.0),
    "blur 2 px": (blurred, 2.0),
    "gain 0.85": (stretched, 0.85),
    "gain 1.15": (stretched, 1.15),
}
"""Applied to the stored picture, before the bundle's own preparation: what a hospital would feel."""
PLAIN, BLANKED = "plain", "blanked"
VARIANTS = (PLAIN, BLANKED, *CHANGES)


def variants(row: SliceRow, *, size: int) -> Picture:
    """Return the slice as it is, blanked, and under each change: prepared pictures (V, S, S), as VARIANTS."""
    picture = read_picture(row.file)
    random = np.random.default_rng(zlib.crc32(row.path.encode()))
    plain = prepare(picture, size).picture
    changed = [prepare(change(picture, amount, random), size).picture for change, amount in CHANGES.values()]
    return np.stack([plain, blank(plain), *changed])


def blank(picture: Picture) -> Picture:
    """Fill all within the skull of a prepared picture (S, S) with the brain's median; the skull stays.

    Blood has next to no say in that median; what swelling does to the brain round it has a little.
    """
    inside = _inside_skull(picture)
    low, high = QUIET_TISSUE
    tissue = picture[inside & (picture > low) & (picture < high)]
    if len(tissue) == 0:
        return picture
    return np.where(inside, np.median(tissue), picture).astype(np.float32)


def _inside_skull(picture: Picture) -> Mask:
    """Return what the skull encloses; where it is open, the head without a rim of scalp and bone.

    Blood as bright as bone, or touching it, must not pass for skull: all that lies deeper than most of the
    skull is thick is inside, whatever its brightness.
    """
    side = len(picture)
    head = ndimage.binary_fill_holes(picture > 0)
    bone, count = ndimage.label(ndimage.binary_closing(np.pad(picture >= BONE, 3), iterations=2)[3:-3, 3:-3])
    if count:
        sizes = np.bincount(bone.ravel())
        sizes[0] = 0
        skull = bone == sizes.argmax()
        enclosed = ndimage.binary_fill_holes(skull)
        if enclosed.sum() >= SKULL_SHARE * head.sum():
            depth = _depth(enclosed)
            return np.asarray((enclosed & ~skull) | (depth > _thickness(skull, depth)))
    return np.asarray(_depth(head) > SCALP_AND_SKULL * side)


def _thickness(skull: Mask, depth: NDArray[np.float64]) -> float:
    """Return the depth in pixels at which less than half is bone, at most a tenth of the side."""
    most = max(1, round(THICKEST_SKULL * len(skull)))
    for pixels in range(1, most):
        layer = np.round(depth) == pixels
        if skull[layer].mean() < 0.5:
            return pixels - 0.5
    return most


def _depth(mask: Mask) -> NDArray[np.float64]:
    """Return how far each pixel of the mask lies from its border."""
    return np.asarray(ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1])
