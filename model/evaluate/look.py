"""One slice of a table, read, prepared and measured; runs in processes that never load torch."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from model.errors import ImageSetError
from model.image_set import SliceRow, read_picture
from model.prepare import Frame, prepare
from model.window import WIDTH_HU

Picture = NDArray[np.float32]

# beside what `read_picture` names itself, what Pillow and numpy raise over damaged or absurd files
PICTURE_ERRORS = (
    ImageSetError, OSError, ValueError, SyntaxError, EOFError, OverflowError, MemoryError,
    Image.DecompressionBombError,
)  # fmt: skip
QUIET_TISSUE = (15 / WIDTH_HU, 45 / WIDTH_HU)  # window units that brain takes, blood left out
TISSUE_SMOOTHING, TISSUE_MARGIN = 2.0, 6  # pixels of the stored picture; edges are no noise
FEWEST_TISSUE = 200  # pixels
NOTHING_MEASURED = (float("nan"), float("nan"))


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A prepared `picture` (S, S), 0..1, and what is known of the stored one without looking for blood.

    `shape` (height, width) in pixels; `noise_hu`: spread of the brain's finest detail and of the next
    coarser, not a number where there is no brain to measure.
    """

    picture: Picture
    frame: Frame
    shape: tuple[int, int]
    noise_hu: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """A picture that could not be read, and why, without the folders that it lies in."""

    row: SliceRow
    why: str


def look(row: SliceRow, *, size: int) -> Seen | Unreadable:
    """Read and prepare one slice; what cannot be read is told, not raised: one bad file hides no other."""
    try:
        picture = read_picture(row.file)
    except PICTURE_ERRORS as error:
        # Pillow names the whole path, and folders may name patients
        words = str(error).replace(str(row.file), row.file.name)
        return Unreadable(row=row, why=words or type(error).__name__)
    return see(picture, size)


def see(picture: Picture, size: int) -> Seen:
    """Prepare and measure a picture in window units (H, W)."""
    prepared = prepare(picture, size)
    height, width = picture.shape
    return Seen(
        picture=prepared.picture, frame=prepared.frame, shape=(height, width), noise_hu=_noise_hu(picture)
    )


def _noise_hu(picture: Picture) -> tuple[float, float]:
    """Measure, robustly, what blurs of 1 and of 2 pixels take away within the brain."""
    smooth = ndimage.gaussian_filter(picture, TISSUE_SMOOTHING)
    low, high = QUIET_TISSUE
    tissue = ndimage.binary_erosion((smooth > low) & (smooth < high), iterations=TISSUE_MARGIN)
    if tissue.sum() < FEWEST_TISSUE:
        return NOTHING_MEASURED
    fine = ndimage.gaussian_filter(picture, 1.0)
    return _spread_hu(picture[tissue] - fine[tissue]), _spread_hu(fine[tissue] - smooth[tissue])


def _spread_hu(residual: Picture) -> float:
    return 1.4826 * WIDTH_HU * float(np.median(np.abs(residual)))  # a normal distribution's deviation
