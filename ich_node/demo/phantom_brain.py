"""Brain of the head phantom: cortex, nuclei, ventricles, cisterns, dura, calcifications. Pure functions."""

import numpy as np

from ich_node.demo.phantom_head import Build, Surfaces
from ich_node.demo.phantom_space import Array, Space, blend, ellipsoid, inside, ramp, smooth_noise

Point = tuple[float, float, float]


def below_tentorium(space: Space) -> Array:
    """Measure the share 0..1 of each voxel behind the petrous ridges and under the tentorium."""
    side = np.abs(space.x)
    tent = 5 - 0.48 * side - 0.4 * np.clip(space.y - 30, 0, None)
    behind = ramp(space.y - (0 + 0.45 * side), 2)
    return inside(space.z - tent, 1.5) * behind


def paint_brain(hu: Array, space: Space, build: Build, shape: Surfaces, rng: np.random.Generator) -> Array:
    """Paint all that lies inside the skull; return the share 0..1 of each voxel that is brain tissue."""
    cavity = inside(shape.cavity, 1.0)
    blend(hu, cavity, build.csf)
    depth = -shape.cavity - (0.8 + 1.1 * build.atrophy)  # mm under the pia
    gyri = smooth_noise(rng, space.x.shape, space.voxel_mm, 22)
    gyri += 0.4 * smooth_noise(rng, space.x.shape, space.voxel_mm, 12)
    brain = inside(-depth, 1.0)
    lower = below_tentorium(space)
    sulci = _sulci(space, build, depth, gyri) * (1 - lower)
    blend(hu, brain, _cerebrum(space, build, depth, gyri))
    blend(hu, brain * lower, _cerebellum(space, build, rng))
    blend(hu, brain * sulci, build.csf + 4)
    _paint_nuclei(hu, space, build)
    ventricles = _paint_fluid(hu, space, build, cavity, rng)
    _paint_sheets(hu, space, build, shape, cavity=cavity, lower=lower)
    _paint_calcium(hu, space, rng)
    return brain * (1 - sulci) * (1 - ventricles)


def _sulci(space: Space, build: Build, depth: Array, gyri: Array) -> Array:
    """Clefts that follow the zero surface of a smooth noise, wide at the surface and closed at depth."""
    wide = 0.06 + 0.15 * build.atrophy
    reach = np.sqrt(1 - np.clip(depth / (10 + 6 * build.atrophy), 0, 1))
    width: Array = np.abs(gyri) - wide * reach
    return inside(width, 0.16) * ramp(reach - 0.1, 0.2)


def _cerebrum(space: Space, build: Build, depth: Array, gyri: Array) -> Array:
    """Cortex along the surface and along the sulci, white matter inside."""
    folds = inside(np.abs(gyri) - 0.5, 0.3) * inside(depth - 17, 5)
    cortex = np.maximum(inside(depth - 3.5, 2), folds)
    middle = inside(np.abs(space.x) - 5, 2) * ramp(space.z - 26, 4)
    insula = inside(np.abs(np.abs(space.x) - 42) - 3, 2) * inside(np.abs(space.y + 4) - 20, 3)
    insula = insula * inside(np.abs(space.z - 4) - 14, 3)
    gray = np.maximum(np.maximum(cortex, middle), insula)
    hu: Array = build.white + (build.gray - build.white) * gray
    return hu


def _cerebellum(space: Space, build: Build, rng: np.random.Generator) -> Array:
    folia = smooth_noise(rng, space.x.shape, space.voxel_mm, 7)
    deep = inside(ellipsoid(space, (0, 42, -36), (30, 15, 12)), 6)
    stem = inside(np.sqrt(space.x**2 + (space.y - 14) ** 2) - 17, 3)
    core = np.maximum(deep, stem)
    hu: Array = build.gray - 1 + folia * (1 - core) * 2.0 - core * (build.gray - build.white) * 0.6
    return hu


def _paint_nuclei(hu: Array, space: Space, build: Build) -> None:
    """Paint caudate head, lentiform nucleus and thalamus of both sides and the white corpus callosum."""
    _put(hu, space, (0, -33, 12), (13, 5, 6), build.white - 1)
    _put(hu, space, (0, 28, 14), (15, 5, 6), build.white - 1)
    for side in (-1.0, 1.0):
        _put(hu, space, (side * 17, -24, 8), (5, 9, 10), build.gray)
        _put(hu, space, (side * 29, -6, 3), (7, 17, 11), build.gray)
        _put(hu, space, (side * 11, 9, 4), (8, 14, 9), build.gray - 1)


def _put(
    hu: Array, space: Space, center: Point, radii: Point, value: float, *, edge_mm: float = 2.0
) -> Array:
    box = space.ball(center, max(radii))
    share = inside(ellipsoid(space.within(box), center, radii), edge_mm)
    blend(hu[box], share, value)
    return share


