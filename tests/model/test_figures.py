"""Figures and page: what a person reads, drawn from the same table, and never left over from before."""

import csv
import json
from xml.etree import ElementTree

import numpy as np
import pytest
from model_builders import image_set, tiny_bundle
from PIL import Image

from model.evaluate.__main__ import main
from model.evaluate.errors_sheet import MOST, worst
from model.evaluate.figures import draw_curves
from model.evaluate.peaks import heat_map_figures
from model.evaluate.table import Predictions
from model.image_set import read_tables

SUBJECTS = {f"p{n}": "test" for n in range(6)}
CURVES = """epoch,training_loss,validation_loss,validation_auc,rate,seconds
1,1.2,1.1,0.7,1e-4,9
2,0.9,1.0,0.8,1e-4,9
"""


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """Arguments of an evaluation with everything, and its folder."""
    folder = tmp_path_factory.mktemp("figures")
    bundle, table = tiny_bundle(folder / "bundle"), image_set(folder / "<drawn>", subjects=SUBJECTS, slices=4)
    (folder / "bundle" / "curves.csv").write_text(CURVES)
    (table.parent / "p5-3.png").write_bytes(b"")
    arguments = [
        "--bundle",
        str(bundle),
        "--slices",
        str(table),
        "--out",
        str(folder / "out"),
        "--device",
        "cpu",
    ]
    assert main(arguments) == 0
    return arguments, folder / "out"


def test_every_figure_is_there_as_png_and_svg(evaluated):
    _, out = evaluated

    for name in ("roc", "calibration", "confusion", "curves", "worst_errors"):
        with Image.open(out / f"{name}.png") as picture:
            assert min(picture.size) > 200
        assert ElementTree.parse(out / f"{name}.svg").getroot().tag.endswith("svg")


def test_the_page_says_what_the_summary_says_and_that_it_must_stay(evaluated):
    _, out = evaluated
    page = (out / "index.html").read_text()
    summary = json.loads((out / "summary.json").read_text())

    assert "Research software. Not for diagnostic use." in page
    assert "must not leave\nthe hospital" in page
    assert f"{summary['slice']['auc']:.3f}" in page
    assert "PPV where 10% bleed" in page
    assert "Slices without a prediction: 1" in page
    assert "&lt;drawn&gt;" in page
    assert "<drawn>" not in page
    assert "$" not in page
    for words in summary["audit"]["verdict"]:
        assert words.replace("'", "&#x27;") in page
    for name in ("roc", "calibration", "confusion", "curves", "worst_errors"):
        assert f'src="{name}.png"' in page


def test_the_verdict_is_printed(evaluated, tmp_path, capsys):
    arguments, _ = evaluated

    main([*arguments, "--out", str(tmp_path), "--no-figures"])

    said = capsys.readouterr().err
    assert "shortcut audit" in said
    assert "The head's size and place alone" in said
    assert "Network with the brain blanked" in said


def test_an_evaluation_without_figures_leaves_none_of_an_earlier_one(evaluated, tmp_path):
    arguments, out = evaluated
    for name in ("index.html", "roc.png", "worst_errors.svg"):
        (tmp_path / name).write_text("old")

    main([*arguments, "--out", str(tmp_path), "--no-figures", "--predictions", str(out / "predictions.csv")])

    assert {file.name for file in tmp_path.iterdir()} == {"predictions.csv", "summary.json"}


def test_figures_can_be_drawn_from_the_table_alone_without_heat_maps(evaluated, tmp_path):
    arguments, out = evaluated

    assert main([*arguments, "--out", str(tmp_path), "--predictions", str(out / "predictions.csv")]) == 0

    assert (tmp_path / "worst_errors.png").exists()
    assert "Shortcut audit: not done" in (tmp_path / "index.html").read_text()


@pytest.mark.parametrize("text", ["", "epoch,loss\n1,2\n", CURVES + "3,0.8", CURVES + "3,,,,,\n", "\0"])
def test_curves_that_nobody_understands_are_not_drawn(tmp_path, text):
    (tmp_path / "curves.csv").write_text(text)

    assert draw_curves(tmp_path / "curves.csv") is None


def test_nothing_to_draw_is_no_error(tmp_path):
    table = image_set(tmp_path / "drawn", subjects=SUBJECTS, slices=1, labelled=False, located=False)
    bundle = tiny_bundle(tmp_path / "bundle")

    done = main(
        ["--bundle", str(bundle), "--slices", str(table), "--out", str(tmp_path / "out"), "--device", "cpu"]
    )

    assert done == 0
    assert not list((tmp_path / "out").glob("*.png"))
    assert (tmp_path / "out" / "index.html").exists()


def predictions(scores, peaks=None):
    none = np.full((len(scores), 2), np.nan)
    places = np.full((len(scores), 3), 1 / 3)
    return Predictions(hemorrhage=np.array(scores), location=places, peaks=none if peaks is None else peaks)


def test_the_worst_errors_come_first_and_are_few(tmp_path, seed):
    table = image_set(tmp_path, subjects={"p0": "test", "p1": "test"}, slices=40, bleeding=40)
    scores = np.random.default_rng(seed).random(80)

    found = worst(read_tables([table]), predictions(scores), 0.5)

    missed, called = found[:MOST], found[MOST:]
    assert [m.score for m in missed] == sorted(scores[40:][scores[40:] < 0.5])[:MOST]
    assert [m.score for m in called] == sorted(scores[:40][scores[:40] >= 0.5], reverse=True)[:MOST]


def test_a_peak_counts_where_it_lies_in_a_readers_box(tmp_path):
    table = image_set(tmp_path, subjects={f"p{n}": "test" for n in range(4)}, slices=2, bleeding=2)
    with (tmp_path / "boxes.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(
            [
                ["path", "x_min", "y_min", "x_max", "y_max", "frame_size"],
                ["p1-0.png", 10, 20, 19, 39, 100],
                ["p1-1.png", 10, 20, 19, 39, 100],
                ["p3-0.png", 10, 20, 19, 39, 100],
                ["p3-0.png", 60, 60, 79, 79, 100],
            ]
        )
    rows = read_tables([table])
    peaks = np.full((8, 2), np.nan)
    peaks[[2, 6]] = [0.15, 0.3], [0.7, 0.7]  # p1-1 has no peak: missed

    found = heat_map_figures(rows, peaks)

    assert found["slices"] == 3
    assert found["peak_in_box"] == pytest.approx(2 / 3)
    assert found["ci"][0] <= 2 / 3 <= found["ci"][1]
    assert found["box_share"] == pytest.approx((0.02 + 0.02 + 0.06) / 3)
    peaks[2] = 0.3, 0.15  # rows for columns
    assert heat_map_figures(rows, peaks)["peak_in_box"] == pytest.approx(1 / 3)
    assert heat_map_figures(rows[:2], peaks[:2]) is None
