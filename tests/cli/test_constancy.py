"""`doctor --constancy`: a network that reads as it did passes, a changed one does not, and why is told."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from model_builders import tiny_bundle
from safetensors.torch import load_file

from ich_node.cli import constancy
from ich_node.cli.constancy import check_constancy
from ich_node.demo.phantom import head_phantom
from ich_node.retraining.bundle_folders import GOLDEN_FILE, keep_bundle
from model import score
from model.bundle import load_bundle, write_bundle
from model.manifest import WEIGHTS_FILE, read_manifest
from model.network import Logits
from model.predict import Predictor

(SHIPPED,) = (Path(constancy.__file__).parents[2] / "model" / "bundles").iterdir()


@pytest.fixture(scope="module")
def heads() -> dict:
    return {}


@pytest.fixture(autouse=True)
def drawn_once(heads, monkeypatch) -> None:
    """A golden head takes seconds to draw, and is the same each time."""

    def draw(seed, bleed, *, size):
        if (seed, bleed) not in heads:
            heads[seed, bleed] = head_phantom(seed, bleed, size=size)
        return heads[seed, bleed]

    monkeypatch.setattr(constancy, "head_phantom", draw)


def tried(folder: Path, *, store: bool = False):
    return check_constancy(Predictor.load(folder, "cpu"), folder, store=store)


@pytest.fixture
def shipped(tmp_path) -> Path:
    return Path(shutil.copytree(SHIPPED, tmp_path / "shipped"))


def rewrite(folder: Path, **changes: object) -> None:
    file = folder / GOLDEN_FILE
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_the_shipped_bundle_reads_as_it_was_stored():
    check = tried(SHIPPED)

    assert check.passed, check.words
    assert check.words.startswith("2 golden heads on cpu")


def test_a_network_with_another_weight_is_told(shipped):
    weights = load_file(shipped / WEIGHTS_FILE)
    weights["hemorrhage.0.weight"] = weights["hemorrhage.0.weight"] * 1.05
    write_bundle(shipped, read_manifest(shipped), weights)
    # as if the same network were computed otherwise: its identity is the one of the stored scores
    rewrite(shipped, bundle_sha256=load_bundle(shipped).sha256)

    check = tried(shipped)

    assert not check.passed
    assert "do not read with this machine" in check.words


def test_heads_that_are_drawn_otherwise_are_not_blamed_on_the_network(shipped):
    stored = json.loads((shipped / GOLDEN_FILE).read_text())["heads"]
    for head in stored:
        head["volume_sha256"] = "0" * 64
    rewrite(shipped, heads=stored)

    near = tried(shipped)
    for head in stored:
        head["score"] /= 2
    rewrite(shipped, heads=stored)
    far = tried(shipped)

    assert near.passed
    assert "other roundings" in near.words
    assert not far.passed
    assert "says nothing of the network" in far.words


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"schema": 1}', '{"schema": 1, "bundle_sha256": "0", "device": "cpu", "heads": []}'],
)
def test_a_file_that_cannot_be_used_is_told(shipped, content):
    (shipped / GOLDEN_FILE).write_text(content)

    check = tried(shipped)

    assert not check.passed
    assert "cannot be used" in check.words


def test_a_bundle_without_scores_gets_them_once_and_keeps_them(tmp_path):
    folder = tiny_bundle(tmp_path / "tiny")

    before, stored, after, again = (tried(folder, store=store) for store in (False, True, False, True))

    assert [one.passed for one in (before, stored, after, again)] == [False, True, True, False]
    assert "--constancy --store" in before.words
    assert "not replaced" in again.words


def test_golden_scores_come_along_with_a_bundle_and_are_no_part_of_its_identity(tmp_path):
    folder = tiny_bundle(tmp_path / "tiny")
    keep_bundle(folder, tmp_path / "kept")
    identity = load_bundle(folder).sha256

    (folder / GOLDEN_FILE).write_text("{}")
    keep_bundle(folder, tmp_path / "kept")
    keep_bundle(folder, tmp_path / "new")

    assert load_bundle(folder).sha256 == identity
    assert [(tmp_path / one / GOLDEN_FILE).read_text() for one in ("kept", "new")] == ["{}", "{}"]


def test_bfloat16_stays_within_its_tolerance_and_outside_that_of_float32(shipped, monkeypatch):
    """On the CPU, with the autocast that a card uses; a card's own roundings are not measured here."""

    def look(network, pictures, form):
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(score.to_input(torch.from_numpy(pictures), form))
        return Logits(*(part.float() for part in logits))

    monkeypatch.setattr(score, "_look", look)

    strict = tried(shipped)
    rewrite(shipped, device="cuda: a card")
    loose = tried(shipped)

    assert not strict.passed
    assert loose.passed, loose.words
