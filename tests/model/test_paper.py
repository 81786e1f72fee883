"""The paper's tables: figures the right way up, patients apart, honest copies, all written, resumed."""

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from model_builders import drawn_head, image_set
from safetensors.torch import save_file
from sklearn.metrics import accuracy_score, f1_score, log_loss, precision_score, recall_score
from torch import nn

from model.errors import TrainingError
from model.evaluate.paper.__main__ import main
from model.evaluate.paper.forecast import Forecast, Load
from model.evaluate.paper.metrics import Scores, dual_figures, figures_of
from model.evaluate.paper.networks import TwoHeads, build_network
from model.evaluate.paper.parts import class_of, draw_share, replicate, replication_factors, split_rows
from model.evaluate.paper.recipe import NETWORKS, Case, Recipe, all_cases, small
from model.evaluate.paper.results import IGNORED, location_class, read_predictions
from model.evaluate.paper.training import Course, Slices, change, dual_loss, score, train
from model.evaluate.paper.treatment import Crop, into_frame, remove_brace_as_authors, resize_and_crop
from model.image_set import SliceRow
from model.network import build_encoder
from model.statistics import confusion
from model.window import to_window

TINY = Recipe(encoder="vit_tiny_patch16_224", size=64, densenet="densenet121", epochs=1)
PLACES = ("deep", "lobar", "subtentorial")


def rows_of(subjects: dict[str, str | None], slices: int = 3) -> list[SliceRow]:
    """Return rows of subjects that bleed at a place, or of healthy ones."""
    return [
        SliceRow(
            file=Path(f"{subject}-{n}.png"),
            path=f"{subject}-{n}.png",
            source="drawn",
            subject=subject,
            hemorrhage=int(place is not None),
            location=place,
            split="train",
            contradicted=False,
        )
        for subject, place in subjects.items()
        for n in range(slices)
    ]


