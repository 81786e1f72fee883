"""A synthetic head CT with a known answer: `head_phantom`. Made of numbers alone; no patient's data is in it.

It is drawn from anatomy and never adapted to what a network says about it.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ich_node.demo.phantom_bleed import Plan, paint_bleed, plan_bleed, push_midline
from ich_node.demo.phantom_brain import below_tentorium, paint_brain
from ich_node.demo.phantom_head import Build, draw_build, paint_face, paint_headrest, paint_skull, surfaces
from ich_node.demo.phantom_space import Array, Space, smooth_noise
from ich_node.vocabulary import Location

FIRST_TRAINING_SEED: Final = 1_000_000  # phantoms for training start here; the demo draws seeds below
LOCATIONS: Final = tuple(Location)
_DRAWN: Final = (
    256  # anatomy is drawn on this many rows and columns; 512 adds sharpness of noise, not of anatomy
)


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What the phantom holds: no location, no volume and no voxels where there is no bleed."""

    location: Location | None
    volume_ml: float
    slice_voxels: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class HeadPhantom:
    """A head CT, foot to head; row 0 is anterior, column 0 the patient's right. HU are int16 (N, H, W).

    `positions_mm` are (x, y, z) of each slice's first pixel in the patient's coordinates (PS3.3 C.7.6.2).
    """

    seed: int
    hu: NDArray[np.int16]
    pixel_spacing_mm: float
    slice_spacing_mm: float
    positions_mm: tuple[tuple[float, float, float], ...]
    bleed_mask: NDArray[np.bool_]
    truth: Truth


@dataclass(frozen=True, kw_only=True)
class _Frame:
    slices: int
    spacing_mm: float
    pixel_mm: float
    first_z_mm: float
    turn_deg: tuple[float, float, float]
    offset_mm: tuple[float, float]


def head_phantom(seed: int, bleed: Location | None = None, *, size: int = 512) -> HeadPhantom:
    """Draw the head of a seed, with a bleed at the location or without one; the head is the same either way.

    `size` is 512 or 256 rows and columns over the same field of view.
    """
    if size not in (_DRAWN, 2 * _DRAWN):
        raise ValueError(f"size must be {_DRAWN} or {2 * _DRAWN}, not {size}")
    body, blood, grain = (np.random.default_rng([seed, part]) for part in range(3))
    build = draw_build(body)
    frame = _draw_frame(build, body)
    hu, mask = _draw_head(frame, build, bleed, body, blood)
    hu = ndimage.convolve1d(hu, [0.125, 0.75, 0.125], axis=0, mode="nearest")  # the slice profile
    fine = size // _DRAWN
    scanned = _scan(hu, fine, grain)
    mask = mask.repeat(fine, axis=1).repeat(fine, axis=2)
    pixel_mm = frame.pixel_mm * 2 / fine
    corner = -(size - 1) / 2 * pixel_mm
    z = [frame.first_z_mm + i * frame.spacing_mm for i in range(frame.slices)]
    counts = tuple(int(n) for n in mask.sum(axis=(1, 2)))
    ml = sum(counts) * pixel_mm**2 * frame.spacing_mm / 1000
    return HeadPhantom(
        seed=seed,
        hu=scanned,
        pixel_spacing_mm=pixel_mm,
        slice_spacing_mm=frame.spacing_mm,
        positions_mm=tuple((corner, corner, height) for height in z),
        bleed_mask=mask,
        truth=Truth(location=bleed, volume_ml=ml, slice_voxels=counts),
    )


def _draw_frame(build: Build, rng: np.random.Generator) -> _Frame:
    """Draw how the head was scanned: from the foramen magnum to the air over the vertex."""
    first = -rng.uniform(60, 70)
    top = build.height + build.bone_mm + build.scalp_mm + rng.uniform(2, 8)
    spacing = round(rng.uniform(max(4.0, (top - first) / 39), 5.0), 2)
    slices = int(np.ceil((top - first) / spacing)) + 1
    return _Frame(
        slices=slices,
        spacing_mm=spacing,
        pixel_mm=round(rng.uniform(0.43, 0.5), 4),
        first_z_mm=round(first, 2),
        turn_deg=(rng.uniform(-15, 15), rng.uniform(-5, 5), rng.uniform(-8, 8)),
        offset_mm=(rng.uniform(-7, 7), rng.uniform(-5, 4)),
    )


