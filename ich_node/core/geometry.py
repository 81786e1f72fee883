"""How the slices of one candidate lie: order along the normal, steps, gaps, tilt. Pure; lengths in mm."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from ich_node.core.instances import InstanceFacts, Orientation, Vector

SAME_POSITION_MM = 0.01  # closer centers are the same slice; scanners write positions to 0.001 mm or better
GAP_FACTOR = 1.5  # a step above this multiple of the local median is a gap
_NEIGHBOURS = 3  # steps on either side that make the local median
_UNEVEN = 0.2  # steps that differ by more of their median have no common spacing
_PLANE_ANGLE_DEG = 36.0  # gantries tilt up to 30 degrees; halfway to the next plane nothing is axial
_SIDEWAYS_MM = 3.0  # a slice this far off the line of the others contradicts them


@dataclass(frozen=True, kw_only=True)
class Slice:
    """One image of a stack: `distance_mm` along the normal, rising from foot to head."""

    sop_instance_uid: str
    frame: int
    position: Vector
    distance_mm: float


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Measures of a stack; `slice_spacing_mm` is None where the steps differ by over 20 %."""

    slices: int
    rows: int
    columns: int
    pixel_spacing_mm: tuple[float, float] | None
    slice_spacing_mm: float | None
    tilt_deg: float
    orientation: str | None
    gaps: int
    duplicates: int
    span_mm: float
    straight: bool
    order: tuple[str, ...]


def cross(a: Vector, b: Vector) -> Vector:
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


def dot(a: Vector, b: Vector) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _minus(a: Vector, b: Vector) -> Vector:
    return (a[0] - b[0], a[1] - b[1], a[2] - b[2])


def normal_of(orientation: Orientation) -> Vector:
    """Compute the unit normal of an image plane (PS3.3 C.7.6.2.1.1), turned to point to the head."""
    normal = cross(orientation[:3], orientation[3:])
    length = math.sqrt(dot(normal, normal)) or 1.0
    sign = -1.0 if normal[2] < 0 else 1.0
    return (sign * normal[0] / length, sign * normal[1] / length, sign * normal[2] / length)


def orientation_of(facts: Sequence[InstanceFacts]) -> Orientation | None:
    """Return the orientation of a stack: that of its first instance by UID that has one."""
    oriented = [fact for fact in facts if fact.orientation is not None]
    return min(oriented, key=lambda fact: fact.sop_instance_uid).orientation if oriented else None


def plane_of(orientation: Orientation) -> str:
    """Name the plane by its cosines alone: axial, coronal, sagittal or oblique; never by ImageType."""
    normal = normal_of(orientation)
    names = ("sagittal", "coronal", "axial")
    axis = max(range(3), key=lambda index: abs(normal[index]))
    return names[axis] if abs(normal[axis]) >= math.cos(math.radians(_PLANE_ANGLE_DEG)) else "oblique"


def stack(facts: Sequence[InstanceFacts], orientation: Orientation) -> list[Slice]:
    """Order all frames with a position along the normal, foot to head; ties by UID, never by number."""
    normal = normal_of(orientation)
    slices = [
        Slice(
            sop_instance_uid=fact.sop_instance_uid,
            frame=frame,
            position=plane.position,
            distance_mm=dot(plane.position, normal),
        )
        for fact in facts
        for frame, plane in enumerate(fact.planes)
        if plane.position is not None
    ]
    return sorted(slices, key=lambda one: (one.distance_mm, one.sop_instance_uid, one.frame))


def levels(slices: Sequence[Slice], *, within_mm: float = SAME_POSITION_MM) -> list[list[Slice]]:
    """Gather ordered slices that lie at the same place; a level of several holds duplicates."""
    gathered: list[list[Slice]] = []
    for one in slices:
        if gathered and one.distance_mm - gathered[-1][0].distance_mm < within_mm:
            gathered[-1].append(one)
        else:
            gathered.append([one])
    return gathered


def gaps(steps: Sequence[float]) -> int:
    """Count steps over 1.5 times the local median: variable spacing is no gap, a lost slice is."""
    count = 0
    for index, step in enumerate(steps):
        around = steps[max(0, index - _NEIGHBOURS) : index + _NEIGHBOURS + 1]
        count += step > GAP_FACTOR * median(around)
    return count


def common_step_mm(steps: Sequence[float]) -> float | None:
    """Compute the median step, None where there is none or the steps differ by over 20 % of it."""
    if not steps:
        return None
    middle = median(steps)
    return None if max(steps) - min(steps) > _UNEVEN * middle else middle


def _sideways_mm(first: Vector, last: Vector, one: Vector) -> float:
    """Measure how far a position lies off the line through the first and the last."""
    line, offset = _minus(last, first), _minus(one, first)
    length = math.sqrt(dot(line, line))
    if length == 0:
        return 0.0
    away = cross(line, offset)
    return math.sqrt(dot(away, away)) / length


def _is_straight(slices: Sequence[Slice]) -> bool:
    return all(
        _sideways_mm(slices[0].position, slices[-1].position, one.position) <= _SIDEWAYS_MM for one in slices
    )


def _angle_deg(a: Vector, b: Vector) -> float:
    lengths = math.sqrt(dot(a, a) * dot(b, b))
    return math.degrees(math.acos(min(1.0, abs(dot(a, b)) / lengths))) if lengths else 0.0


def _tilt_deg(slices: Sequence[Slice], orientation: Orientation) -> float:
    """Measure the tilt of the gantry: between the normal and the way of the table, for one axial slice the
    upright. GantryDetectorTilt is not asked: makers differ in its sign, some write 0, and volumes that were
    straightened keep it.
    """
    normal = normal_of(orientation)
    if len(slices) > 1:
        return _angle_deg(normal, _minus(slices[-1].position, slices[0].position))
    return _angle_deg(normal, (0.0, 0.0, 1.0)) if plane_of(orientation) == "axial" else 0.0


def measure(facts: Sequence[InstanceFacts]) -> Geometry | None:
    """Measure the stack that the instances of a candidate make; None where no position is known."""
    orientation = orientation_of(facts)
    if orientation is None:
        return None
    ordered = stack(facts, orientation)
    if not ordered:
        return None
    first = min(facts, key=lambda fact: fact.sop_instance_uid)
    gathered = levels(ordered)
    kept = [level[0] for level in gathered]
    steps = [after.distance_mm - before.distance_mm for before, after in pairwise(kept)]
    return Geometry(
        slices=len(kept),
        rows=first.rows,
        columns=first.columns,
        pixel_spacing_mm=first.pixel_spacing,
        slice_spacing_mm=common_step_mm(steps),
        tilt_deg=_tilt_deg(kept, orientation),
        orientation=plane_of(orientation),
        gaps=gaps(steps),
        duplicates=len(ordered) - len(kept),
        span_mm=kept[-1].distance_mm - kept[0].distance_mm,
        straight=_is_straight(kept),
        order=tuple(one.sop_instance_uid for one in kept),
    )
