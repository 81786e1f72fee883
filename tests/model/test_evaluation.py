"""Evaluation: two files as agreed, figures from subjects, null where nothing can be said."""

import csv
import json

import numpy as np
import pytest
from model_builders import TINY, TINY_SIZE, image_set, tiny_bundle, tiny_manifest
from sklearn.metrics import brier_score_loss, f1_score, roc_auc_score

from model.bundle import stored_weights, write_bundle
from model.evaluate.__main__ import main
from model.evaluate.summary import summarize
from model.evaluate.table import Predictions
from model.image_set import read_tables
from model.manifest import Thresholds, bundle_sha256
from model.network import DTViT

SUBJECTS = {f"p{n}": "test" if n < 6 else "train" for n in range(8)}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("bundles") / "bundle")


def run(bundle, table, out, *more):
    """Evaluate without audit and figures, which have tests of their own."""
    fixed = ["--bundle", str(bundle), "--slices", str(table), "--out", str(out), "--device", "cpu"]
    return main([*fixed, "--no-audit", "--no-figures", *more])


def evaluate(bundle, table, out, *more):
    assert run(bundle, table, out, *more) == 0
    with (out / "predictions.csv").open(newline="") as stream:
        return json.loads((out / "summary.json").read_text()), list(csv.DictReader(stream))


def test_both_files_hold_what_was_agreed(tmp_path, bundle):
    table = image_set(tmp_path / "drawn", subjects=SUBJECTS)

    summary, predictions = evaluate(bundle, table, tmp_path / "out", "--split", "test")

    assert list(predictions[0]) == [
        "path", "subject", "hemorrhage_probability", "deep_probability", "lobar_probability",
        "subtentorial_probability", "peak_x", "peak_y",
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
    for level in ("slice", "subject"):
        assert summary[level].keys() >= {"auc", "auc_ci", "sensitivity", "specificity"}
    assert np.array(summary["location"]["confusion"]).sum() == 3
    assert summary["calibration"].keys() >= {"brier", "ece"}
    assert summary["heat_map"] is None  # nobody drew boxes


def test_one_class_only_gives_null(tmp_path, bundle):
    table = image_set(tmp_path / "drawn", subjects={"p0": "test"}, slices=3)

    summary, _ = evaluate(bundle, table, tmp_path / "out")

    assert summary["slice"]["auc"] is None
    assert summary["slice"]["auc_ci"] is None
    assert summary["slice"]["sensitivity"] is None
    assert 0 <= summary["slice"]["specificity"] <= 1
    assert summary["location"] is None


def figures_of(level):
    names = ("auc", "auc_ci", "sensitivity", "sensitivity_ci", "specificity", "ppv", "npv", "f1", "f1_ci")
    return [level[name] for name in names]


def test_no_labels_at_all_give_null_and_predictions(tmp_path, bundle):
    table = image_set(tmp_path / "drawn", subjects=SUBJECTS, slices=2, labelled=False, located=False)

    summary, predictions = evaluate(bundle, table, tmp_path / "out")

    assert len(predictions) == 16
    for level in ("slice", "subject"):
        assert set(figures_of(summary[level])) == {None}
    assert (summary["calibration"]["brier"], summary["calibration"]["ece"]) == (None, None)
    assert summary["calibration"]["bins"] == []
    assert summary["location"] is None
    assert summary["prevalence"] == {"stated": 0.1, "slices": None, "subjects": None}


def test_missing_locations_give_null(tmp_path, bundle):
    table = image_set(tmp_path / "drawn", subjects=SUBJECTS, slices=2, bleeding=1, located=False)

    summary, _ = evaluate(bundle, table, tmp_path / "out")

    assert summary["location"] is None
    assert summary["subject"]["auc"] is not None


def predictions(scores):
    places = np.full((len(scores), 3), 1 / 3)
    return Predictions(hemorrhage=scores, location=places, peaks=np.full((len(scores), 2), np.nan))


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
        predictions(scores),
        slice_thresholds=thresholds,
        study_thresholds=thresholds,
        aggregation="run3_mean",
    )

    assert figures["subject"]["auc"] == 1.0
    assert figures["slice"]["auc"] == 0.5


