"""The bleed of the head phantom: where bleeds of each location lie, how blood looks. Pure functions."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ich_node.demo.phantom_head import Surfaces
from ich_node.demo.phantom_space import Array, Space, blend, ellipsoid, inside, smooth_noise
from ich_node.vocabulary import Location

Point = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the bleed is to be before it is drawn; lengths in mm, HU at its middle."""

    center: Point
    radii: Point
    volume_ml: float
    blood: float
    edema_mm: float
    shift_mm: float


def plan_bleed(location: Location, rng: np.random.Generator) -> Plan:
    """Draw place, size and looks of a bleed. Volumes are log-uniform: small ones are common."""
    volume = float(np.exp(rng.uniform(np.log(3), np.log(30))))
    if location == Location.SUBTENTORIAL:
        volume = min(volume, 16.0)
    stretch = rng.uniform(0.7, 1.4, size=3)
    side = rng.choice([-1.0, 1.0])
    size = (3 * volume * 1000 / (4 * np.pi)) ** (1 / 3)
    radii = size * stretch / np.prod(stretch) ** (1 / 3)
    return Plan(
        center=_center(location, side, size, rng),
        radii=(float(radii[0]), float(radii[1]), float(radii[2])),
        volume_ml=volume,
        blood=rng.uniform(58, 76),
        edema_mm=rng.uniform(2.0, 7.0),
        shift_mm=float(side) * min(7.0, max(0.0, volume - 6) * rng.uniform(0.1, 0.35)),
    )


def _center(location: Location, side: float, size: float, rng: np.random.Generator) -> Point:
    jitter = rng.uniform(-3, 3, size=3)
    if location == Location.DEEP:
        x, y, z = (28.0, -4.0, 5.0) if rng.random() < 0.65 else (14.0, 10.0, 6.0)
        return side * (x + jitter[0]), y + jitter[1], z + jitter[2]
    if location == Location.LOBAR:
        angle = rng.uniform(-0.43, 0.43) * np.pi  # from frontal to occipital, along the side
        z = rng.uniform(22, 50)
        shrink = np.sqrt(1 - (z / 78) ** 2)
        rest = max(0.5, 1 - (size + 5) / 70)
        return side * 64 * shrink * rest * np.cos(angle), 80 * shrink * rest * np.sin(angle), z
    if rng.random() < 0.75:
        return side * rng.uniform(12, 30), rng.uniform(42, 56), rng.uniform(-42, -28)
    return side * rng.uniform(0, 5), 12 + jitter[1], -26 + jitter[2]


def paint_bleed(
    hu: Array, space: Space, plan: Plan, home: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Paint blood with its rim of edema where `home` allows; return the mask of the blood.

    The blob is the least `volume_ml` of a noisy ellipsoid distance, so that the volume is exact.
    """
    box = space.ball(plan.center, 2.2 * max(plan.radii) + 8)
    near, part, room = space.within(box), hu[box], home[box]
    distance = ellipsoid(near, plan.center, plan.radii)
    distance += min(plan.radii) * 0.28 * smooth_noise(rng, part.shape, space.voxel_mm, 1.3 * min(plan.radii))
    distance += 0.6 * smooth_noise(rng, part.shape, space.voxel_mm, 5)
    voxels = round(plan.volume_ml * 1000 / float(np.prod(space.voxel_mm)))
    ranked = np.sort(distance[room])
    if len(ranked) <= voxels:
        raise ValueError(f"no room for {plan.volume_ml:.1f} ml: {len(ranked)} voxels, {voxels} needed")
    distance = distance - ranked[voxels]
    tissue = ndimage.gaussian_filter(room.astype(np.float32), (0, 0.5, 0.5))
    blend(part, tissue * inside(distance - plan.edema_mm, 2.5) * 0.8, 19)
    clot = plan.blood + 3.5 * smooth_noise(rng, part.shape, space.voxel_mm, 9)
    blend(part, tissue * inside(distance, 1.6), np.clip(clot, 52, 84))
    mask = np.zeros(hu.shape, dtype=np.bool_)
    mask[box] = (distance < 0) & room
    return mask


def push_midline(space: Space, shape: Surfaces, plan: Plan) -> Space:
    """Return the brain's coordinates with everything near the bleed moved away from it, the skull fixed."""
    reach = np.exp(
        -((space.y - plan.center[1]) ** 2 + (space.z - plan.center[2]) ** 2) / np.float32(2 * 28**2)
    )
    reach = reach * np.clip(-shape.cavity / 25, 0, 1)
    return Space(x=space.x + np.float32(plan.shift_mm) * reach, y=space.y, z=space.z, voxel_mm=space.voxel_mm)
