"""The shortcut audit: a network that sees blood passes, one that sees anything else is found out."""

import csv

import numpy as np
import pytest
import torch
from model_builders import TINY_SIZE, drawn_head, tiny_manifest
from PIL import Image
from torch import nn

from model.bundle import Bundle
from model.evaluate.audit import SLICES_PER_CLASS, audit, sample
from model.evaluate.changes import CHANGES, blank, blurred, noisy, stretched, zoomed
from model.evaluate.scoring import score_rows
from model.evaluate.shortcuts import auc_alone, crops_of, geometry
from model.evaluate.verdict import verdict
from model.image_set import read_tables
from model.network import Logits
from model.prepare import NO_FRAME, Frame, prepare
from model.window import to_window

HEADER = ["path", "subject", "hemorrhage", "location", "other_finding", "split"]
SIZE = 96


def window(*, bleed=False, **shape):
    hu, _ = drawn_head(size=SIZE, **shape)
    if bleed:
        hu[40:52, 50:62] = 70.0
    return to_window(hu)


class Reader(nn.Module):
    """A network that goes by one number of the picture, as told."""

    def __init__(self, measure):
        super().__init__()
        self.measure = measure
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, pictures):
        score = self.measure(pictures[:, 0] * 0.5 + 0.5)
        logit = torch.stack([torch.zeros_like(score), score], dim=1)
        return Logits(logit, torch.zeros(len(score), 3), torch.zeros(len(score), 2, 2))


def blood(pictures):
    """Count what is brighter than brain and darker than bone, well inside."""
    inside = pictures[:, 8:-8, 8:-8]
    return ((inside > 0.75) & (inside < 0.95)).float().mean(dim=(1, 2)) * 100


def width(pictures):
    """Count what is not air: the shape of the head, nothing of its inside."""
    return (pictures > 0).float().mean(dim=(1, 2)) * 100 - 50


