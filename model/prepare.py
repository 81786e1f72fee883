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
    """`picture` (size, size), 0..1, all zero where no head was found.

    `tripped`: several pieces may be the head. `frame` is what the picture shows, of side 0 where there is no
    head.
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
    # the frame lies round the body: an ear or a fold of skin must not change the head's scale
    centred, frame = _centre(np.where(brace.mask, picture, 0), brace.body, size)
    return Prepared(picture=centred, tripped=brace.tripped, frame=frame)


def _centre(picture: Picture, body: Mask, size: int) -> tuple[Picture, Frame]:
    rows, columns = np.flatnonzero(body.any(axis=1)), np.flatnonzero(body.any(axis=0))
    height, width = rows[-1] + 1 - rows[0], columns[-1] + 1 - columns[0]
    side = int(np.ceil(max(height, width) / HEAD_SHARE))
    frame = Frame(
        top=int(rows[0] - (side - height) // 2), left=int(columns[0] - (side - width) // 2), side=side
    )
    resized = Image.fromarray(_cut_out(picture, frame)).resize((size, size), Image.Resampling.BILINEAR)
    return np.clip(np.asarray(resized, dtype=np.float32), 0.0, 1.0), frame


def _cut_out(picture: Picture, frame: Frame) -> Picture:
    square = np.zeros((frame.side, frame.side), dtype=np.float32)
    top, left = max(0, frame.top), max(0, frame.left)
    part = picture[top : frame.top + frame.side, left : frame.left + frame.side]
    square[top - frame.top :, left - frame.left :][: part.shape[0], : part.shape[1]] = part
    return square
