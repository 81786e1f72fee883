"""Makes the small studies of a round; the number of a study decides all of it. Writes nothing."""

import hashlib

from builders import ct_series
from chaos.plan import Kind, PlannedStudy
from pydicom.dataset import Dataset

SIDE = 128
WHOLE_SLICES = 20  # 114 mm: looks whole while it arrives
LATE_SLICES = 6


def images_of(study: PlannedStudy) -> list[Dataset]:
    """The images of a study in the order of the scanner."""
    small = {"seed": study.number, "rows": SIDE, "columns": SIDE, "bleed": bool(study.number % 2)}
    match study.kind:
        case Kind.WHOLE | Kind.LATE:
            return ct_series(slices=WHOLE_SLICES, **small)
        case Kind.SHORT:
            return ct_series(slices=14, **small)
        case Kind.FEW:
            return ct_series(slices=5, **small)
        case Kind.BONE:
            return ct_series(slices=14, kernel="H70h", description="Head 5.0 H70h", **small)
        case Kind.LOCALIZER:
            return ct_series(slices=1, image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"), **small)
        case Kind.CHEST:
            words = {"body_part": "CHEST", "study_description": "CT CHEST", "description": "Chest 5.0"}
            return ct_series(slices=4, **words, **small)


def parts_of(study: PlannedStudy) -> list[list[Dataset]]:
    """The images in the parts in which they are sent, with a pause between."""
    images = images_of(study)
    if study.kind is Kind.LATE:
        return [images[:-LATE_SLICES], images[-LATE_SLICES:]]
    return [images]


def pixels_sha256(image: Dataset) -> str:
    """Name the pixels of an image."""
    return hashlib.sha256(image.PixelData).hexdigest()
