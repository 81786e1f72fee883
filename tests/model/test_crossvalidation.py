"""Cross-validation: every subject is predicted once, by a network that never saw it."""

import csv
import json
from collections import Counter

import pytest
from model_builders import TINY, TINY_SIZE, image_set, tiny_bundle

from model.errors import TrainingError
from model.image_set import read_slices
from model.manifest import read_manifest
from model.train import crossvalidate
from model.train.crossvalidate import main
from model.train.folds import deal, kinds, split_for

SUBJECTS = {f"p{n}": "train" for n in range(16)}


def arguments(table, out, *more):
    settings = f"--encoder {TINY} --size {TINY_SIZE} --epochs 1 --batch 4 --samples 4 --folds 2"
    where = ["--slices", str(table), "--out", str(out), "--device", "cpu", "--precision", "float32"]
    return [*where, *settings.split(), *more]


def read(file):
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def trainings(monkeypatch):
    """The names of all trainings so far."""
    names, train = [], crossvalidate.train_rows

    def noted(order, *more, **how):
        names.append(order.name)
        return train(order, *more, **how)

    monkeypatch.setattr(crossvalidate, "train_rows", noted)
    return names


def test_all_subjects_are_predicted_by_two_folds_and_a_finished_fold_is_not_repeated(
    tmp_path, capsys, trainings
):
    table = image_set(tmp_path / "drawn", subjects=SUBJECTS, slices=2, bleeding=1)
    out = tmp_path / "out"

    assert main(arguments(table, out)) == 0
    summary = json.loads(capsys.readouterr().out)
    (out / "fold-2" / "predictions.csv").unlink()  # as if killed before the end
    assert main(arguments(table, out)) == 0

    assert trainings == ["out-fold-1", "out-fold-2", "out-fold-2"]
    assert summary == json.loads((out / "summary.json").read_text())
    lines = read(out / "predictions.csv")
    assert sorted(line["path"] for line in lines) == sorted(row.path for row in read_slices(table))
    assert Counter(line["fold"] for line in lines) == {"1": 16, "2": 16}
    assert all(len({ln["fold"] for ln in lines if ln["subject"] == s}) == 1 for s in SUBJECTS)
    assert (summary["subjects"], summary["slices"]) == (16, 32)
    assert summary["location"]["subjects"] == sum(map(sum, summary["location"]["confusion"])) == 8
    for figure in (
        summary["slice"]["auc"],
        summary["subject"]["auc"],
        summary["location"]["balanced_accuracy"],
    ):
        assert 0 <= figure <= 1
    for low, high in (summary["slice"]["auc_ci"], summary["subject"]["auc_ci"], summary["location"]["ci"]):
        assert low <= high
    trained = read_manifest(out / "fold-1").training
    assert trained["subjects"] + len({ln["subject"] for ln in lines if ln["fold"] == "1"}) < 16  # and val


def test_other_folds_in_the_same_folder_are_refused(tmp_path, capsys, monkeypatch):
    table = image_set(tmp_path / "drawn", subjects=SUBJECTS, slices=1, bleeding=1)

    def stopped(*_, **__):
        raise TrainingError("stopped")

    monkeypatch.setattr(crossvalidate, "train_rows", stopped)

    assert main(arguments(table, tmp_path / "out")) == 1
    assert "stopped" in capsys.readouterr().err
    assert main(arguments(table, tmp_path / "out", "--seed", "4")) == 1
    assert "another --out" in capsys.readouterr().err
    assert main(arguments(table, tmp_path / "few", "--folds", "17")) == 1
    assert "expected 2 to 16 folds" in capsys.readouterr().err


def test_a_parent_that_knows_the_set_is_said_to_flatter(tmp_path, capsys, monkeypatch):
    table = image_set(tmp_path / "drawn", subjects=SUBJECTS, slices=1, bleeding=1)
    other = image_set(tmp_path / "other", subjects=SUBJECTS, slices=1, bleeding=1)
    parent = tiny_bundle(tmp_path / "parent")  # learned from a source named drawn

    def stopped(*_, **__):
        raise TrainingError("stopped")

    monkeypatch.setattr(crossvalidate, "train_rows", stopped)
    main(arguments(table, tmp_path / "a", "--init", str(parent)))
    flattering = capsys.readouterr().err
    main(arguments(other, tmp_path / "b", "--init", str(parent)))

    assert "drawn already" in flattering
    assert "already" not in capsys.readouterr().err


def test_folds_hold_every_kind_of_subject_evenly(tmp_path, seed):
    rows = read_slices(image_set(tmp_path, subjects={f"p{n}": "" for n in range(60)}, slices=1, bleeding=1))
    kind_of = kinds(rows)

    fold_of = deal(kind_of, 5, seed)

    assert Counter(fold_of.values()) == dict.fromkeys(range(5), 12)
    assert set(kind_of.values()) == {"deep", "lobar", "subtentorial", "label 0"}
    assert Counter(zip(kind_of.values(), fold_of.values(), strict=True)) == {
        **{(place, fold): 2 for place in ("deep", "lobar", "subtentorial") for fold in range(5)},
        **{("label 0", fold): 6 for fold in range(5)},
    }
    assert deal(kind_of, 5, seed) == fold_of != deal(kind_of, 5, seed + 1)


def test_a_fold_tests_its_subjects_and_validates_on_a_tenth_of_the_others(tmp_path):
    rows = read_slices(image_set(tmp_path, subjects={f"p{n}": "" for n in range(60)}, slices=2, bleeding=1))
    fold_of = deal(kinds(rows), 5, 0)

    split = split_for(2, rows, fold_of, 0)

    people = {(row.person, row.split) for row in split}
    assert len(people) == 60
    assert {person for person, part in people if part == "test"} == {p for p, f in fold_of.items() if f == 2}
    assert Counter(part for _, part in people) == {"test": 12, "val": 3 + 2, "train": 43}