def people(count: int) -> dict[str, str | None]:
    """Return names: half of them healthy, the others bleeding at each place in turn."""
    return {f"p{n}": None if n % 2 else PLACES[n // 2 % 3] for n in range(count)}


def scores_of(hemorrhage, called, location, place) -> Scores:
    """Return scores that call what is given."""
    return Scores(
        hemorrhage=np.array(hemorrhage),
        location=np.array(location),
        hemorrhage_probability=np.where(np.array(called) == 1, 0.9, 0.2),
        location_probability=np.eye(3)[np.array(place)] * 0.7 + 0.1,
    )


def test_specificity_is_the_share_of_healthy_slices_called_healthy():
    truth, called = [1, 1, 1, 0, 0, 0, 0, 0], [1, 1, 0, 1, 0, 0, 0, 0]

    figures = figures_of(confusion(np.array(truth), np.array(called), 2), [1])

    assert figures.specificity == 4 / 5
    assert figures.accuracy == 6 / 8
    assert figures.precision == figures.recall == figures.f1 == pytest.approx(2 / 3)


def test_the_figures_of_both_classifiers_are_those_of_scikit_learn(seed):
    random = np.random.default_rng(seed)
    hemorrhage, called = random.integers(0, 2, 300), random.integers(0, 2, 300)
    location, place = random.integers(0, 3, 300), random.integers(0, 3, 300)
    bleeds = hemorrhage == 1
    scores = scores_of(hemorrhage, called, np.where(bleeds, location, IGNORED), place)

    figures = dual_figures(scores)

    for found, truth, predicted, average in (
        (figures.presence, hemorrhage, called, "binary"),
        (figures.location, location[bleeds], place[bleeds], "macro"),
    ):
        assert found.accuracy == pytest.approx(accuracy_score(truth, predicted))
        assert found.precision == pytest.approx(precision_score(truth, predicted, average=average))
        assert found.recall == pytest.approx(recall_score(truth, predicted, average=average))
        assert found.f1 == pytest.approx(f1_score(truth, predicted, average=average))
    assert figures.presence.specificity == pytest.approx(recall_score(hemorrhage, called, pos_label=0))
    one_against_rest = [
        recall_score(location[bleeds] == c, place[bleeds] == c, pos_label=0) for c in range(3)
    ]
    assert figures.location.specificity == pytest.approx(np.mean(one_against_rest))
    losses = (
        log_loss(hemorrhage, scores.hemorrhage_probability),
        log_loss(location[bleeds], scores.location_probability[bleeds], labels=[0, 1, 2]),
    )
    assert figures.loss == pytest.approx(sum(losses))
    assert figures.overall("recall") == (figures.presence.recall + figures.location.recall) / 2


def test_calling_a_bleed_none_is_wrong_and_stands_in_the_confusion():
    scores = Scores(
        hemorrhage=np.array([1, 1, 0]),
        location=np.array([0, 1, 3]),
        hemorrhage_probability=np.array([0.9, 0.9, 0.1]),
        location_probability=np.array([[0.7, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.7], [0.1, 0.1, 0.1, 0.7]]),
    )

    figures = dual_figures(scores)

    assert figures.location.accuracy == 0.5
    assert figures.location_confusion.tolist() == [[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]]


def test_no_patient_stands_in_two_parts_and_every_class_in_all_whatever_the_seed():
    rows = rows_of(people(60))

    for seed in range(200):
        parts = split_rows(rows, "apart", seed)

        who = [{rows[i].person for i in part} for part in (parts.train, parts.val, parts.test)]
        assert sum(map(len, who)) == len(set.union(*who)) == 60
        assert sorted([*parts.train, *parts.val, *parts.test]) == list(range(len(rows)))
        for part in (parts.train, parts.val, parts.test):
            assert {class_of(rows[i]) for i in part} == {"none", *PLACES}
    assert [len(w) for w in who] == [48, 6, 6]


def test_a_patient_with_bleeds_at_two_places_and_healthy_slices_stays_whole():
    rows = rows_of(people(60)) + rows_of({"p0": "lobar", "p2": None})

    for seed in range(50):
        parts = split_rows(rows, "apart", seed)

        for person in ("p0", "p2"):
            holding = [
                any(rows[i].subject == person for i in part) for part in (parts.train, parts.val, parts.test)
            ]
            assert sum(holding) == 1


def test_the_random_split_is_the_papers_and_tears_patients_apart():
    rows = rows_of(people(4217))  # three slices each: the paper's 12,651

    parts = split_rows(rows, "random", 0)

    assert [len(part) for part in (parts.train, parts.val, parts.test)] == [10120, 1265, 1266]
    assert sorted([*parts.train, *parts.val, *parts.test]) == list(range(12651))
    assert {rows[i].person for i in parts.train} & {rows[i].person for i in parts.test}


def test_copies_are_as_many_as_the_paper_prints():
    counts = {"none": 4407, "deep": 6093, "lobar": 1656, "subtentorial": 495}

    factors = replication_factors(counts)

    copied = {name: factors[name] * counts[name] for name in counts}
    assert copied == {"none": 13221, "deep": 6093, "lobar": 4968, "subtentorial": 5940}
    assert sum(copied.values()) == 30222


def test_copies_bring_the_training_part_near_one_to_one_and_never_leave_it():
    rows = rows_of({f"d{n}": "deep" for n in range(60)}) + rows_of({f"l{n}": "lobar" for n in range(18)})
    rows += rows_of({f"s{n}": "subtentorial" for n in range(10)}) + rows_of(
        {f"h{n}": None for n in range(50)}
    )
    parts = split_rows(rows, "apart", 3)

    copied = replicate(rows, parts.train)

    assert set(copied) == set(parts.train)
    counts = Counter(class_of(rows[i]) for i in copied)
    bleeding = sum(counts[place] for place in PLACES)
    assert all(0.6 < counts[place] / counts["deep"] <= 1 for place in PLACES)
    assert 0.6 < counts["none"] / bleeding <= 1


def test_a_share_keeps_every_class_in_proportion():
    rows = rows_of(people(600))

    drawn = draw_share(rows, 0.1, 0)

    assert Counter(map(class_of, drawn)) == {"none": 90, "deep": 30, "lobar": 30, "subtentorial": 30}
    assert [r.path for r in drawn] == [r.path for r in draw_share(rows, 0.1, 0)]
    assert draw_share(rows, 1.0, 0) == rows


def test_a_stored_square_goes_back_to_its_place_and_size_in_the_frame():
    stored = np.ones((100, 100), dtype=np.float32)

    frame = into_frame(stored, Crop(frame_size=512, crop_left=50, crop_top=20, crop_size=400))

    assert frame.shape == (512, 512)
    assert frame[20:420, 50:450].min() == 1.0
    assert frame.sum() == 400 * 400
    assert into_frame(stored, None) is stored


@pytest.mark.parametrize("headrest", ["none", "plate", "cradle", "side bars"])
def test_the_authors_steps_leave_the_head_and_take_the_headrest(headrest):
    hu, head = drawn_head(headrest)
    bare, _ = drawn_head("none")

    stages = remove_brace_as_authors(to_window(hu))

    assert stages.mask[head].mean() > 0.99
    rest = (hu > -200) & (bare <= -200)
    assert rest.any() == (headrest != "none")
    assert not stages.treated[rest].any()


def test_zoom_is_kept_as_the_paper_cuts_224_of_256():
    picture = np.zeros((512, 512), dtype=np.float32)
    picture[32:480, 32:480] = 1.0  # 448 of 512 are 224 of 256

    cut = resize_and_crop(picture, 224)

    assert cut.shape == (224, 224)
    assert cut[1:-1, 1:-1].min() == 255
    assert resize_and_crop(picture[:, :300], 64).shape == (64, 64)


@pytest.mark.parametrize("outputs", [3, 4])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_of_table_4_has_the_same_two_heads(name, outputs):
    recipe = Recipe(**TINY.__dict__ | {"location_outputs": outputs})

    with torch.device("meta"):
        network = build_network(name, recipe, None)
        presence, location = network(torch.zeros(2, 3, 64, 64))

    assert presence.shape == (2, 2)
    assert location.shape == (2, outputs)
    assert [type(m) for m in network.hemorrhage] == [type(m) for m in network.location]
    assert network.hemorrhage[0].out_features == 512


def test_our_own_encoder_fits_the_two_heads_as_well():
    recipe = Recipe(encoder="hybrid_lite0_vit192", size=64)

    presence, location = build_network("dtvit", recipe, None).eval()(torch.zeros(1, 3, 64, 64))

    assert (presence.shape, location.shape) == ((1, 2), (1, 3))


def test_only_bleeding_slices_reach_the_location_loss_of_the_paper():
    healthy = torch.randn(4, 3, requires_grad=True)
    classes = torch.tensor(
        [location_class(h, p, 3) for h, p in ((0, None), (1, "lobar"), (1, None), (0, None))]
    )

    dual_loss((torch.zeros(4, 2), healthy), torch.tensor([0, 1, 1, 0]), classes).backward()

    assert healthy.grad.abs().sum(dim=1).gt(0).tolist() == [False, True, False, False]
    assert [location_class(0, None, 4), location_class(1, "deep", 4), location_class(1, None, 4)] == [
        3,
        0,
        IGNORED,
    ]


def test_a_picture_is_turned_by_at_most_fifteen_degrees_and_seeded():
    pictures = torch.zeros(64, 65, 65, dtype=torch.uint8)
    pictures[:, 31:34, 55:58] = 200  # to the right of the centre

    changed = change(pictures, torch.Generator().manual_seed(1))

    places = [np.argwhere(p > 100).mean(axis=0) - 32 for p in changed.numpy()]
    degrees = np.rad2deg([np.arctan2(-y, x) for y, x in places])
    assert np.abs(degrees).max() < 17
    assert degrees.min() < -8
    assert degrees.max() > 8
    assert changed.dtype == torch.uint8
    assert torch.equal(changed, change(pictures, torch.Generator().manual_seed(1)))
    assert pictures.max() == 200


def test_the_epoch_of_the_lowest_validation_loss_is_kept():
    random = np.random.default_rng(0)
    slices = Slices(
        pictures=random.integers(0, 256, (48, 8, 8), dtype=np.uint8),
        hemorrhage=torch.from_numpy(random.integers(0, 2, 48)),
        location=torch.full((48,), IGNORED),
    )
    torch.manual_seed(0)
    network = TwoHeads(nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 32)), 32, 3)
    course = Course(train=np.arange(32), val=np.arange(32, 48), batch=8, augmented=False)
    told = []

    curves = train(network, slices, course, Recipe(rate=1e-2, epochs=8), told.append)

    losses = [point["validation_loss"] for point in curves]
    assert told == curves
    assert min(losses) < losses[-1]  # noise can only be learnt by heart: the last epoch is not the best
    assert dual_figures(score(network, slices, course.val)).loss == pytest.approx(min(losses))


