"""The model card: prose from its template, numbers from manifest and summaries alone."""

import json
import re

import pytest
from model_builders import image_set, tiny_bundle, tiny_manifest

from model.evaluate.__main__ import main as evaluate
from model.evaluate.card import TEMPLATE, card, main
from model.manifest import bundle_sha256, read_manifest

SUBJECTS = {f"p{n}": "test" for n in range(6)}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """A bundle and the folder of an evaluation of it."""
    folder = tmp_path_factory.mktemp("card")
    bundle, table = tiny_bundle(folder / "bundle"), image_set(folder / "drawn", subjects=SUBJECTS, slices=4)
    fixed = ["--bundle", str(bundle), "--slices", str(table), "--out", str(folder / "out"), "--device", "cpu"]
    assert evaluate([*fixed, "--no-audit", "--no-figures"]) == 0
    return bundle, folder / "out"


def test_the_numbers_of_the_card_are_those_of_the_summary(tmp_path, evaluated):
    bundle, out = evaluated
    summary = json.loads((out / "summary.json").read_text())
    summary["slice"] |= {"auc": 0.87654, "auc_ci": [0.81234, 0.93456]}
    summary["audit"] = {"passed": False, "verdict": ["It leans on the zoom."]}
    changed = tmp_path / "changed"
    changed.mkdir()
    (changed / "summary.json").write_text(json.dumps(summary))

    done = main(
        ["--bundle", str(bundle), "--evaluation", f"our test={changed}", "--out", str(tmp_path / "CARD.md")]
    )

    written = (tmp_path / "CARD.md").read_text()
    assert done == 0
    assert "### Our test" in written
    assert "| Slices | AUC | 0.877 (0.812 to 0.935) |" in written
    assert "| our test | 0.877 (0.812 to 0.935) |" in written
    assert "- It leans on the zoom." in written
    assert bundle_sha256(bundle) in written
    assert "Not for diagnostic use" in written
    assert "$" not in written


def test_a_figure_of_another_bundle_is_said_to_be_one(evaluated):
    bundle, out = evaluated
    summary = json.loads((out / "summary.json").read_text()) | {
        "bundle_sha256": "f" * 64,
        "bundle": "left-out",
    }

    written = card(read_manifest(bundle), bundle_sha256(bundle), {"left out": summary}, {})

    assert "Measured on another bundle, `left-out`." in written


def test_a_cross_validation_stands_in_the_table_of_all_alone(tmp_path, evaluated):
    bundle, _ = evaluated
    summary = {
        "slice": {"auc": 0.9, "auc_ci": None},
        "subject": {"auc": 0.95, "auc_ci": [0.91, 0.98]},
        "location": {"balanced_accuracy": 0.86, "ci": [0.79, 0.92]},
    }
    (tmp_path / "summary.json").write_text(json.dumps(summary))

    done = main(
        ["--bundle", str(bundle), "--also", f"five folds={tmp_path}", "--out", str(tmp_path / "CARD.md")]
    )

    written = (tmp_path / "CARD.md").read_text()
    cells = ("0.900", "0.950 (0.910 to 0.980)", "not measured", "not measured", "0.860 (0.790 to 0.920)")
    assert done == 0
    assert " | ".join(("| five folds", *cells)) in written
    assert "### Five folds" not in written


def test_the_validation_figures_of_the_manifest_are_shown_without_an_audit(evaluated):
    _, out = evaluated
    summary = json.loads((out / "summary.json").read_text())
    del summary["audit"]

    written = card(tiny_manifest(metrics={"validation": summary}), "0" * 64, {}, {})

    assert "### Validation (thresholds and temperature were fitted here)" in written
    assert "No shortcut audit was made" in written


def test_the_template_states_no_result(evaluated):
    figures = re.findall(r"\d+\.\d+", TEMPLATE.read_text())

    assert figures == ["0.95"]  # what the thresholds promise, from the bundle's contract


def test_wrong_use_is_answered_with_a_reason(tmp_path, evaluated, capsys):
    bundle, _ = evaluated
    common = ["--bundle", str(bundle), "--out", str(tmp_path / "CARD.md")]

    assert main([*common, "--evaluation", f"nothing={tmp_path}"]) == 1
    assert "summary.json" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*common, "--evaluation", "unnamed"])