def _ventricle_parts(build: Build, rng: np.random.Generator) -> list[tuple[Point, Point]]:
    """Ellipsoids that make up the ventricles; each side has its own width."""
    parts: list[tuple[Point, Point]] = [
        ((0, 2, -1), (0.9 + 1.3 * build.atrophy, 13, 9)),
        ((0, 36, -36), (6.5, 4.5, 8)),
        ((0, 30, -24), (1.4, 2.5, 8)),
    ]
    for side in (-1.0, 1.0):
        wide = 2.2 + 2.6 * build.atrophy * rng.uniform(0.8, 1.2)
        parts += [
            ((side * (5 + wide), -28, 11), (wide, 14, 8)),
            ((side * (8 + wide), -6, 21), (wide + 1, 24, 5.5)),
            ((side * (14 + wide), 18, 19), (wide + 1, 13, 7)),
            ((side * (22 + wide), 34, 9), (wide + 1.5, 11, 10)),
            ((side * (21 + wide), 50, 6), (wide * 0.7, 15, 5)),
            ((side * 33, 14, -16), (1.2 + build.atrophy, 15, 2.6)),
        ]
    return parts


def _paint_fluid(hu: Array, space: Space, build: Build, cavity: Array, rng: np.random.Generator) -> Array:
    """Paint ventricles and cisterns; return the share of each voxel that is fluid."""
    fluid = np.zeros_like(hu)
    wavy = smooth_noise(rng, space.x.shape, space.voxel_mm, 14)
    wide = 0.6 + 0.5 * build.atrophy
    cisterns: list[tuple[Point, Point]] = [
        ((0, -12, -26), (11 * wide, 7 * wide, 6)),
        ((0, -2, -27), (15 * wide, 4, 5)),
        ((0, 31, -2), (9 * wide, 3.4 * wide, 5)),
        ((0, -3, -36), (10, 3.2 * wide, 12)),
        ((0, 58, -56), (11, 9 * wide, 6)),
    ]
    for side in (-1.0, 1.0):
        cisterns += [
            ((side * 17, 18, -6), (2.0 * wide, 13, 5)),
            ((side * 30, -21, -20), (20, 2.6 * wide, 4)),
            ((side * 46, -6, 1), (3.0 * wide, 17, 12)),
            ((side * 57, -8, 0 + rng.uniform(-3, 4)), (15, 20, 1.7 * wide)),
            ((side * 18, 16, -38), (8, 4 * wide, 6)),
        ]
    for center, radii in _ventricle_parts(build, rng) + cisterns:
        box = space.ball(center, max(radii))
        distance = ellipsoid(space.within(box), center, radii) + 0.5 * wavy[box]
        fluid[box] = np.maximum(fluid[box], inside(distance, 1.2))
    fluid *= cavity
    blend(hu, fluid, build.csf)
    return fluid


def _paint_sheets(
    hu: Array, space: Space, build: Build, shape: Surfaces, *, cavity: Array, lower: Array
) -> None:
    """Paint falx with the fluid beside it, tentorium, and the large venous sinuses."""
    around = np.sqrt((space.y / 46) ** 2 + ((space.z - 4) / 33) ** 2)
    where = ramp(around - 1, 0.06) * cavity * (1 - lower)
    bend = 0.8 * np.sin(space.y / 17) + 0.5 * np.sin(space.z / 11)
    blend(hu, inside(np.abs(space.x + bend) - 0.5 - 0.9 * build.atrophy) * where, build.csf + 6)
    blend(hu, inside(np.abs(space.x + bend) - 0.6) * where, 48)
    side = np.abs(space.x)
    tent = 5 - 0.48 * side - 0.4 * np.clip(space.y - 30, 0, None)
    leaf = inside(np.abs(space.z - tent) - 0.7, 1.5) * cavity * ramp(space.y - 24 - 0.1 * side, 3)
    blend(hu, leaf * ramp(side - 10 + 0.4 * np.clip(space.y - 30, 0, 30), 3), 44)
    sagittal = (
        inside(np.sqrt(space.x**2 + (shape.vault + 3.5) ** 2) - 3.4)
        * ramp(space.y + 20, 10)
        * ramp(space.z, 10)
    )
    blend(hu, sagittal * cavity, 50)


def _paint_calcium(hu: Array, space: Space, rng: np.random.Generator) -> None:
    """Paint what is bright and no blood: pineal, choroid plexus, now and then pallidum, falx and arteries."""
    if rng.random() < 0.7:
        r = rng.uniform(1.5, 3.5)
        _put(hu, space, (rng.uniform(-1, 1), 24, 3), (r, r, r * 1.2), rng.uniform(70, 260), edge_mm=1.2)
    for side in (-1.0, 1.0):
        if rng.random() < 0.7:
            r = rng.uniform(1.5, 4.0)
            center = (side * (26 + rng.uniform(-2, 3)), 34 + rng.uniform(-3, 3), 8 + rng.uniform(-3, 3))
            _put(hu, space, center, (r, r * 1.4, r), rng.uniform(45, 260), edge_mm=1.2)
        if rng.random() < 0.5:
            _put(
                hu,
                space,
                (side * 9, -7 + rng.uniform(-3, 3), -28),
                (2.2, 2.2, 5),
                rng.uniform(60, 250),
                edge_mm=1.5,
            )
    if rng.random() < 0.15:
        for side in (-1.0, 1.0):
            r = rng.uniform(2, 4.5)
            _put(hu, space, (side * 22, -3, 2), (r, r * 1.6, r), rng.uniform(50, 110), edge_mm=3.0)
    if rng.random() < 0.2:
        _put(hu, space, (0.5, -58, rng.uniform(20, 45)), (1.6, 7, 5), rng.uniform(120, 500), edge_mm=1.2)
