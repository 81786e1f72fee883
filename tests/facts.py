"""Builds header facts for tests: one axial head CT unless told otherwise."""

from collections.abc import Sequence
from typing import Any

from ich_node.core.instances import InstanceFacts, Orientation, Plane

AXIAL: Orientation = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL: Orientation = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
CT, CAPTURE, REPORT = (f"1.2.840.10008.5.1.4.1.1.{tail}" for tail in ("2", "7", "88.33"))


def fact(index: int = 0, z_mm: float | None = 0.0, *, series: str = "1.2", **changes: Any) -> InstanceFacts:
    orientation = changes.pop("orientation", AXIAL)
    position = None if z_mm is None else (0.0, 0.0, z_mm) if orientation == AXIAL else (0.0, z_mm, 0.0)
    values: dict[str, Any] = {
        "sop_instance_uid": f"{series}.{index}",
        "sop_class_uid": CT,
        "series_uid": series,
        "study_uid": "1",
        "modality": "CT",
        "series_number": int(series.rsplit(".", 1)[-1]),
        "instance_number": index,
        "series_description": "Brain 5.0",
        "image_type": ("ORIGINAL", "PRIMARY", "AXIAL"),
        "kernel": "H31s",
        "slice_thickness_mm": 5.0,
        "patient_age_years": 70.0,
        "rows": 512,
        "columns": 512,
        "bits_allocated": 16,
        "bits_stored": 12,
        "pixel_spacing": (0.45, 0.45),
        "planes": (Plane(position=position, orientation=orientation),),
        "patient_key": "somebody",
    }
    return InstanceFacts(**(values | changes))


def stack(heights: Sequence[float | None] | None = None, **changes: Any) -> list[InstanceFacts]:
    """A series of 30 slices, 5 mm apart, or of the given heights."""
    heights = [5.0 * index for index in range(30)] if heights is None else heights
    return [fact(index, z_mm, **changes) for index, z_mm in enumerate(heights)]