def test_figures_at_the_thresholds_are_those_of_hand_and_scikit_learn(tmp_path):
    table = image_set(tmp_path / "drawn", subjects={f"p{n}": "test" for n in range(6)}, slices=2, bleeding=1)
    rows = read_tables([table])
    labels = np.array([r.hemorrhage for r in rows])
    scores = np.array([0.1, 0.2, 0.9, 0.7, 0.4, 0.1, 0.3, 0.2, 0.6, 0.1, 0.8, 0.1])

    found = summarize(
        rows,
        predictions(scores),
        slice_thresholds=Thresholds(low=0.5, high=0.75),
        study_thresholds=Thresholds(low=0.5, high=0.5),
        aggregation="run3_mean",
        prevalence=0.2,
    )

    # bleeding slices score 0.9, 0.3 and 0.8; of the nine others 0.7 and 0.6 are called
    called = found["slice"]
    assert called["counts"] == {
        "true_positive": 2, "false_negative": 1, "true_negative": 7, "false_positive": 2,
    }  # fmt: skip
    assert called["sensitivity"] == pytest.approx(2 / 3)
    assert called["specificity"] == pytest.approx(7 / 9)
    assert called["ppv"] == pytest.approx((2 / 3 * 0.2) / (2 / 3 * 0.2 + 2 / 9 * 0.8))
    assert called["f1"] == pytest.approx(f1_score(labels, scores >= 0.5))
    assert called["high"]["specificity"] == 1.0
    assert called["high"]["counts"]["true_positive"] == 2
    assert found["calibration"]["brier"] == pytest.approx(brier_score_loss(labels, scores))
    assert found["prevalence"] == {"stated": 0.2, "slices": 0.25, "subjects": 0.5}
    for name in ("auc", "sensitivity", "specificity", "ppv", "npv", "f1"):
        low, high = called[f"{name}_ci"]
        assert low <= called[name] <= high


def test_the_summary_can_be_made_again_from_the_table_of_predictions(tmp_path, bundle):
    table = image_set(tmp_path / "drawn", subjects=SUBJECTS)
    first, _ = evaluate(bundle, table, tmp_path / "out")
    for picture in (tmp_path / "drawn").glob("*.png"):
        picture.unlink()  # the network cannot run again

    kept = str(tmp_path / "out" / "predictions.csv")
    again, _ = evaluate(bundle, table, tmp_path / "again", "--predictions", kept)

    assert again == first


def test_a_table_of_other_slices_is_refused(tmp_path, bundle, capsys):
    table = image_set(tmp_path / "drawn", subjects={"p0": "test"}, slices=2)
    evaluate(bundle, table, tmp_path / "out")
    other = image_set(tmp_path / "other", subjects={"q0": "test"}, slices=2)

    kept = str(tmp_path / "out" / "predictions.csv")

    assert run(bundle, other, tmp_path / "again", "--predictions", kept) == 1
    assert "no slice of the tables" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("says", "line"),
    [("expected numbers", "p0-0.png,p0,much,0,0,1,,"), ("within 0 and 1", "p0-0.png,p0,0.5,0.9,0.9,0.9,,")],
)
def test_a_damaged_table_of_predictions_is_named(tmp_path, bundle, capsys, says, line):
    table = image_set(tmp_path / "drawn", subjects={"p0": "test"}, slices=2)
    evaluate(bundle, table, tmp_path / "out")
    kept = tmp_path / "out" / "predictions.csv"
    header = kept.read_text().splitlines()[0]
    kept.write_text(f"{header}\n{line}\n")

    assert run(bundle, table, tmp_path / "out", "--predictions", str(kept)) == 1
    said = capsys.readouterr().err
    assert "line 2" in said
    assert says in said


def test_a_bundle_whose_evidence_says_nothing_has_no_peaks(tmp_path):
    manifest = tiny_manifest()
    weights = stored_weights(DTViT(TINY, TINY_SIZE))
    silent = {
        name: 0 * tensor if name.startswith("evidence.") else tensor for name, tensor in weights.items()
    }
    write_bundle(tmp_path / "silent", manifest, silent)
    table = image_set(tmp_path / "drawn", subjects={"p0": "test", "p1": "test"}, slices=2, bleeding=2)
    (tmp_path / "drawn" / "boxes.csv").write_text(
        "path,x_min,y_min,x_max,y_max,frame_size\np1-0.png,0,0,5,5,9\n"
    )

    summary, predictions = evaluate(tmp_path / "silent", table, tmp_path / "out")

    assert {line["peak_x"] for line in predictions} == {""}
    assert summary["heat_map"] is None


def test_wrong_use_is_answered_with_a_reason(tmp_path, bundle, capsys):
    table = image_set(tmp_path / "drawn", subjects={"p0": "test"}, slices=2)
    common = ["--slices", str(table), "--out", str(tmp_path / "out")]

    assert main([*common, "--bundle", str(bundle), "--split", "val"]) == 1
    assert "no slices" in capsys.readouterr().err
    assert main([*common, "--bundle", str(tmp_path / "nowhere")]) == 1
    with pytest.raises(SystemExit) as stopped:
        main([*common, "--bundle", str(bundle), "--split", "all"])
    assert stopped.value.code == 2
    with pytest.raises(SystemExit):
        main([*common, "--bundle", str(bundle), "--prevalence", "10"])
    (tmp_path / "taken").write_text("")
    assert run(bundle, table, tmp_path / "taken") == 1