def _space(frame: _Frame, rng: np.random.Generator) -> Space:
    """Lay head coordinates over the voxels: rotated, moved, bent a little: no head is symmetric."""
    step = frame.pixel_mm * 2
    line = (np.arange(_DRAWN, dtype=np.float32) - (_DRAWN - 1) / 2) * step
    z = frame.first_z_mm + frame.spacing_mm * np.arange(frame.slices, dtype=np.float32)
    x, y = line - frame.offset_mm[0], line - frame.offset_mm[1]
    yaw, roll, pitch = np.deg2rad(frame.turn_deg)
    turn = _rotation(2, yaw) @ _rotation(1, roll) @ _rotation(0, pitch)
    shape = (frame.slices, _DRAWN, _DRAWN)
    voxel = (frame.spacing_mm, step, step)
    bent = []
    for row in turn.astype(np.float32):
        flat = row[0] * x[None, None, :] + row[1] * y[None, :, None] + row[2] * z[:, None, None]
        bent.append(flat + np.float32(1.3) * smooth_noise(rng, shape, voxel, 70))
    return Space(x=bent[0], y=bent[1], z=bent[2], voxel_mm=voxel)


def _rotation(axis: int, angle: float) -> NDArray[np.float64]:
    first, second = [i for i in range(3) if i != axis]
    turn = np.eye(3)
    turn[first, first] = turn[second, second] = np.cos(angle)
    turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
    return turn


def _draw_head(
    frame: _Frame,
    build: Build,
    bleed: Location | None,
    body: np.random.Generator,
    blood: np.random.Generator,
) -> tuple[Array, NDArray[np.bool_]]:
    space = _space(frame, body)
    shape = surfaces(space, build, body)
    hu = np.full(space.x.shape, -1000, dtype=np.float32)
    _lay_headrest(hu, frame, shape.skin, body)
    paint_skull(hu, space, build, shape, body)
    paint_face(hu, space, build, body)
    plan = plan_bleed(bleed, blood) if bleed else None
    inner = push_midline(space, shape, plan) if plan else space
    tissue = paint_brain(hu, inner, build, shape, body)
    mask = np.zeros(hu.shape, dtype=np.bool_)
    if plan:
        mask = paint_bleed(hu, space, plan, _home(space, tissue, plan, bleed == "subtentorial"), blood)
    _harden(hu, space, shape.cavity)
    return hu, mask


def _home(space: Space, tissue: Array, plan: Plan, subtentorial: bool) -> NDArray[np.bool_]:
    """Where the bleed may spread: brain on its own side of the falx and of the tentorium."""
    lower = below_tentorium(space) > 0.5
    same_side = (space.x * np.sign(plan.center[0]) > -1) | lower
    return np.asarray((tissue > 0.5) & (lower == subtentorial) & same_side, dtype=np.bool_)


def _lay_headrest(hu: Array, frame: _Frame, skin: Array, rng: np.random.Generator) -> None:
    step = frame.pixel_mm * 2
    line = (np.arange(_DRAWN, dtype=np.float32) - (_DRAWN - 1) / 2) * step
    rows = np.flatnonzero((skin < 0).any(axis=(0, 2)))
    across, down = np.broadcast_arrays(line[None, :], line[:, None])
    sheet = hu[0].copy()
    paint_headrest(sheet, across, down, float(line[rows[-1]]), rng)
    hu[:] = sheet


def _harden(hu: Array, space: Space, cavity: Array) -> None:
    """Add what beam hardening leaves: a bright hem along the bone, a dark bar between the petrous bones."""
    hem = 3.5 * np.exp(np.minimum(cavity, 0) / 7) * (cavity < 0)
    bar = np.exp(-(((space.z + 33) / 8) ** 2) - ((space.y - 10) / 9) ** 2) * (cavity < -2)
    hu += hem - 7 * bar


def _scan(hu: Array, fine: int, rng: np.random.Generator) -> NDArray[np.int16]:
    """Blur as a soft kernel does and add correlated noise of 3 to 6 HU; slice by slice, to save memory."""
    sharp, coarse, deviation = rng.uniform(0.35, 0.65), rng.uniform(0.45, 0.8), rng.uniform(3.0, 6.0)
    out = np.empty((len(hu), hu.shape[1] * fine, hu.shape[2] * fine), dtype=np.int16)
    for index, drawn in enumerate(hu):
        grown = ndimage.zoom(drawn, fine, order=1, grid_mode=True, mode="nearest") if fine > 1 else drawn
        soft = ndimage.gaussian_filter(grown, sharp * fine, truncate=3)
        white = rng.standard_normal(grown.shape, dtype=np.float32)
        noise = ndimage.gaussian_filter(white, coarse * fine, truncate=3)
        out[index] = np.clip(np.rint(soft + noise * (deviation / noise.std())), -1024, 3071)
    return out
