"""A key slice of a report and how it is painted: the image, and a line round what spoke for blood in it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from skimage.measure import find_contours

OUTLINE = "#00e5ff"  # no tissue has a color, and no outcome has this one
_SHADOW = "#000000"
_LEVEL = 0.5  # of the heat: from here on more speaks for blood than against it
_LINE, _SHADOW_LINE = 2, 4  # widths in pixels of the page
_LEAST = 14  # pixels of the page: a smaller line would lie on what it encloses
_FINER = 4  # the line is drawn so many times larger and averaged: no stairs


@dataclass(frozen=True, kw_only=True)
class KeySlice:
    """A slice to look at first: `picture` (H, W) is 0 to 255 in the brain window.

    `heat` (H, W) is 0..1: what speaks for blood at each pixel; None where it may not be shown.
    """

    sop_instance_uid: str
    picture: NDArray[np.uint8]
    heat: NDArray[np.float32] | None = None

    @property
    def outlined(self) -> bool:
        """Whether there is something to draw a line round."""
        return self.heat is not None and bool((self.heat > _LEVEL).any())


def paint(key_slice: KeySlice, side: int) -> Image.Image:
    """Paint the slice in its own proportions, its longer edge `side` pixels long.

    What spoke for blood is not filled but outlined: the blood beneath is for the reader to see.
    """
    rows, columns = key_slice.picture.shape
    scale = side / max(rows, columns)
    size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    shown = Image.fromarray(key_slice.picture).resize(size, Image.Resampling.LANCZOS).convert("RGB")
    if key_slice.heat is not None and key_slice.outlined:
        contours = _contours(key_slice.heat, size)
        for color, width in ((_SHADOW, _SHADOW_LINE), (OUTLINE, _LINE)):
            shown.paste(color, mask=_line(contours, size, width))
    return shown


def _contours(heat: NDArray[np.float32], size: tuple[int, int]) -> list[NDArray[np.float64]]:
    """Where the heat passes the level: closed lines of (x, y), in pixels of a picture of this size."""
    rim = np.pad(heat, 1)  # what reaches the edge of the slice is closed along the edge
    per_pixel = np.array(size) / (heat.shape[1], heat.shape[0])
    # the first pixel's center is 0.5 and was moved by the rim
    return [_widened((line[:, ::-1] - 0.5) * per_pixel) for line in find_contours(rim, _LEVEL)]


def _widened(contour: NDArray[np.float64]) -> NDArray[np.float64]:
    lowest, highest = contour.min(axis=0), contour.max(axis=0)
    center, extent = (lowest + highest) / 2, np.maximum(highest - lowest, 1e-9)  # it may be a point
    widened: NDArray[np.float64] = center + (contour - center) * np.maximum(1.0, _LEAST / extent)
    return widened


def _line(contours: list[NDArray[np.float64]], size: tuple[int, int], width: int) -> Image.Image:
    """How much of each pixel the line covers, 0 to 255."""
    finer = Image.new("L", (size[0] * _FINER, size[1] * _FINER))
    draw = ImageDraw.Draw(finer)
    for contour in contours:
        points = [(float(x), float(y)) for x, y in contour * _FINER]
        draw.line([*points, *points[1:2]], fill=255, width=width * _FINER, joint="curve")
    return finer.resize(size, Image.Resampling.BOX)
