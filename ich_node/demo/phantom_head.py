"""Skull, scalp, face, neck and headrest of the head phantom. Pure functions over arrays."""

from dataclasses import dataclass

import numpy as np

from ich_node.demo.phantom_space import Array, Space, blend, ellipsoid, inside, ramp, smooth_noise


@dataclass(frozen=True, kw_only=True)
class Build:
    """One person's measures, in mm and HU. Sizes are of the cavity of the skull."""

    half_width: float
    half_length: float
    height: float
    egg: float
    bone_mm: float
    scalp_mm: float
    atrophy: float
    white: float
    gray: float
    csf: float
    diploe: float
    sinus: float


def draw_build(rng: np.random.Generator) -> Build:
    """Draw a person: adult sizes, older people more often with wide sulci and ventricles."""
    scale = rng.uniform(0.94, 1.05)
    white = rng.uniform(26.0, 30.0)
    return Build(
        half_width=rng.uniform(65, 72) * scale,
        half_length=rng.uniform(82, 90) * scale,
        height=rng.uniform(74, 84) * scale,
        egg=rng.uniform(0.03, 0.14),
        bone_mm=rng.uniform(5.0, 8.5),
        scalp_mm=rng.uniform(4.5, 8.5),
        atrophy=rng.uniform(0.5, 1.7),
        white=white,
        gray=white + rng.uniform(7.0, 10.0),
        csf=rng.uniform(5.0, 12.0),
        diploe=rng.uniform(500, 900),
        sinus=rng.uniform(0.6, 1.2),
    )


@dataclass(frozen=True, kw_only=True)
class Surfaces:
    """Signed distances in mm, below 0 inside: the cavity of the skull, its vault alone, the skin."""

    cavity: Array
    vault: Array
    skin: Array


def surfaces(space: Space, build: Build, rng: np.random.Generator) -> Surfaces:
    """Lay the cavity of the skull with its three fossae and the outside of the head."""
    radius = np.sqrt(space.x**2 + space.y**2 + space.z**2) + np.float32(1e-3)
    width = build.half_width * (1 + build.egg * space.y / radius)
    flat = np.abs(space.x / width) ** 2.3 + np.abs(space.y / build.half_length) ** 2.3
    up = np.where(space.z > 0, space.z / build.height, space.z / 78.0)
    vault = radius * (1 - (flat + np.abs(up) ** 2.3) ** (-1 / 2.3))
    down = np.where(space.z > 0, space.z / build.height, space.z / 150.0)
    outside = radius * (1 - (flat + np.abs(down) ** 2.3) ** (-1 / 2.3))
    thick = build.bone_mm + 1.5 * smooth_noise(rng, space.x.shape, space.voxel_mm, 45)
    scalp = build.scalp_mm + 1.2 * smooth_noise(rng, space.x.shape, space.voxel_mm, 60)
    cavity = np.maximum(vault, _floor(space, rng) - space.z)
    skin = outside - np.clip(thick, 3, 12) - np.clip(scalp, 3, 12)
    return Surfaces(
        cavity=cavity.astype(np.float32), vault=vault.astype(np.float32), skin=skin.astype(np.float32)
    )


def _floor(space: Space, rng: np.random.Generator) -> Array:
    """Height of the skull base: three fossae, petrous ridges, clivus, foramen magnum."""
    side = np.abs(space.x)
    ridge = space.y - (1 + np.float32(0.52) * side)
    bumps = smooth_noise(rng, space.x.shape, space.voxel_mm, 18)
    floor = -20 - 17 * ramp(space.y + 28, 5) * ramp(side - 9, 4) - 9 * ramp(space.y + 20, 6)
    floor = (
        floor
        + np.where(ridge > 0, -30 * ramp(ridge - 8, 9), 0)
        + 15 * np.exp(-((ridge / 7) ** 2)) * ramp(side - 12, 4)
    )
    foramen = np.sqrt(space.x**2 + (space.y - 24) ** 2) - 15
    return floor + 1.5 * bumps - 60 * inside(foramen, 4)


def paint_skull(hu: Array, space: Space, build: Build, shape: Surfaces, rng: np.random.Generator) -> None:
    """Paint scalp, the tissues of face and neck, and the skull with its tables and diploe."""
    wide = smooth_noise(rng, space.x.shape, space.voxel_mm, 45)
    fine = smooth_noise(rng, space.x.shape, space.voxel_mm, 7)
    _paint_soft(hu, space, shape, wide, fine)
    thick = np.clip(build.bone_mm + 1.8 * wide, 2.6, 12.0)
    thick = np.where(shape.cavity > shape.vault + 0.5, thick * 0.9 + 2 + 1.5 * fine, thick)
    depth = shape.cavity / np.clip(thick, 2, None)  # 0 inner table, 1 outer table
    tables = np.abs(depth - 0.5) * 2
    bone = build.diploe + 160 * fine + (1150 - build.diploe) * np.clip(tables, 0, 1) ** 2
    base = ramp(-space.z - 22, 6)
    bone = bone + base * (150 + 180 * fine)
    shell = inside(-shape.cavity, 1.2) * inside(shape.cavity - thick, 1.2) * inside(shape.skin + 2.5, 1.0)
    blend(hu, shell, np.clip(bone, 350, 1500))


