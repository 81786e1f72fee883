"""Drawn bleeds, and drawn things that are bright and no blood, on real slices (S, S) in window units.

A bleed drawn on a control's slice has the scanner, noise and zoom of the controls: only the blood is left to
tell them apart. Real bleeds of the image sets are mostly wider than 20 mm; small ones come from here.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from model.prepare import HEAD_SHARE

Picture = NDArray[np.float32]
Mask = NDArray[np.bool_]

HEAD_MM = 195.0  # longer side of an adult head at its widest: what HEAD_SHARE of the picture stands for
BONE, BRAIN, BRAIN_MEDIAN = 0.97, (0.2, 0.62), 0.56  # window units: what saturates; 16 to 50 HU; 45 HU
OUTLINE, SCALP = 0.04, 0.035  # above air; share of the side
SMALLEST_BRAIN = 0.02  # of the picture
DIAMETER_MM = (5.0, 45.0)
CONTRAST = (0.13, 0.50)  # of the window above brain: 10 to 40 HU
SUBTLE_BELOW_MM, SUBTLE_CONTRAST = 9.0, 0.22  # a small bleed that is faint too could not be labelled
BRIGHTEST = 0.94  # 75 HU: clotted blood does not saturate the window, calcium does
NEAR_SKULL_MM = 14.0
BLED = 0.4  # of full contrast: where the drawn bleed counts as blood


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A slice with something drawn on it, and where it holds blood."""

    picture: Picture
    blood: Mask


def brain_mask(picture: Picture) -> Mask:
    """Return what lies deep enough in the head and looks like brain in the large; all False without any.

    Bone need not close round it: the skull base is open in front.
    """
    small = picture[::2, ::2]  # anatomy in the large: half the pixels do
    smooth = ndimage.gaussian_filter(small, 0.8)
    outline = ndimage.binary_fill_holes(small > OUTLINE)
    depth = ndimage.distance_transform_edt(outline)
    tissue = (smooth > BRAIN[0]) & (smooth < BRAIN[1]) & (depth > SCALP * small.shape[0])
    parts, count = ndimage.label(ndimage.binary_opening(tissue, np.ones((3, 3))))
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    large = [n for n in range(1, count + 1) if sizes[n] >= SMALLEST_BRAIN * parts.size]
    kept = np.isin(parts, [n for n in large if np.median(small[parts == n]) < BRAIN_MEDIAN])
    return kept.repeat(2, axis=0).repeat(2, axis=1)[: picture.shape[0], : picture.shape[1]]


def draw_bleed(picture: Picture, random: Generator) -> Drawn | None:
    """Draw one bleed, sometimes with smaller ones round it, into the brain; None where there is none."""
    brain = brain_mask(picture)
    if not brain.any():
        return None
    pixels_per_mm = HEAD_SHARE * picture.shape[0] / HEAD_MM
    diameter = float(np.exp(random.uniform(*np.log(DIAMETER_MM))))
    contrast = random.uniform(CONTRAST[0] if diameter > SUBTLE_BELOW_MM else SUBTLE_CONTRAST, CONTRAST[1])
    center = _place(brain, pixels_per_mm, random)
    share = _shape(picture.shape, center, diameter * pixels_per_mm, random)
    if random.random() < 0.3:
        for _ in range(random.integers(1, 4)):
            near = center + random.normal(0, diameter * pixels_per_mm, 2)
            share = np.maximum(
                share,
                _shape(picture.shape, near, diameter * pixels_per_mm * random.uniform(0.2, 0.6), random),
            )
    share = share * ndimage.gaussian_filter(brain.astype(np.float32), 0.7)
    blood = share > BLED
    if blood.sum() < 4:
        return None
    return Drawn(picture=_fill(picture, brain, share, contrast, random), blood=blood)


def _place(brain: Mask, pixels_per_mm: float, random: Generator) -> NDArray[np.float64]:
    depth = ndimage.distance_transform_edt(brain)
    eligible = depth > 1.5 * pixels_per_mm
    if random.random() < 0.5:  # contusions lie on the surface
        eligible &= depth < NEAR_SKULL_MM * pixels_per_mm
    places = np.argwhere(eligible if eligible.any() else brain)
    return np.asarray(places[random.integers(len(places))], dtype=np.float64)


def _shape(
    shape: tuple[int, ...], center: NDArray[np.float64], diameter: float, random: Generator
) -> Picture:
    """Return a ragged ellipse, 1 inside and 0 outside, its edge between sharp and soft."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32) - center.reshape(2, 1, 1).astype(np.float32)
    angle, stretch = random.uniform(0, np.pi), np.exp(random.uniform(0, 0.45))
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    around = np.arctan2(v, u)
    ragged = 1.0 + sum(
        random.normal(0, 0.16 / k) * np.cos(k * around + random.uniform(0, 2 * np.pi)) for k in (1, 2, 3, 5)
    )
    distance = np.hypot(u / stretch, v * stretch) / np.maximum(ragged, 0.3) - diameter / 2
    softness = random.uniform(0.3, 0.9) + 0.02 * diameter
    return np.asarray(1 / (1 + np.exp((distance / softness).clip(-30, 30))), dtype=np.float32)


def _fill(picture: Picture, brain: Mask, share: Picture, contrast: float, random: Generator) -> Picture:
    """Put blood where `share` is, keeping the slice's own noise, and sometimes edema round it."""
    level = min(float(np.median(picture[brain])) + contrast, BRIGHTEST)
    noise = picture - ndimage.gaussian_filter(picture, 1.2)
    texture = _clouds(picture.shape, random) * random.uniform(0, 0.3) * contrast
    blood = level + texture + noise * (picture < BONE)
    changed = picture * (1 - share) + blood * share
    if random.random() < 0.6:
        wide = ndimage.gaussian_filter(share, random.uniform(1.5, 5.0))
        changed -= random.uniform(0, 0.15) * (wide / max(float(wide.max()), 1e-6)) * (1 - share) * brain
    return np.asarray(np.clip(changed, 0, 1), dtype=np.float32)


