"""Training: what is learned from, what is drawn, that a killed run goes on alike, and the bundle."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from model_builders import TINY, TINY_SIZE, image_set, tiny_bundle

from model.bundle import load_bundle
from model.errors import TrainingError
from model.evaluate.studies import bleed_free_parts, subjects
from model.image_set import SliceRow, read_tables
from model.manifest import read_manifest
from model.train.__main__ import main
from model.train.augment import Augmentation, augment
from model.train.loop import Run, Trainer, TrainingData
from model.train.loss import IGNORED, dual_loss
from model.train.optimizer import build_optimizer, follow, rate_at
from model.train.progress import read_curves
from model.train.run import input_format, start_network
from model.train.sampler import epoch_order, sampling_weights
from model.train.settings import TrainingSettings

SETTINGS = TrainingSettings(
    encoder=TINY, size=TINY_SIZE, epochs=2, batch=4, rate=1e-3, samples=12, frozen_stages=1, ema=0.9, seed=5
)
SUBJECTS = {f"p{n}": ("train", "train", "val", "val", "test", "test")[n % 6] for n in range(12)}


def row(source="s", subject="p", hemorrhage=0, location=None):
    return SliceRow(
        file=Path("a.png"),
        path="a.png",
        source=source,
        subject=subject,
        hemorrhage=hemorrhage,
        location=location,
        split="train",
        contradicted=False,
    )


def trainer(folder, settings=SETTINGS):
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(2)
    data = TrainingData(
        pictures=random.integers(
            0, 255, (10, settings.stored_pixels, settings.stored_pixels), dtype=np.uint8
        ),
        hemorrhage=torch.arange(10) % 2,
        location=torch.tensor([IGNORED, 0, IGNORED, 1, IGNORED, 2, IGNORED, 0, IGNORED, 1]),
        weights=np.full(10, 0.1),
    )
    run = Run(
        folder=folder,
        fingerprint="same",
        form=input_format(settings),
        precision="float32",
        validate=lambda network: (0.5, 0.5),
    )
    return Trainer(start_network(settings, None, None), data, settings, run)


def equal(a, b):
    return all(
        torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("killed_after", [1, 3, 4])
def test_a_killed_run_goes_on_to_the_same_weights(tmp_path, killed_after):
    whole = trainer(tmp_path / "whole").train()

    first = trainer(tmp_path / "killed")
    first.train(stop_after=killed_after)
    first.save()
    resumed = trainer(tmp_path / "killed").train()

    assert equal(whole, resumed)
    assert not equal(whole, trainer(tmp_path / "other").average)
    assert len(read_curves(tmp_path / "killed")) == SETTINGS.epochs


@pytest.mark.usefixtures("one_thread")
def test_another_seed_gives_other_weights(tmp_path):
    one = trainer(tmp_path / "one", SETTINGS).train(stop_after=2)
    same = trainer(tmp_path / "same", SETTINGS).train(stop_after=2)
    other = trainer(tmp_path / "other", TrainingSettings(**(SETTINGS.__dict__ | {"seed": 6}))).train(
        stop_after=2
    )

    assert equal(one, same)
    assert not equal(one, other)


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    first = trainer(tmp_path)
    first.train(stop_after=1)
    first.save()
    content = (tmp_path / "checkpoint.safetensors").read_bytes()
    (tmp_path / "checkpoint.safetensors").write_bytes(content.replace(b'\\"same\\"', b'\\"else\\"'))

    with pytest.raises(TrainingError, match="another --out"):
        trainer(tmp_path)


def test_the_location_is_learned_from_bleeding_slices_only():
    hemorrhage = torch.tensor([0, 1, 1, IGNORED])
    location = torch.tensor([2, IGNORED, 1, 0])
    logits = (torch.randn(4, 2, requires_grad=True), torch.randn(4, 3, requires_grad=True))

    dual_loss(logits, hemorrhage, location).backward()

    assert (logits[1].grad.abs().sum(dim=1) > 0).tolist() == [False, False, True, False]
    assert (logits[0].grad.abs().sum(dim=1) > 0).tolist() == [True, True, True, False]


def test_a_batch_without_any_label_has_no_loss_and_no_nan():
    none = torch.full((3,), IGNORED)

    assert dual_loss((torch.randn(3, 2), torch.randn(3, 3)), none, none) == 0


def test_sources_and_classes_are_drawn_evenly():
    rows = (
        [row("big", f"a{n % 40}", 0) for n in range(400)]
        + [row("big", f"b{n % 9}", 1, "deep") for n in range(90)]
        + [row("big", "c", 1, "lobar") for n in range(10)]
        + [row("small", f"d{n % 3}", n % 2) for n in range(20)]
    )

    weights = sampling_weights(rows, {})
    halved = sampling_weights(rows, {"small": 0.5})

    mass = {k: sum(w for w, r in zip(weights, rows, strict=True) if (r.source, r.hemorrhage) == k) for k in
            [("big", 0), ("big", 1), ("small", 0), ("small", 1)]}  # fmt: skip
    assert list(mass.values()) == pytest.approx([0.25] * 4)
    lobar = sum(w for w, r in zip(weights, rows, strict=True) if r.location == "lobar")
    assert 0.25 * 0.1 < lobar < 0.25 * 0.5
    assert sum(w for w, r in zip(halved, rows, strict=True) if r.source == "small") == pytest.approx(1 / 3)


def test_an_epoch_is_drawn_the_same_way_again():
    weights = np.array([0.5, 0.25, 0.125, 0.125])

    first, again, next_ = (epoch_order(weights, 800, seed=1, epoch=e) for e in (0, 0, 1))

    assert (first == again).all()
    assert (first != next_).any()
    assert np.bincount(first) == pytest.approx([400, 200, 100, 100], abs=1)


def test_augmentation_keeps_range_and_size_and_is_seeded():
    pictures = torch.rand(6, 40, 40)

    one, same, other = (
        augment(pictures, 32, Augmentation(), torch.Generator().manual_seed(s)) for s in (1, 1, 2)
    )

    assert one.shape == (6, 32, 32)
    assert one.min() >= 0
    assert one.max() <= 1
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_augmentation_leaves_air_black_and_bone_white():
    air = augment(torch.zeros(4, 40, 40), 32, Augmentation(), torch.Generator().manual_seed(1))
    bone = augment(torch.ones(4, 40, 40), 32, Augmentation(), torch.Generator().manual_seed(1))

    assert air.max() == 0
    assert (bone[:, 12:20, 12:20] > 0.98).all()


def test_frozen_stages_stay_as_they_are(tmp_path):
    run = trainer(tmp_path)
    before = {k: v.clone() for k, v in run.network.named_parameters()}

    run.train(stop_after=2)

    frozen = ("encoder.patch_embed.backbone.conv_stem", "encoder.patch_embed.backbone.blocks.0.")
    for name, value in run.network.named_parameters():
        assert torch.equal(value, before[name]) == name.startswith(
            (*frozen, "encoder.patch_embed.backbone.bn1")
        ), name


def test_the_rate_warms_up_and_falls():
    shares = np.linspace(0, 1, 101)

    rates = [rate_at(s, SETTINGS) for s in shares]

    assert max(rates) == pytest.approx(1.0, abs=0.01)
    assert rates[0] < 0.05
    assert rates[-1] == pytest.approx(0, abs=1e-6)
    assert rate_at(0.9, TrainingSettings(schedule="constant")) == 1.0


def test_biases_and_norms_do_not_decay():
    optimizer = build_optimizer(start_network(SETTINGS, None, None), SETTINGS)

    for group in optimizer.param_groups:
        assert all((p.ndim > 1) == (group["weight_decay"] > 0) for p in group["params"])


def test_the_average_follows():
    a, b = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    expected = 0.75 * a.weight + 0.25 * b.weight

    follow(a, b, 0.75)

    assert torch.allclose(a.weight, expected)


def test_the_defaults_are_the_paper_s():
    settings = TrainingSettings()

    assert (settings.encoder, settings.pixels) == ("vit_large_patch16_224", 224)
    assert (settings.rate, settings.weight_decay, settings.batch, settings.epochs) == (2e-5, 0.01, 32, 10)


def arguments(table, out, *more):
    small = ["--encoder", TINY, "--size", str(TINY_SIZE), "--epochs", "1", "--batch", "8", "--samples", "8"]
    return [
        "--slices",
        str(table),
        "--out",
        str(out),
        *small,
        "--device",
        "cpu",
        "--precision",
        "float32",
        *more,
    ]


def test_the_command_writes_a_bundle_that_loads(tmp_path):
    table = image_set(tmp_path / "drawn", subjects=SUBJECTS)
    parent = tiny_bundle(tmp_path / "parent")

    code = main(arguments(table, tmp_path / "out", "--init", str(parent)))

    manifest = load_bundle(tmp_path / "out").manifest
    progress = json.loads((tmp_path / "out" / "progress.json").read_text())
    assert code == 0
    assert manifest.parent == load_bundle(parent).sha256
    assert manifest.training["sources"] == ["drawn"]
    assert manifest.training["subjects"] == sum(s == "train" for s in SUBJECTS.values())
    assert manifest.metrics["validation"]["slices"] == 8 * sum(s == "val" for s in SUBJECTS.values())
    assert "state no licence" in manifest.licence
    assert progress.keys() == {"epoch", "epochs", "step", "steps", "loss", "eta_s"}
    assert progress["step"] == progress["steps"] == 1
    assert len(read_curves(tmp_path / "out")) == 1


def test_a_parent_s_thresholds_stay_where_validation_has_one_class_only(tmp_path):
    table = image_set(tmp_path / "drawn", subjects={"p0": "train", "p1": "train", "p2": "val"})
    parent = tiny_bundle(tmp_path / "parent")

    kept = main(arguments(table, tmp_path / "out", "--init", str(parent)))
    without = main(arguments(table, tmp_path / "alone"))

    assert (kept, without) == (0, 1)
    assert read_manifest(tmp_path / "out").study_thresholds == read_manifest(parent).study_thresholds


def test_wrong_use_is_answered_with_a_reason(tmp_path, capsys):
    table = image_set(tmp_path / "drawn", subjects={"p0": "val", "p1": "val"})

    assert main(arguments(table, tmp_path / "out")) == 1
    assert "split column" in capsys.readouterr().err
    for wrong in (
        ["--out", "x"],
        [*arguments(table, tmp_path), "--size", "33", "--batch", "0", "--ema", "2"],
    ):
        with pytest.raises(SystemExit) as stopped:
            main(wrong)
        assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert all(word in said for word in ("multiple of 16", "batch", "ema"))


def test_bleed_free_parts_leave_out_the_bleed_and_its_neighbours(tmp_path):
    table = image_set(tmp_path / "drawn", subjects={"p0": "train", "p1": "train"}, slices=14, bleeding=4)
    rows = read_tables([table])

    parts = bleed_free_parts(rows)

    assert [s.label for s in subjects(rows)] == [0, 1]
    assert [p.members.tolist() for p in parts] == [list(range(14 + 6, 28))]
