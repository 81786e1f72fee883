"""Writes phantoms as an image set: a folder with slices.csv, boxes.csv and 16-bit PNG that hold HU + 1024.

python -m ich_node.demo.phantom_images --out DIR --first-seed N --studies M
"""

import argparse
import csv
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ich_node.demo.phantom import FIRST_TRAINING_SEED, LOCATIONS, HeadPhantom, head_phantom
from ich_node.vocabulary import Location

COLUMNS = ("path", "subject", "hemorrhage", "location", "other_finding", "split")
BOX_COLUMNS = ("path", "x_min", "y_min", "x_max", "y_max", "frame_size")
_SMALLEST_BLEED_MM2 = 25.0  # less than about 6 mm across in one slice: not labelled, as a reader would not
_HELD_MM2 = 4000.0  # what a slice holds of the head; less is air over the vertex


@dataclass(frozen=True, kw_only=True)
class SliceRow:
    """One line of slices.csv with its boxes; `x_max` and `y_max` are the last pixels inside."""

    path: str
    subject: str
    hemorrhage: int
    location: str
    split: str
    boxes: tuple[tuple[int, int, int, int], ...]


def bleed_of(seed: int) -> Location | None:
    """Say which bleed the phantom of a seed gets: half have none, the others one of the three in turn."""
    draw = np.random.default_rng([seed, 99]).random()
    return None if draw < 0.5 else LOCATIONS[int((draw - 0.5) * 6)]


def split_of(subject: str) -> str:
    """Assign a subject to train (80 %), val (10 %) or test by a hash of its name."""
    part = int(hashlib.sha256(subject.encode()).hexdigest(), 16) % 10
    return {0: "test", 1: "val"}.get(part, "train")


def write_study(seed: int, folder: Path, *, size: int = 256) -> list[SliceRow]:
    """Draw the phantom of a seed and write its slices as PNG under `folder`, those of mere air left out."""
    phantom = head_phantom(seed, bleed_of(seed), size=size)
    subject = f"phantom{seed:07d}"
    (folder / "images" / subject).mkdir(parents=True, exist_ok=True)
    area = phantom.pixel_spacing_mm**2
    rows = []
    for index, plane in enumerate(phantom.hu):
        if (plane > -200).sum() * area < _HELD_MM2:
            continue
        path = f"images/{subject}/{index:02d}.png"
        stored = np.clip(plane.astype(np.int32) + 1024, 0, 65535).astype(np.uint16)
        Image.fromarray(stored).save(folder / path, compress_level=4)
        rows.append(_row(phantom, index, path, subject))
    return rows


def _row(phantom: HeadPhantom, index: int, path: str, subject: str) -> SliceRow:
    mm2 = phantom.truth.slice_voxels[index] * phantom.pixel_spacing_mm**2
    bleeds = mm2 > _SMALLEST_BLEED_MM2
    return SliceRow(
        path=path,
        subject=subject,
        hemorrhage=int(bleeds),
        location=str(phantom.truth.location) if bleeds else "",
        split=split_of(subject),
        boxes=(_box(phantom.bleed_mask[index]),) if bleeds else (),
    )


def _box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])


def write_image_set(folder: Path, seeds: Sequence[int], *, size: int = 256) -> Iterator[int]:
    """Write slices.csv, boxes.csv and the images of all seeds; yields each seed when its study is written."""
    folder.mkdir(parents=True, exist_ok=True)
    with (
        (folder / "slices.csv").open("w", newline="") as slices,
        (folder / "boxes.csv").open("w", newline="") as boxes,
    ):
        table, box_table = csv.writer(slices, lineterminator="\n"), csv.writer(boxes, lineterminator="\n")
        table.writerow(COLUMNS)
        box_table.writerow(BOX_COLUMNS)
        for seed in seeds:
            for row in write_study(seed, folder, size=size):
                table.writerow((row.path, row.subject, row.hemorrhage, row.location, "", row.split))
                box_table.writerows((row.path, *box, size) for box in row.boxes)
            yield seed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; exit status 0 when all is written."""
    parser = argparse.ArgumentParser(prog="ich_node.demo.phantom_images", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--first-seed", type=int, default=FIRST_TRAINING_SEED, help="seed of the first study")
    parser.add_argument("--studies", type=int, required=True, help="how many studies")
    parser.add_argument("--size", type=int, choices=(256, 512), default=256, help="rows and columns")
    chosen = parser.parse_args(arguments)
    seeds = range(chosen.first_seed, chosen.first_seed + chosen.studies)
    return 0 if sum(1 for _ in write_image_set(chosen.out, seeds, size=chosen.size)) == chosen.studies else 1


if __name__ == "__main__":
    raise SystemExit(main())