def _paint_soft(hu: Array, space: Space, shape: Surfaces, wide: Array, fine: Array) -> None:
    """Paint skin, fat and muscle over everything inside the skin; deep fat planes only in face and neck."""
    blend(hu, inside(shape.skin, 1.0), -65 + 8 * fine)
    low = ramp(-space.z - 12, 14)
    muscle = inside(shape.skin + 3.5 + 3 * wide, 1.5) * low * ramp(fine + wide + 0.9, 0.3)
    temporal = (
        inside(np.abs(np.abs(space.x) - 74) - 7, 2)
        * ramp(12 - np.abs(space.y + 22) / 2, 3)
        * ramp(22 - space.z, 10)
    )
    blend(hu, np.maximum(muscle, temporal * inside(shape.skin + 4)), 55 + 6 * fine)
    blend(hu, inside(np.abs(shape.skin + 1.2) - 1.2, 1.0), 45)


def paint_face(hu: Array, space: Space, build: Build, rng: np.random.Generator) -> None:
    """Paint orbits, air of nose and sinuses, mastoid cells, nasal septum and the first vertebra."""
    fine = smooth_noise(rng, space.x.shape, space.voxel_mm, 6)
    for side in (-1.0, 1.0):
        _paint_orbit(hu, space, side, rng)
        _pocket(hu, space, fine, (side * 27, -60, -58), (14 * build.sinus, 17, 17))
        _pocket(hu, space, fine - 0.4, (side * 7, -58, -34), (7, 26, 13))
        _pocket(hu, space, fine * 3 - 1.2, (side * 56, 22, -44), (9, 13, 15))
        _pocket(hu, space, fine, (side * 64, 6, -44), (12, 3, 3))
        _pocket(hu, space, fine - 0.2, (side * 10, -83, -12), (11 * build.sinus, 5, 10 * build.sinus))
        _bone(hu, space, fine, (side * 24, 26, -84), (11, 11, 8))
        _bone(hu, space, fine, (side * 55, -38, -52), (6, 20, 4))
    _pocket(hu, space, fine, (0, -24, -42), (12 * build.sinus, 11, 8))
    _pocket(hu, space, fine, (0, -40, -68), (14, 24, 12))
    _bone(hu, space, fine, (0, -62, -50), (1.3, 34, 22))
    _bone(hu, space, fine, (0, 5, -78), (10, 7, 12))


def _paint_orbit(hu: Array, space: Space, side: float, rng: np.random.Generator) -> None:
    box = space.ball((side * 32, -62, -32), 26)
    near, part = space.within(box), hu[box]
    orbit = ellipsoid(near, (side * 32, -62, -32), (18, 24, 17))
    blend(part, inside(np.abs(orbit + 0) - 1.4), 650)
    blend(part, inside(orbit + 1), -85)
    look = rng.uniform(-2, 2)
    blend(part, inside(ellipsoid(near, (side * 33 + look, -76, -32), (12, 12, 12))), 42)
    blend(part, inside(ellipsoid(near, (side * 33 + look, -76, -32), (11, 11, 11))), 12)
    blend(part, inside(ellipsoid(near, (side * 33 + look, -85, -32), (4.5, 2.2, 4.5))), 75)
    blend(part, inside(ellipsoid(near, (side * 27, -54, -32), (2.2, 17, 2.2))), 35)
    for x, z in ((41, -32), (22, -32), (32, -20), (32, -43)):
        blend(part, inside(ellipsoid(near, (side * x, -58, z), (1.9, 15, 1.9))), 55)


def _pocket(
    hu: Array,
    space: Space,
    fine: Array,
    center: tuple[float, float, float],
    radii: tuple[float, float, float],
) -> None:
    """Paint an air cell with a thin bony wall; the noise makes its edge ragged."""
    box = space.ball(center, max(radii))
    distance = ellipsoid(space.within(box), center, radii) - fine[box]
    blend(hu[box], inside(distance - 1.3), 600)
    blend(hu[box], inside(distance + 0.5), -950)


def _bone(
    hu: Array,
    space: Space,
    fine: Array,
    center: tuple[float, float, float],
    radii: tuple[float, float, float],
) -> None:
    box = space.ball(center, max(radii))
    distance = ellipsoid(space.within(box), center, radii) - 0.5 * fine[box]
    blend(hu[box], inside(distance), 620 + 180 * fine[box])


def paint_headrest(hu: Array, across: Array, down: Array, back_mm: float, rng: np.random.Generator) -> None:
    """Paint one of four kinds of headrest behind the head; coordinates are the table's, in mm (H, W).

    `back_mm` is where the head ends; a rest may touch it or stay some mm away.
    """
    kind = int(rng.integers(0, 4))
    top = back_mm + rng.choice([-0.5, rng.uniform(1, 9)])
    radius, wall = rng.uniform(95, 150), rng.uniform(1.6, 4.0)
    middle = top - radius
    cradle = np.sqrt(across**2 + (down - middle) ** 2) - radius  # 0 on the inner face
    cradle = np.where(down > middle, cradle, radius)  # the lower half of the circle only
    shell = inside(np.abs(cradle - wall / 2) - wall / 2) * inside(np.abs(across) - rng.uniform(55, 95), 3)
    if kind == 0:  # carbon shell
        blend(hu, shell, rng.uniform(-150, 150))
    elif kind == 1:  # foam between two skins
        foam = inside(np.abs(cradle - 9) - 8) * inside(np.abs(across) - 80, 3)
        blend(hu, foam, rng.uniform(-960, -880))
        blend(hu, np.maximum(shell, inside(np.abs(cradle - 17) - 1.0) * inside(np.abs(across) - 80)), 60)
    elif kind == 2:  # a cushion that fits, on a flat board
        blend(hu, inside(np.abs(cradle - 5) - 4.5) * inside(np.abs(across) - 70, 3), rng.uniform(-920, -820))
        blend(hu, inside(np.abs(down - top - 14) - 2), rng.uniform(20, 260))
    else:  # thin shell, much brighter edge
        blend(hu, shell * inside(cradle - 3), rng.uniform(80, 450))
