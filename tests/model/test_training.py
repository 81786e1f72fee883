"""Training: that a killed run goes on alike, on how many processes ever; and the bundle it writes."""

import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from model_builders import TINY, TINY_SIZE, drawn_head, image_set, tiny_bundle

from model.bundle import load_bundle
from model.errors import TrainingError
from model.evaluate.studies import bleed_free_parts, subjects
from model.image_set import read_tables
from model.manifest import read_manifest
from model.prepare import prepare
from model.train import progress
from model.train.__main__ import main
from model.train.data import TrainingData
from model.train.loop import Run, Trainer
from model.train.loss import IGNORED
from model.train.progress import Progress, read_curves
from model.train.run import input_format, start_network
from model.train.settings import TrainingSettings
from model.window import to_window

SETTINGS = TrainingSettings(
    encoder=TINY,
    size=TINY_SIZE,
    epochs=2,
    batch=4,
    rate=1e-3,
    samples=12,
    frozen_stages=1,
    ema=0.9,
    seed=5,
    synthetic_bleeds=0.5,
)
SUBJECTS = {f"p{n}": ("train", "train", "val", "val", "test", "test")[n % 6] for n in range(12)}


def trainer(folder, settings=SETTINGS):
    folder.mkdir(exist_ok=True)
    heads = [
        prepare(to_window(drawn_head(size=96, seed=n)[0]), settings.stored_pixels).picture for n in range(10)
    ]
    data = TrainingData(
        pictures=np.rint(np.stack(heads) * 255).astype(np.uint8),
        hemorrhage=torch.arange(10) % 2,
        location=torch.tensor([IGNORED, 0, IGNORED, 1, IGNORED, 2, IGNORED, 0, IGNORED, 1]),
        boxes=[None, [(0.3, 0.3, 0.6, 0.6)]] * 5,
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
def test_a_killed_run_goes_on_to_the_same_weights(tmp_path):
    whole = trainer(tmp_path / "whole").train()

    for killed_after in (1, 3, 4):  # within an epoch, at its end, within the last
        folder = tmp_path / f"killed-{killed_after}"
        first = trainer(folder)
        first.train(stop_after=killed_after)
        first.save()
        resumed = trainer(folder).train()

        assert equal(whole, resumed), killed_after
        assert len(read_curves(folder)) == SETTINGS.epochs
    assert not equal(whole, trainer(tmp_path / "other").average)


@pytest.mark.usefixtures("one_thread")
def test_another_seed_gives_other_weights(tmp_path):
    one = trainer(tmp_path / "one", SETTINGS).train(stop_after=2)
    same = trainer(tmp_path / "same", SETTINGS).train(stop_after=2)
    other = trainer(tmp_path / "other", replace(SETTINGS, seed=6)).train(stop_after=2)

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


def test_frozen_stages_stay_as_they_are(tmp_path):
    run = trainer(tmp_path)
    before = {k: v.clone() for k, v in run.network.named_parameters()}

    run.train(stop_after=2)

    frozen = tuple(f"encoder.stem.{part}." for part in ("conv_stem", "bn1", "blocks.0"))
    same = {name for name, value in run.network.named_parameters() if torch.equal(value, before[name])}
    assert same == {name for name in before if name.startswith(frozen)}
    assert any(".blocks.1." in name for name in before.keys() - same)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_a_bar_on_a_terminal_and_lines_elsewhere(tmp_path, monkeypatch, terminal):
    stream = Terminal() if terminal else io.StringIO()
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr("sys.stderr", stream)

    with Progress(tmp_path, epochs=2, steps=100, first_step=10) as told:
        for step in range(11, 41):
            clock[0] += 3.0
            told.tell(epoch=1, step=step, loss=0.5)

    said = json.loads((tmp_path / "progress.json").read_text())
    assert said == {"epoch": 1, "epochs": 2, "step": 40, "steps": 100, "loss": 0.5, "eta_s": 180.0}
    assert "step 40/100" in stream.getvalue()
    assert "3 min left" in stream.getvalue()
    assert ("\u2501" in stream.getvalue()) == terminal
    assert ("\x1b[" in stream.getvalue()) == terminal
    if not terminal:
        assert len(stream.getvalue().splitlines()) == 30


def test_a_loss_that_is_no_number_ends_the_run(tmp_path):
    run = trainer(tmp_path)
    with torch.no_grad():
        run.network.hemorrhage[0].weight.fill_(math.nan)

    with pytest.raises(TrainingError, match="lower --rate"):
        run.train()


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


def test_without_validation_slices_all_that_is_fitted_on_them_is_the_parent_s(tmp_path):
    table = image_set(tmp_path / "drawn", subjects={"p0": "train", "p1": "train"})
    parent = tiny_bundle(tmp_path / "parent", heat_map=True)

    code = main(arguments(table, tmp_path / "out", "--init", str(parent)))

    found, kept = read_manifest(tmp_path / "out"), read_manifest(parent)
    assert code == 0
    assert found.heat_map
    assert found.study_thresholds == kept.study_thresholds
    assert found.metrics == {}


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