def _clouds(shape: tuple[int, ...], random: Generator) -> Picture:
    """Return smooth noise of about -1..1."""
    coarse = random.normal(size=(shape[0] // 6 + 2, shape[1] // 6 + 2))
    clouds = ndimage.zoom(ndimage.gaussian_filter(coarse, 1.0), 6, order=1)[: shape[0], : shape[1]]
    return np.asarray(clouds / max(np.abs(clouds).max(), 1e-6), dtype=np.float32)


def draw_bright_mimic(picture: Picture, random: Generator) -> Picture:
    """Draw what is bright and no blood: calcium, a calcified falx, a haze of bone, a streak."""
    brain = brain_mask(picture)
    if not brain.any():
        return picture
    kind = (_calcium, _falx, _bone_haze, _streak)[random.integers(4)]
    changed: Picture = np.clip(kind(picture, brain, random), 0, 1).astype(np.float32)
    return changed


def _calcium(picture: Picture, brain: Mask, random: Generator) -> Picture:
    """Sharp dots that saturate: pineal gland, choroid plexus, basal ganglia, vessel walls."""
    pixels_per_mm = HEAD_SHARE * picture.shape[0] / HEAD_MM
    places, changed = np.argwhere(brain), picture
    for _ in range(random.integers(1, 4)):
        center = places[random.integers(len(places))].astype(np.float64)
        diameter = random.uniform(1.5, 5.0) * pixels_per_mm
        share = _shape(picture.shape, center, diameter, random) * random.uniform(0.7, 1.0)
        changed = changed * (1 - share) + share
    return changed


def _falx(picture: Picture, brain: Mask, random: Generator) -> Picture:
    """A thin bright line along the middle, either way a head may lie."""
    rows, columns = np.nonzero(brain)
    upright = np.ptp(rows) >= np.ptp(columns)
    along, across = (rows, columns) if upright else (columns, rows)
    middle = np.mean(across) + random.normal(0, 1.0)
    start, stop = np.sort(random.uniform(along.min(), along.max(), 2))
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
    length, offset = (y, x) if upright else (x, y)
    slope = random.normal(0, 0.03)
    line = np.exp(-(((offset - middle - slope * (length - start)) / random.uniform(0.5, 1.2)) ** 2))
    share = line * ((length >= start) & (length <= stop)) * brain * random.uniform(0.3, 0.8)
    return np.asarray(picture * (1 - share) + share)


def _bone_haze(picture: Picture, brain: Mask, random: Generator) -> Picture:
    """Partial volume: a soft brightening along a stretch of the skull."""
    depth = ndimage.distance_transform_edt(brain)
    center = np.argwhere(brain & (depth < 2.5))[:: max(1, int(brain.sum() // 5000))]
    place = center[random.integers(len(center))] if len(center) else np.argwhere(brain)[0]
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]] - place.reshape(2, 1, 1)
    reach = random.uniform(0.05, 0.18) * picture.shape[0]
    share = np.exp(-depth / random.uniform(1.0, 3.0)) * np.exp(-(y**2 + x**2) / reach**2) * brain
    return np.asarray(picture + random.uniform(0.1, 0.45) * share)


def _streak(picture: Picture, brain: Mask, random: Generator) -> Picture:
    """Alternating dark and bright bands across the slice, as between the petrous bones."""
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
    angle = random.uniform(0, np.pi)
    across = y * np.cos(angle) + x * np.sin(angle)
    places = np.argwhere(brain)
    middle = places[random.integers(len(places))] @ np.array([np.cos(angle), np.sin(angle)])
    width = random.uniform(0.02, 0.06) * picture.shape[0]
    band = np.exp(-(((across - middle) / width) ** 2)) * np.cos(
        (across - middle) / width * random.uniform(0.5, 2.5)
    )
    return np.asarray(picture + random.uniform(-0.2, 0.2) * band * brain)


def draw_soft_tissue(picture: Picture, random: Generator) -> Picture:
    """Refill a head's outline with muscle, fat, bone and air: a slice of face or neck, without brain."""
    outline = ndimage.binary_fill_holes(picture > OUTLINE)
    if outline.sum() < SMALLEST_BRAIN * outline.size:
        return picture
    side = picture.shape[0]
    fields = [
        ndimage.gaussian_filter(random.normal(size=picture.shape), side * s) for s in (0.02, 0.035, 0.05)
    ]
    if random.random() < 0.7:  # bodies are symmetric
        axis = int(random.integers(2))
        fields = [f + np.flip(f, axis) * random.uniform(0.5, 1.0) for f in fields]
    muscle, bone, air = (f / f.std() for f in fields)
    inside = np.zeros(picture.shape, dtype=np.float32)  # fat is below the window
    inside[muscle > random.uniform(-0.8, 0.2)] = random.uniform(0.5, 0.85)
    inside[(bone > random.uniform(0.8, 1.6))] = 1.0
    inside[air > random.uniform(0.9, 1.8)] = 0.0
    inside = ndimage.gaussian_filter(inside, random.uniform(0.4, 1.0))
    noise = (picture - ndimage.gaussian_filter(picture, 1.2)) * (picture < BONE)
    return np.where(outline, np.clip(inside + noise, 0, 1), 0).astype(np.float32)