def test_weights_come_from_a_file_and_a_file_that_does_not_fit_is_refused(tmp_path):
    torch.manual_seed(99)
    state = build_encoder(TINY.encoder, 64).state_dict()
    save_file(state, tmp_path / "vit.safetensors")
    save_file({"cls_token": state["cls_token"]}, tmp_path / "part.safetensors")
    own = build_network("resnet18", TINY, None).backbone.state_dict()
    save_file({k: v + 1 if v.is_floating_point() else v for k, v in own.items()}, tmp_path / "r.safetensors")

    loaded = build_network("dtvit", TINY, tmp_path / "vit.safetensors").backbone.encoder.state_dict()
    moved = build_network("resnet18", TINY, tmp_path / "r.safetensors").backbone.state_dict()

    assert all(torch.equal(loaded[k], state[k]) for k in state)
    assert torch.equal(moved["conv1.weight"], own["conv1.weight"] + 1)
    with pytest.raises(TrainingError, match="tensors are missing"):
        build_network("dtvit", TINY, tmp_path / "part.safetensors")


def test_the_forecast_counts_down_to_nothing():
    cases = all_cases(["alexnet"])
    measured = {("alexnet", True): 0.5, ("alexnet", False): 0.5}  # seconds a slice
    forecast = Forecast(dict.fromkeys(cases, Load(train=90, val=30, test=30)), 2, measured)

    before = forecast.left()
    forecast.epoch_done(cases[0], 100.0)  # slower than measured: the other augmented split will be, too
    after = forecast.left()
    for case in cases:
        for _ in range(1 if case is cases[0] else 2):
            forecast.epoch_done(case, 50.0)

    assert before == pytest.approx(4 * (2 * 50 + 5))
    assert after == pytest.approx(100 + 10 + 2 * 100 + 10 + 2 * (2 * 50 + 5))
    assert forecast.left() == 0


