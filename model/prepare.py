"""From a slice to the network's picture: one function for training and node, so that both see the same."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.brace import Mask, remove_brace

Picture = NDArray[np.float32]

HEAD_SHARE = 0.92  # of the picture's side that the longer side of the head's box takes


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The square of a slice, in its pixels, that a prepared picture shows; it may reach outside."""

    top: int
    left: int
    side: int


NO_FRAME = Frame(top=0, left=0, side=0)


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """`picture` (size, size), 0..1, all zero where no head was found; `tripped`: the brace stayed in.

    `frame` is what the picture shows, of side 0 where no head was found.
    """

    picture: Picture
    tripped: bool
    frame: Frame


def prepare(picture: Picture, size: int) -> Prepared:
    """Prepare a slice in window units (H, W), 0..1: brace removed, head centred and scaled to a fixed share.

    The resampling averages when it shrinks, so pictures of any size meet.
    """
    brace = remove_brace(picture)
    if not brace.holds_head:
        empty = np.zeros((size, size), dtype=np.float32)
        return Prepared(picture=empty, tripped=False, frame=NO_FRAME)
    content = brace.mask if not brace.tripped else picture > 0
    centred, frame = _centre(np.where(brace.mask, picture, 0), content, size)
    return Prepared(picture=centred, tripped=brace.tripped, frame=frame)


def _centre(picture: Picture, content: Mask, size: int) -> tuple[Picture, Frame]:
    rows, columns = np.flatnonzero(content.any(axis=1)), np.flatnonzero(content.any(axis=0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    side = int(np.ceil(max(bottom - top, right - left) / HEAD_SHARE))
    square = np.zeros((side, side), dtype=np.float32)
    y, x = (side - (bottom - top)) // 2, (side - (right - left)) // 2
    square[y : y + bottom - top, x : x + right - left] = picture[top:bottom, left:right]
    resized = Image.fromarray(square).resize((size, size), Image.Resampling.BILINEAR)
    frame = Frame(top=int(top - y), left=int(left - x), side=side)
    return np.clip(np.asarray(resized, dtype=np.float32), 0.0, 1.0), frame