@pytest.fixture
def bleeding_heads_are_wider(tmp_path):
    """Ten subjects, four slices each; those that bleed have rounder heads as well."""
    lines = []
    for subject in range(10):
        bleeds = subject % 2
        for number in range(4):
            picture = window(
                bleed=bool(bleeds), radii=(0.34, 0.30 if bleeds else 0.25), seed=subject * 10 + number
            )
            path = f"{subject}-{number}.png"
            Image.fromarray((picture * 255).astype(np.uint8)).save(tmp_path / path)
            lines.append([path, f"p{subject}", bleeds, "", "", "test"])
    with (tmp_path / "slices.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([HEADER, *lines])
    return read_tables([tmp_path / "slices.csv"])


def audited(rows, measure):
    bundle = Bundle(manifest=tiny_manifest(), network=Reader(measure).eval(), sha256="0" * 64)
    scored = score_rows(bundle, rows, workers=1, progress=lambda done, total: None)
    return audit(bundle, scored, {}, workers=1)


def test_a_network_that_sees_blood_is_blind_without_the_brain(bleeding_heads_are_wider):
    found = audited(bleeding_heads_are_wider, blood)

    assert found["network"]["auc"] == 1.0
    assert found["blanked"]["auc"] == pytest.approx(0.5)
    assert found["blanked"]["positives_still_called"] is not None
    assert any("no sign that it sees anything but the brain" in words for words in found["verdict"])
    assert found["slices"] == 40
    assert found["subjects"] == 10


def test_a_network_that_sees_the_shape_of_the_head_is_found_out(bleeding_heads_are_wider):
    found = audited(bleeding_heads_are_wider, width)

    assert found["network"]["auc"] == 1.0
    assert found["blanked"]["auc"] == 1.0
    assert found["passed"] is False
    assert any("something other than blood" in words for words in found["verdict"])
    assert found["changed"].keys() == CHANGES.keys()


def test_without_both_classes_the_verdict_says_that_nothing_can_be_told(bleeding_heads_are_wider):
    found = audited([row for row in bleeding_heads_are_wider if row.hemorrhage], blood)

    assert (found["passed"], found["network"], found["geometry"]) == (None, None, None)
    assert "cannot be audited" in found["verdict"][-1]


@pytest.mark.parametrize("brightness_hu", [70.0, 300.0])
def test_a_blank_brain_hides_a_bleed_as_bright_as_bone_too(brightness_hu):
    hu, _ = drawn_head(size=SIZE)
    bleeding = hu.copy()
    bleeding[30:50, 50:66] = brightness_hu  # reaches near the skull
    plain, other = (prepare(to_window(one), SIZE).picture for one in (hu, bleeding))

    assert np.abs(plain - other).max() > 0.3
    betrayed = (np.abs(blank(plain) - blank(other)) > 0.05).sum()
    assert betrayed <= 12  # of more than 300 pixels: those that touch the skull where it is thinnest


def test_blanking_keeps_the_skull_and_evens_the_rest():
    picture = prepare(window(bleed=True), SIZE).picture

    blanked = blank(picture)

    middle = blanked[35:60, 35:60]
    assert middle.min() == middle.max() == pytest.approx(0.4, abs=0.05)
    assert (blanked[picture >= 0.97] >= 0.97).mean() > 0.5
    assert (blanked[picture == 0] == 0).all()


def test_an_open_skull_is_blanked_within_its_rim():
    picture = prepare(window(bleed=True), SIZE).picture
    picture[:30] *= 0.5  # no bone there

    assert len(np.unique(blank(picture)[40:50, 40:60])) == 1


def test_a_bleed_does_not_betray_itself_by_the_level_of_what_is_filled_in():
    hu, _ = drawn_head(size=SIZE)
    bleeding = hu.copy()
    bleeding[30:66, 50:66] = 55.0

    levels = [blank(prepare(to_window(one), SIZE).picture)[48, 48] for one in (hu, bleeding)]

    assert levels[0] == pytest.approx(levels[1], abs=0.2 / 80)


def test_an_empty_picture_stays_as_it_is():
    empty = np.zeros((TINY_SIZE, TINY_SIZE), dtype=np.float32)

    assert (blank(empty) == empty).all()


def test_changes_do_what_their_names_say():
    random = np.random.default_rng(5)
    picture = window()
    even = np.full((200, 200), 0.5, dtype=np.float32)

    assert zoomed(picture, 1.25, random).shape == (120, 120)
    assert noisy(even, 8.0, random).std() * 80 == pytest.approx(8, rel=0.05)
    assert (noisy(picture, 8.0, random)[picture == 0] == 0).all()
    assert blurred(noisy(even, 8.0, random), 2.0, random).std() * 80 < 2
    assert stretched(even, 1.15, random) == pytest.approx(0.575)
    for change, amount in CHANGES.values():
        changed = change(picture, amount, random)
        assert changed.dtype == np.float32
        assert 0 <= changed.min() <= changed.max() <= 1


def test_the_sample_draws_from_all_subjects_in_turn(seed):
    random = np.random.default_rng(seed)
    people = np.repeat(np.arange(50), 24)
    labels = (random.random(1200) < 0.4).astype(np.int64)

    chosen = sample(labels, people)

    assert [int((labels[chosen] == c).sum()) for c in (0, 1)] == [SLICES_PER_CLASS] * 2
    assert set(np.unique(people[chosen], return_counts=True)[1].tolist()) == {4}  # two of each class
    assert (chosen == sample(labels, people)).all()


def test_features_that_name_the_subject_but_not_the_class_tell_nothing(seed):
    random = np.random.default_rng(seed)
    people = np.repeat(np.arange(60), 10)
    marks = random.normal(size=(60, 2))[people]
    labels = np.repeat(random.permutation(60) % 2, 10)

    by_mark = auc_alone(marks + random.normal(0, 0.01, marks.shape), labels, people)
    by_class = auc_alone(labels[:, None] + random.normal(0, 0.5, (600, 1)), labels, people)

    assert by_mark["auc"] < 0.75  # a split by slice would give 1.0
    assert by_class["auc"] > 0.85
    assert by_class["auc_ci"][0] < by_class["auc"] < by_class["auc_ci"][1]


def test_slices_without_a_measure_are_left_out():
    features = np.arange(12.0)[:, None]
    features[:3] = np.nan

    found = auc_alone(features, np.arange(12) // 6, np.arange(12))

    assert found["slices"] == 9
    assert auc_alone(features[:6], np.arange(6) // 5, np.arange(6)) is None


def test_the_geometry_is_that_of_the_scanner_where_the_table_tells_the_crop(tmp_path):
    line = ["a.png", "p", "1", "", "", "test", "512", "128", "64", "256"]
    with (tmp_path / "slices.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(
            [
                [*HEADER, "frame_size", "crop_left", "crop_top", "crop_size"],
                line,
                ["b.png", *line[1:7], "", "", ""],
            ]
        )
    rows = read_tables([tmp_path / "slices.csv"])
    frames = [Frame(top=0, left=0, side=100)] * 2
    shapes = np.array([[100, 100]] * 2)

    cropped, whole = geometry(rows, frames, shapes, crops_of([tmp_path / "slices.csv"]))

    assert cropped[:4] == pytest.approx([0.5, 0.25, 0.25 + 0.25, 0.125 + 0.25])
    assert whole[:4] == pytest.approx([1, 1, 0.5, 0.5])
    assert np.isnan(geometry(rows[:1], [NO_FRAME], shapes[:1], {})).all()


def figures(*, blanked=(0.5, [0.4, 0.6]), drop=(0.0, [-0.01, 0.01]), alone=0.5):
    known = {"auc": alone, "auc_ci": [alone - 0.1, alone + 0.1]}
    changed = {"auc": 0.9, "auc_ci": None, "drop": drop[0], "drop_ci": drop[1]}
    return {
        "geometry": known,
        "noise": None,
        "network": {"auc": 0.95, "auc_ci": [0.9, 1.0]},
        "blanked": {"auc": blanked[0], "auc_ci": blanked[1]},
        "changed": {"zoom 0.8": changed},
    }


@pytest.mark.parametrize(
    ("changes", "passed", "says"),
    [
        ({}, True, "no sign that it sees anything but the brain"),
        ({"blanked": (0.7, [0.6, 0.8])}, False, "something other than blood"),
        ({"blanked": (0.3, [0.2, 0.4])}, False, "something other than blood"),
        ({"blanked": (0.7, [0.45, 0.9])}, True, "not clearly: too few"),
        ({"blanked": (0.3, [0.1, 0.55])}, True, "not clearly: too few"),
        ({"blanked": (0.7, None)}, False, "something other"),
        ({"drop": (0.05, [0.02, 0.08])}, False, "zoom 0.8 costs 0.050"),
        ({"drop": (0.05, [-0.02, 0.12])}, True, "No change"),
        ({"alone": 0.85}, True, "differ without any blood"),
    ],
)
def test_the_verdict_follows_its_stated_limits(changes, passed, says):
    found = verdict(figures(**changes))

    assert found["passed"] is passed
    assert says in " ".join(found["verdict"])