def run(table, out, *more):
    recipe = ["--encoder", TINY.encoder, "--size", "64", "--densenet", "densenet121", "--epochs", "1"]
    where = ["--slices", str(table), "--out", str(out), "--device", "cpu"]
    return main([*where, *recipe, "--only", "dtvit", *more])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run of DTViT, tiny, on drawn heads: (table, out)."""
    folder = tmp_path_factory.mktemp("paper")
    table = image_set(folder / "drawn", subjects=dict.fromkeys(people(24), "train"), slices=3, bleeding=2)
    assert run(table, folder / "out") == 0
    return table, folder / "out"


def test_all_tables_and_figures_are_written(finished):
    _, out = finished

    text = (out / "tables.md").read_text()
    facts = json.loads((out / "tables.json").read_text())

    for number in range(1, 5):
        assert f"## Table {number}: " in text
        assert facts[f"table{number}"]["rows"]
    assert text.count("size 64 pixels, epochs 1, share 100%, seed 0") == 4
    assert text.count("from scratch (no pretrained weights)") == 4
    assert facts["header"]["start"] == "from scratch (no pretrained weights)"
    assert "Patients apart: of the test part's 4 patients 0 have other slices in the training part." in text
    for number in (1, 3, 4):
        assert (out / f"figure{number}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (out / f"figure{number}.svg").read_text()


def test_both_splits_stand_beside_each_other_and_what_is_not_trained_is_left_open(finished):
    facts = json.loads((finished[1] / "tables.json").read_text())

    for number in (3, 4):
        table = facts[f"table{number}"]
        rows = [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
        ours = [r for r in rows if r["From"] == "here"]
        for row in ours:
            trained = row.get("Model", "DTViT") == "DTViT"
            for split in ("images at random", "patients apart"):
                assert (row[f"{split}: Accuracy"] is not None) == trained
                assert (row[f"{split}: Specificity"] is not None) == trained
        assert {r["DA"] for r in ours} == {"Yes", "No"}


def test_any_table_can_be_computed_again_from_the_predictions(finished):
    out = finished[1]
    facts = json.loads((out / "tables.json").read_text())
    table = facts["table3"]
    row = dict(zip(table["columns"], table["rows"][0], strict=True))
    file = out / "runs" / Case(network="dtvit", split="apart", augmented=True).name / "predictions.csv"
    with file.open(newline="") as stream:
        lines = list(csv.DictReader(stream))

    truth = [int(line["hemorrhage"]) for line in lines]
    called = [int(float(line["hemorrhage_probability"]) >= 0.5) for line in lines]

    assert row["patients apart: Accuracy"] == pytest.approx(accuracy_score(truth, called))
    assert row["patients apart: Specificity"] == pytest.approx(recall_score(truth, called, pos_label=0))
    assert len(read_predictions(file)[0].hemorrhage) == len(lines)


def test_a_finished_training_is_not_repeated_and_a_lost_one_is(finished, capsys):
    table, out = finished
    files = sorted(out.glob("runs/*/result.json"))
    before = {file: file.stat().st_mtime_ns for file in files}
    lost = files[1]
    text = lost.read_text()
    lost.unlink()

    assert run(table, out) == 0
    assert "trainings done: 1;" in capsys.readouterr().out

    assert len(files) == 4
    assert all(file.stat().st_mtime_ns == before[file] for file in files if file != lost)
    again, first = json.loads(lost.read_text()), json.loads(text)
    assert again["best_epoch"] == first["best_epoch"]
    assert again["curves"][0]["training_loss"] == pytest.approx(first["curves"][0]["training_loss"], rel=1e-3)


def test_results_of_other_settings_are_never_mixed(finished, capsys):
    table, out = finished

    assert run(table, out, "--seed", "1") == 1

    assert "belongs to a plan with other settings or data" in capsys.readouterr().err


def test_a_result_without_its_predictions_is_refused_by_name(finished, tmp_path, capsys):
    table, out = finished
    case = all_cases(["dtvit"])[0]
    copy = tmp_path / "runs" / case.name
    copy.mkdir(parents=True)
    (copy / "result.json").write_text((out / "runs" / case.name / "result.json").read_text())

    assert run(table, tmp_path) == 1

    assert "cannot be read; remove its folder" in capsys.readouterr().err


def test_too_few_subjects_are_said_and_wrong_use_is_answered(tmp_path, capsys):
    table = image_set(tmp_path / "drawn", subjects=dict.fromkeys(people(4), "train"), slices=2)

    assert run(table, tmp_path / "out") == 1
    assert "lacks slices with or without a hemorrhage" in capsys.readouterr().err
    for wrong in (["--size", "60"], ["--share", "0"], ["--weights", "dtvit=nowhere"], ["--weights", "vgg=x"]):
        with pytest.raises(SystemExit) as stopped:
            run(table, tmp_path / "out", *wrong)
        assert stopped.value.code == 2


def test_small_changes_the_size_of_the_check_and_nothing_else():
    paper, check = Recipe(), small(Recipe())

    assert (check.encoder, check.size, check.epochs, check.share) == ("vit_small_patch16_224", 64, 2, 0.1)
    assert not check.problems()
    assert (paper.encoder, paper.size, paper.epochs, paper.batch) == ("vit_large_patch16_224", 224, 10, 32)
    assert (paper.rate, paper.weight_decay) == (check.rate, check.weight_decay) == (2e-5, 0.01)
    assert len(all_cases(NETWORKS)) == 20
