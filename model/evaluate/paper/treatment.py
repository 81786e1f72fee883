"""The paper's preprocessing (section 2.2.1), not the node's: frame, brace removal, resize, centre crop."""

import csv
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage.measure import label
from skimage.morphology import disk

from model.image_set import SliceRow, read_picture

Picture = NDArray[np.float32]
Mask = NDArray[np.bool_]
Bytes = NDArray[np.uint8]
FOREGROUND = 3 / 255  # the authors' binarization: above 3 of 255
RADIUS = 3  # of the disk, in a frame of 512
FRAME = 512
RESIZED_SHARE = 256 / 224  # resized to 256, of which 224 are cut from the centre
CROP_COLUMNS = ("frame_size", "crop_left", "crop_top", "crop_size")


@dataclass(frozen=True, kw_only=True)
class Crop:
    """Which square of the scanner's frame a stored picture is, in the frame's pixels."""

    frame_size: int
    crop_left: int
    crop_top: int
    crop_size: int


@dataclass(frozen=True, kw_only=True)
class Stages:
    """What Figure 1 shows of a slice: all (H, W), the pictures 0..1."""

    original: Picture
    binary: Mask
    eroded: Mask
    mask: Mask
    treated: Picture


def read_crops(table: Path) -> dict[str, Crop]:
    """Return the crop of each path of a slices.csv; empty where the columns are missing or a cell is."""
    with table.open(newline="", encoding="utf-8-sig") as stream:
        lines = [line for line in csv.DictReader(stream) if all(line.get(c) for c in CROP_COLUMNS)]
    return {line["path"]: Crop(**{c: int(line[c]) for c in CROP_COLUMNS}) for line in lines}


def into_frame(picture: Picture, crop: Crop | None) -> Picture:
    """Paste a stored picture back to where it was in the frame, black elsewhere; the same without a crop."""
    if crop is None:
        return picture
    side = (crop.crop_size, crop.crop_size)
    pasted = Image.new("F", (crop.frame_size, crop.frame_size))
    pasted.paste(
        Image.fromarray(picture).resize(side, Image.Resampling.BILINEAR), (crop.crop_left, crop.crop_top)
    )
    return np.asarray(pasted, dtype=np.float32)


def remove_brace_as_authors(picture: Picture) -> Stages:
    """Keep the largest solid thing after an erosion, its inside included, and black out the rest.

    The paper's steps with the parameters of the authors' notebook; holes are filled from the whole border
    instead of one corner, and nothing is scaled slice by slice: the window is fixed.
    """
    radius = max(1, round(RADIUS * max(picture.shape) / FRAME))
    binary = picture > FOREGROUND
    eroded = ndimage.binary_erosion(binary, disk(radius))
    solid = label(_filled(eroded), connectivity=2)
    sizes = np.bincount(solid.ravel())
    sizes[0] = 0
    largest = (solid == sizes.argmax()) & (sizes.max() > 0)
    grown = ndimage.binary_dilation(largest, disk(radius))
    grown[:, [0, -1]] = False  # edge columns, as in the paper
    mask = _filled(grown)
    return Stages(
        original=picture,
        binary=binary,
        eroded=eroded,
        mask=mask,
        treated=np.where(mask, picture, np.float32(0)),
    )


def _filled(mask: Mask) -> Mask:
    """Fill what the border cannot reach."""
    outside = label(np.pad(~mask, 1, constant_values=True), connectivity=1)
    return np.asarray(outside != outside[0, 0])[1:-1, 1:-1]


def resize_and_crop(picture: Picture, size: int) -> Bytes:
    """Scale the shorter side to 256/224 of `size` and cut (size, size) from the centre, 0..255."""
    resized = round(size * RESIZED_SHARE)
    height, width = picture.shape
    factor = resized / min(height, width)
    new = (max(size, round(width * factor)), max(size, round(height * factor)))
    scaled = np.asarray(Image.fromarray(picture).resize(new, Image.Resampling.BILINEAR))
    top, left = (scaled.shape[0] - size) // 2, (scaled.shape[1] - size) // 2
    cut = scaled[top : top + size, left : left + size]
    cropped: Bytes = np.rint(np.clip(cut, 0, 1) * 255).astype(np.uint8)
    return cropped


def treat_all(rows: Sequence[SliceRow], crops: Sequence[Crop | None], size: int) -> Bytes:
    """Return all pictures (N, size, size), treated once and held in memory; tells how far it is."""
    pictures = np.zeros((len(rows), size, size), dtype=np.uint8)
    started = told = time.monotonic()
    for number, (row, crop) in enumerate(zip(rows, crops, strict=True)):
        stages = remove_brace_as_authors(into_frame(read_picture(row.file), crop))
        pictures[number] = resize_and_crop(stages.treated, size)
        now = time.monotonic()
        if now - told > 5 or number + 1 == len(rows):
            told, left = now, (now - started) / (number + 1) * (len(rows) - number - 1)
            sys.stderr.write(f"prepared {number + 1} of {len(rows)} slices, {left:.0f} s left\n")
            sys.stderr.flush()
    return pictures
