"""Evaluation: two files as agreed, figures from subjects, null where nothing can be said."""

import csv
import json

import numpy as np
import pytest
from model_builders import image_set, tiny_bundle
from sklearn.metrics import roc_auc_score

from model.evaluate.__main__ import main
from model.evaluate.summary import summarize
from model.image_set import read_tables
from model.manifest import Thresholds, bundle_sha256
from model.score import SliceScores

SUBJECTS = {f"p{n}": "test" if n < 6 else "train" for n in range(8)}


def evaluate(tmp_path, table, *more):
    bundle = tiny_bundle(tmp_path / "bundle")
    out = tmp_path / "out"
    code = main(
        ["--bundle", str(bundle), "--slices", str(table), "--out", str(out), "--device", "cpu", *more]
    )
    assert code == 0
    with (out / "predictions.csv").open(newline="") as stream:
        return json.loads((out / "summary.json").read_text()), list(csv.DictReader(stream)), bundle


def test_both_files_hold_what_was_agreed(tmp_path):
    table = image_set(tmp_path / "drawn", subjects=SUBJECTS)

    summary, predictions, bundle = evaluate(tmp_path, table, "--split", "test")

    assert list(predictions[0]) == [
        "path", "subject", "hemorrhage_probability", "deep_probability", "lobar_probability",
        "subtentorial_probability",
    ]  # fmt: skip
    assert len(predictions) == summary["slices"] == 48
    assert summary["schema"] == 1
    assert summary["subjects"] == 6
    assert summary["bundle_sha256"] == bundle_sha256(bundle)
    assert summary["thresholds"] == {"slice": {"low": 0.3, "high": 0.6}, "study": {"low": 0.2, "high": 0.7}}
    for line in predictions:
        places = [float(line[f"{p}_probability"]) for p in ("deep", "lobar", "subtentorial")]
        assert sum(places) == pytest.approx(1, abs=1e-6)
    labels = [r.hemorrhage for r in read_tables([table]) if r.split == "test"]
    scores = [float(line["hemorrhage_probability"]) for line in predictions]
    assert summary["slice"]["auc"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-6)
    assert (
        summary["slice"].keys()
        == summary["subject"].keys()
        == {"auc", "auc_ci", "sensitivity", "specificity"}
    )
    assert np.array(summary["location"]["confusion"]).sum() == 3
    assert summary["calibration"].keys() == {"brier", "ece"}


def test_one_class_only_gives_null(tmp_path):
    table = image_set(tmp_path / "drawn", subjects={"p0": "test"}, slices=3)

    summary, _, _ = evaluate(tmp_path, table)

    assert summary["slice"]["auc"] is None
    assert summary["slice"]["auc_ci"] is None
    assert summary["slice"]["sensitivity"] is None
    assert 0 <= summary["slice"]["specificity"] <= 1
    assert summary["location"] is None


def test_no_labels_at_all_give_null_and_predictions(tmp_path):
    table = image_set(tmp_path / "drawn", subjects=SUBJECTS, slices=2, labelled=False, located=False)

    summary, predictions, _ = evaluate(tmp_path, table)

    assert len(predictions) == 16
    assert (
        summary["slice"]
        == summary["subject"]
        == dict.fromkeys(("auc", "auc_ci", "sensitivity", "specificity"))
    )
    assert summary["calibration"] == {"brier": None, "ece": None}
    assert summary["location"] is None


def test_missing_locations_give_null(tmp_path):
    table = image_set(tmp_path / "drawn", subjects=SUBJECTS, slices=2, bleeding=1, located=False)

    summary, _, _ = evaluate(tmp_path, table)

    assert summary["location"] is None
    assert summary["subject"]["auc"] is not None


def test_slices_without_a_label_count_for_their_subject(tmp_path):
    table = image_set(tmp_path / "drawn", subjects={"p0": "test", "p1": "test"}, slices=4, bleeding=1)
    rows = read_tables([table])
    unknown = [
        row if i < 5 else type(row)(**(row.__dict__ | {"hemorrhage": None})) for i, row in enumerate(rows)
    ]
    scores = np.array([0.1] * 5 + [0.9] * 3)  # only slices without a label betray the second subject
    thresholds = Thresholds(low=0.5, high=0.5)

    figures = summarize(
        unknown,
        SliceScores(hemorrhage=scores, location=np.full((8, 3), 1 / 3), logit=scores),
        slice_thresholds=thresholds,
        study_thresholds=thresholds,
        aggregation="run3_mean",
    )

    assert figures["subject"]["auc"] == 1.0
    assert figures["slice"]["auc"] == 0.5


def test_wrong_use_is_answered_with_a_reason(tmp_path, capsys):
    table = image_set(tmp_path / "drawn", subjects={"p0": "test"}, slices=2)
    bundle = tiny_bundle(tmp_path / "bundle")
    common = ["--slices", str(table), "--out", str(tmp_path / "out")]

    assert main([*common, "--bundle", str(bundle), "--split", "val"]) == 1
    assert "no slices" in capsys.readouterr().err
    assert main([*common, "--bundle", str(tmp_path / "nowhere")]) == 1
    with pytest.raises(SystemExit) as stopped:
        main([*common, "--bundle", str(bundle), "--split", "all"])
    assert stopped.value.code == 2
