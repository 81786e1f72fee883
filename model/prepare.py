"""From a slice to the network's picture: one function for training and node, so that both see the same."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.brace import Mask, remove_brace

Picture = NDArray[np.float32]

HEAD_SHARE = 0.92  # of the picture's side that the longer side of the head's box takes


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """`picture` (size, size), 0..1, all zero where no head was found; `tripped`: the brace stayed in."""

    picture: Picture
    tripped: bool


def prepare(picture: Picture, size: int) -> Prepared:
    """Prepare a slice in window units (H, W), 0..1: brace removed, head centred and scaled to a fixed share.

    The resampling averages when it shrinks, so pictures of any size meet.
    """
    brace = remove_brace(picture)
    if not brace.holds_head:
        return Prepared(picture=np.zeros((size, size), dtype=np.float32), tripped=False)
    content = brace.mask if not brace.tripped else picture > 0
    return Prepared(picture=_centre(np.where(brace.mask, picture, 0), content, size), tripped=brace.tripped)


def _centre(picture: Picture, content: Mask, size: int) -> Picture:
    rows, columns = np.flatnonzero(content.any(axis=1)), np.flatnonzero(content.any(axis=0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    side = int(np.ceil(max(bottom - top, right - left) / HEAD_SHARE))
    square = np.zeros((side, side), dtype=np.float32)
    y, x = (side - (bottom - top)) // 2, (side - (right - left)) // 2
    square[y : y + bottom - top, x : x + right - left] = picture[top:bottom, left:right]
    resized = Image.fromarray(square).resize((size, size), Image.Resampling.BILINEAR)
    return np.clip(np.asarray(resized, dtype=np.float32), 0.0, 1.0)
