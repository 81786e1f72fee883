"""Wraps one subject of an image set as a CT series for the node. Reads images, writes files.

    python -m ich_node.demo.wrap --slices CSV --subject ID --out DIR [--turn QUARTERS]

An 8-bit image holds the brain window only: HU below 0 became 0 (air too), HU above 80 became 80 (bone too).
"""

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset

from ich_node.demo.ct_images import Exam, Patient, Series, ct_image, derived_uid, made_up_exam
from ich_node.errors import IchNodeError

_WINDOW_HU = 80.0
_SPACING_MM = 5.0  # image sets do not tell it
_FRAME = 512


@dataclass(frozen=True, kw_only=True)
class StoredSlice:
    """One image of the set and the square of the scanner's frame that it shows; None where it shows all."""

    file: Path
    frame_size: int | None
    crop_left: int
    crop_top: int
    crop_size: int | None


def slices_of(table: Path, subject: str) -> list[StoredSlice]:
    """List the subject's slices by file name, foot to head; raises IchNodeError if there are none.

    The lines of a table may be sorted by label; the file names count through the head.
    """
    with table.open(newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["subject"] == subject]
    rows.sort(key=lambda row: row["path"])
    if not rows:
        raise IchNodeError(f"{table} holds no slice of subject {subject}")
    return [
        StoredSlice(
            file=table.parent / row["path"],
            frame_size=int(row["frame_size"]) if row.get("frame_size") else None,
            crop_left=int(row.get("crop_left") or 0),
            crop_top=int(row.get("crop_top") or 0),
            crop_size=int(row["crop_size"]) if row.get("crop_size") else None,
        )
        for row in rows
    ]


def read_hu(stored: StoredSlice, *, turn: int = 0) -> NDArray[np.int16]:
    """Read an image as HU in its whole frame, turned clockwise by quarters.

    8-bit images are brain windows (0..255 = 0..80 HU), 16-bit ones hold HU + 1024.
    """
    with Image.open(stored.file) as image:
        deep = image.mode.startswith("I")
        pixels = np.asarray(image if deep else image.convert("L"))
    hu = pixels.astype(np.float32) - 1024 if deep else pixels.astype(np.float32) * (_WINDOW_HU / 255)
    framed = _in_frame(hu, stored, -1024.0 if deep else 0.0)
    return np.ascontiguousarray(np.rint(np.rot90(framed, k=-turn)).astype(np.int16))


def _in_frame(hu: NDArray[np.float32], stored: StoredSlice, outside: float) -> NDArray[np.float32]:
    """Put the stored square back to its place and size in the scanner's frame; what sticks out is cut."""
    picture = Image.fromarray(hu)
    if stored.crop_size is None:
        return np.asarray(picture.resize((_FRAME, _FRAME), Image.Resampling.BILINEAR))
    size = stored.frame_size or _FRAME
    frame = Image.new("F", (size, size), outside)
    square = picture.resize((stored.crop_size, stored.crop_size), Image.Resampling.BILINEAR)
    frame.paste(square, (stored.crop_left, stored.crop_top))
    return np.asarray(frame)


def wrap(table: Path, subject: str, *, turn: int = 0, pixel_mm: float = 0.45) -> Iterator[Dataset]:
    """Yield the subject's slices as CT images, 5 mm apart in the order of their file names."""
    exam = _exam(table, subject)
    series = Series(
        uid=derived_uid("series", exam.key),
        number=2,
        frame_of_reference_uid=derived_uid("frame of reference", exam.key),
        description="Head 5.0 from 8-bit images",
        pixel_spacing_mm=(pixel_mm, pixel_mm),
        thickness_mm=_SPACING_MM,
        kernel="UNKNOWN",
    )
    for index, stored in enumerate(slices_of(table, subject)):
        hu = read_hu(stored, turn=turn)
        corner = -(hu.shape[0] - 1) / 2 * pixel_mm
        image = ct_image(exam, series, index + 1, hu, (corner, corner, index * _SPACING_MM))
        image.ImageComments = "Wrapped from an image set; HU outside its window are lost"
        yield image


def _exam(table: Path, subject: str) -> Exam:
    """Invent the visit; its identifiers follow from the image set's name and the subject's pseudonym."""
    key = f"wrapped {table.resolve().parent.name} {subject}"
    seed = int(derived_uid(key)[-7:])
    patient = Patient(name=f"Wrapped^{subject}", patient_id=subject[:64], birth_date="", sex="", age="")
    return replace(made_up_exam(seed), key=key, patient=patient, study_uid=derived_uid("study", key))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; exit status 0 when all is written, 1 with a sentence when not."""
    parser = argparse.ArgumentParser(
        prog="ich_node.demo.wrap", description="Wrap an image set's subject as CT"
    )
    parser.add_argument("--slices", type=Path, required=True, help="slices.csv of the image set")
    parser.add_argument("--subject", required=True, help="whose slices")
    parser.add_argument("--out", type=Path, required=True, help="folder to write, one .dcm a slice")
    parser.add_argument(
        "--turn", type=int, default=0, help="quarter turns clockwise; 1 where the forehead is left"
    )
    parser.add_argument("--pixel-mm", type=float, default=0.45, help="assumed pixel spacing of the frame")
    chosen = parser.parse_args(arguments)
    chosen.out.mkdir(parents=True, exist_ok=True)
    images = wrap(chosen.slices, chosen.subject, turn=chosen.turn, pixel_mm=chosen.pixel_mm)
    try:
        for index, image in enumerate(images):
            image.save_as(chosen.out / f"{index:04d}.dcm", enforce_file_format=True)
    except (IchNodeError, OSError) as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
