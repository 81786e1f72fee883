"""Phantoms as an image set: the columns that training reads, and pictures that hold HU."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ich_node.demo.phantom import FIRST_TRAINING_SEED, head_phantom
from ich_node.demo.phantom_images import bleed_of, main, split_of


def test_about_half_of_all_seeds_bleed_at_mixed_places() -> None:
    drawn = [bleed_of(seed) for seed in range(FIRST_TRAINING_SEED, FIRST_TRAINING_SEED + 600)]

    assert 240 < drawn.count(None) < 360
    assert all(70 < drawn.count(place) < 130 for place in ("deep", "lobar", "subtentorial"))


def test_splits_are_of_subjects_and_mostly_for_training() -> None:
    splits = [split_of(f"phantom{seed:07d}") for seed in range(400)]

    assert 280 < splits.count("train") < 350
    assert splits.count("val") > 20
    assert splits.count("test") > 20
    assert split_of("phantom0000007") == split_of("phantom0000007")


@pytest.fixture(scope="module")
def image_set(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    seed = next(seed for seed in range(FIRST_TRAINING_SEED, FIRST_TRAINING_SEED + 50) if bleed_of(seed))
    folder = tmp_path_factory.mktemp("phantoms")
    assert main(["--out", str(folder), "--first-seed", str(seed), "--studies", "1"]) == 0
    return folder, seed


def test_rows_say_which_slices_bleed(image_set: tuple[Path, int]) -> None:
    folder, seed = image_set
    phantom = head_phantom(seed, bleed_of(seed), size=256)

    with (folder / "slices.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))

    assert list(rows[0]) == ["path", "subject", "hemorrhage", "location", "other_finding", "split"]
    assert {row["subject"] for row in rows} == {f"phantom{seed:07d}"}
    for row in rows:
        voxels = phantom.truth.slice_voxels[int(Path(row["path"]).stem)]
        assert row["hemorrhage"] == str(int(voxels * phantom.pixel_spacing_mm**2 > 25))
        assert row["location"] == (bleed_of(seed) if row["hemorrhage"] == "1" else "")
    assert {row["hemorrhage"] for row in rows} == {"0", "1"}


def test_pictures_hold_hu_and_boxes_hold_the_bleed(image_set: tuple[Path, int]) -> None:
    folder, seed = image_set
    phantom = head_phantom(seed, bleed_of(seed), size=256)

    with (folder / "boxes.csv").open(newline="") as lines:
        boxes = list(csv.DictReader(lines))

    for box in boxes:
        index = int(Path(box["path"]).stem)
        picture = np.asarray(Image.open(folder / box["path"])).astype(int) - 1024
        inside = phantom.bleed_mask[index].copy()
        inside[int(box["y_min"]) : int(box["y_max"]) + 1, int(box["x_min"]) : int(box["x_max"]) + 1] = False
        assert np.array_equal(picture, phantom.hu[index])
        assert not inside.any()
    assert boxes
