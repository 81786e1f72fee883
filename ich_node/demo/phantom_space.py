"""The space in which a head phantom is drawn: coordinates in mm, smooth noise, soft edges. Pure functions."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class Space:
    """Head coordinates of every voxel in mm: x to the patient's left, y to the back, z to the vertex.

    The origin lies between the basal ganglia. Arrays have the shape (N, H, W), foot to head.
    """

    x: Array
    y: Array
    z: Array
    voxel_mm: tuple[float, float, float]

    def within(self, box: tuple[slice, slice, slice]) -> "Space":
        """Return the part of the space inside a box of voxels."""
        return Space(x=self.x[box], y=self.y[box], z=self.z[box], voxel_mm=self.voxel_mm)

    def ball(self, center: tuple[float, float, float], radius: float) -> tuple[slice, slice, slice]:
        """Return the box of voxels that holds a ball of head coordinates; empty where it lies outside."""
        reach = radius + 6.0  # the head is rotated by at most 15 degrees and bent by a few mm
        middle = tuple(n // 2 for n in self.x.shape)
        here = np.array([axis[middle] for axis in (self.z, self.y, self.x)])
        return _box(self, center, here, reach)


def _box(
    space: Space, center: tuple[float, float, float], here: NDArray[np.float32], reach: float
) -> tuple[slice, slice, slice]:
    axes = space_axes(space)
    offset = axes.T @ (np.array([center[2], center[1], center[0]]) - here)
    slices = []
    for n, step, away in zip(space.x.shape, space.voxel_mm, offset, strict=True):
        first, last = n // 2 + (away - reach) / step, n // 2 + (away + reach) / step
        slices.append(slice(int(np.clip(first, 0, n)), int(np.clip(last + 1, 0, n))))
    return slices[0], slices[1], slices[2]


def space_axes(space: Space) -> NDArray[np.float64]:
    """Measure the rotation from voxel axes (z, y, x in mm) to head axes by secants through the space."""
    middle = [n // 2 for n in space.x.shape]
    columns = []
    for axis, step in enumerate(space.voxel_mm):
        low, high = list(middle), list(middle)
        low[axis], high[axis] = space.x.shape[axis] // 4, 3 * space.x.shape[axis] // 4
        length = (high[axis] - low[axis]) * step
        columns.append([float(a[tuple(high)] - a[tuple(low)]) / length for a in (space.z, space.y, space.x)])
    return np.array(columns).T


def _spline_weights(n: int, step_mm: float, pitch_mm: float) -> Array:
    """Weights (n, nodes) of a uniform cubic B-spline whose nodes lie `pitch_mm` apart."""
    at = np.arange(n, dtype=np.float32) * np.float32(step_mm / pitch_mm) + 1.5
    away = np.abs(at[:, None] - np.arange(int(at[-1]) + 4, dtype=np.float32)[None, :])
    near = 2 / 3 - away**2 + away**3 / 2
    far = np.clip(2 - away, 0, None) ** 3 / 6
    return np.asarray(np.where(away < 1, near, far), dtype=np.float32)


def smooth_noise(
    rng: np.random.Generator,
    shape: tuple[int, int, int],
    voxel_mm: tuple[float, float, float],
    wave_mm: float,
) -> Array:
    """Draw a smooth random field of mean 0 and deviation 1 whose bumps are about `wave_mm` apart."""
    wz, wy, wx = (_spline_weights(n, mm, wave_mm / 2) for n, mm in zip(shape, voxel_mm, strict=True))
    nodes = rng.standard_normal((wz.shape[1], wy.shape[1], wx.shape[1]), dtype=np.float32)
    field = np.matmul(np.matmul(wy, np.tensordot(wz, nodes, axes=1)), wx.T)
    return np.asarray(
        field / np.float32(0.33), dtype=np.float32
    )  # a B-spline of unit noise has a deviation near 0.33


def ellipsoid(space: Space, center: tuple[float, float, float], radii: tuple[float, float, float]) -> Array:
    """Signed distance in mm to an ellipsoid, approximated along its radius: below 0 inside."""
    scaled = (
        ((space.x - np.float32(center[0])) / np.float32(radii[0])) ** 2
        + ((space.y - np.float32(center[1])) / np.float32(radii[1])) ** 2
        + ((space.z - np.float32(center[2])) / np.float32(radii[2])) ** 2
    )
    return np.asarray((np.sqrt(scaled) - 1) * np.float32(min(radii)), dtype=np.float32)


def inside(distance: Array, edge_mm: float = 1.0) -> Array:
    """Turn a signed distance into a share 0..1 of the voxel that lies inside."""
    return np.asarray(np.clip(0.5 - distance / np.float32(edge_mm), 0, 1), dtype=np.float32)


def blend(hu: Array, share: Array, value: Array | float) -> None:
    """Paint a value over HU, in place, by the share of each voxel that it fills."""
    hu += share * (np.asarray(value, dtype=np.float32) - hu)


def ramp(value: Array, width: float) -> Array:
    """Rise from 0 to 1 around 0, over about `width` to each side."""
    return np.asarray(np.clip(0.5 + value / np.float32(2 * width), 0, 1), dtype=np.float32)
