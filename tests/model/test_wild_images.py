"""Evaluation of image sets as hospitals have them: damaged, missing, odd; nothing is dropped in silence."""

import csv
import json

import numpy as np
import pytest
from model_builders import image_set, tiny_bundle
from PIL import Image

from model.evaluate.__main__ import main

HEADER = ["path", "subject", "hemorrhage", "location", "other_finding", "split"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("bundles") / "bundle")


@pytest.fixture
def drawn(tmp_path):
    """A set of four subjects, three slices each, and its lines."""
    table = image_set(tmp_path / "drawn", subjects={f"p{n}": "test" for n in range(4)}, slices=3, bleeding=2)
    with table.open(newline="") as stream:
        return table, list(csv.DictReader(stream))


def write(table, lines, *, encoding="utf-8"):
    with table.open("w", newline="", encoding=encoding) as stream:
        writer = csv.DictWriter(stream, fieldnames=list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)


def run(bundle, table, out, *more):
    fixed = ["--bundle", str(bundle), "--slices", str(table), "--out", str(out), "--device", "cpu"]
    return main([*fixed, "--no-audit", "--no-figures", *more])


def evaluate(bundle, table, out, *more):
    assert run(bundle, table, out, *more) == 0
    with (out / "predictions.csv").open(newline="") as stream:
        return json.loads((out / "summary.json").read_text()), list(csv.DictReader(stream))


def test_damaged_and_missing_pictures_are_counted_and_named_and_the_rest_is_judged(
    tmp_path, bundle, drawn, capsys
):
    table, _ = drawn
    folder = table.parent
    (folder / "p0-0.png").unlink()
    (folder / "p1-1.png").write_bytes((folder / "p1-1.png").read_bytes()[:300])
    (folder / "p2-2.png").write_text("no picture")

    summary, predictions = evaluate(bundle, table, tmp_path / "out")

    assert summary["slices"] == len(predictions) == 9
    assert summary["left_out"]["without_prediction"] == 3
    with (tmp_path / "out" / "unreadable.csv").open(newline="") as stream:
        assert [line["path"] for line in csv.DictReader(stream)] == ["p0-0.png", "p1-1.png", "p2-2.png"]
    said = capsys.readouterr().err
    assert "have no prediction: 3" in said
    assert "p1-1.png" in said
    assert str(tmp_path) not in said


def test_a_later_evaluation_into_the_same_folder_leaves_no_old_list(tmp_path, bundle, drawn):
    table, _ = drawn
    whole = (table.parent / "p0-0.png").read_bytes()
    (table.parent / "p0-0.png").unlink()
    evaluate(bundle, table, tmp_path / "out")
    (table.parent / "p0-0.png").write_bytes(whole)

    evaluate(bundle, table, tmp_path / "out")

    assert not (tmp_path / "out" / "unreadable.csv").exists()


def test_words_that_nobody_knows_cost_no_figure_but_their_own_and_are_said(tmp_path, bundle, drawn, capsys):
    table, lines = drawn
    lines[3]["location"] = "basal ganglia"
    lines[4]["location"] = "basal ganglia"
    for line in lines:
        line["hemorrhage"] = f"{line['hemorrhage']}.0"  # as pandas writes them beside empty cells
    write(table, lines)
    (table.parent / "boxes.csv").write_text("path,left,top\np1-0.png,1,2\n")

    summary, predictions = evaluate(bundle, table, tmp_path / "out")

    assert len(predictions) == 12
    assert summary["slice"]["auc"] is not None
    assert summary["location"]["subjects"] == 1  # the second bleeding subject's is known
    assert summary["heat_map"] is None
    assert any("basal ganglia" in words and "2 x" in words for words in summary["warnings"])
    assert any("boxes.csv" in words for words in summary["warnings"])
    assert "basal ganglia" in capsys.readouterr().err


def test_a_picture_that_is_missing_gives_no_other_table_s_slice_its_score(tmp_path, bundle):
    north = image_set(tmp_path / "north", subjects={"p0": "test", "p1": "test"}, slices=2, bleeding=2)
    south = image_set(tmp_path / "south", subjects={"p0": "test", "p1": "test"}, slices=2, bleeding=2)
    (tmp_path / "north" / "p1-0.png").unlink()
    south.write_text(south.read_text().replace("p1-0.png,p1,1", "p1-0.png,p1,0"))

    summary, predictions = evaluate(bundle, north, tmp_path / "out", "--slices", str(south))

    assert len(predictions) == 7
    counts = summary["slice"]["counts"]
    assert counts["true_positive"] + counts["false_negative"] == 2  # p1-1.png of both


def test_only_unreadable_pictures_are_an_error(tmp_path, bundle, drawn, capsys):
    table, _ = drawn
    for picture in table.parent.glob("*.png"):
        picture.unlink()

    assert run(bundle, table, tmp_path / "out") == 1
    assert "none of the 12 pictures can be read" in capsys.readouterr().err


def test_a_subject_in_two_splits_is_refused_for_a_split_and_said_for_all(tmp_path, bundle, drawn, capsys):
    table, lines = drawn
    lines[0]["split"] = "train"
    write(table, lines)

    assert run(bundle, table, tmp_path / "out", "--split", "test") == 1
    assert "two splits" in capsys.readouterr().err
    summary, _ = evaluate(bundle, table, tmp_path / "out")
    assert summary["slices"] == 12
    assert "two splits" in summary["warnings"][0]


def test_contradicted_rows_are_left_out_and_counted(tmp_path, bundle, drawn):
    table, lines = drawn
    write(table, [line | {"contradicted": int(n == 1)} for n, line in enumerate(lines)])

    summary, predictions = evaluate(bundle, table, tmp_path / "out")

    assert summary["left_out"]["contradicted"] == 1
    assert len(predictions) == 11


def test_a_table_as_a_spreadsheet_saves_it_is_read(tmp_path, bundle, drawn):
    table, lines = drawn
    write(table, lines, encoding="utf-8-sig")

    summary, _ = evaluate(bundle, table, tmp_path / "out")

    assert summary["subjects"] == 4


def test_pictures_of_every_kind_and_size_are_judged(tmp_path, bundle):
    folder = tmp_path / "odd"
    folder.mkdir()
    random = np.random.default_rng(3)
    gray = (random.random((70, 110)) * 255).astype(np.uint8)
    pictures = {
        "colour.png": Image.fromarray(np.stack([gray] * 3, axis=-1)),
        "clear.png": Image.fromarray(np.stack([gray] * 4, axis=-1)),
        "deep.png": Image.fromarray(np.full((64, 64), 1060, dtype=np.uint16)),
        "wide.png": Image.fromarray(gray[:20]),
        "dot.png": Image.fromarray(gray[:1, :1]),
        "line.png": Image.fromarray(gray[:1]),
        "black.jpg": Image.fromarray(np.zeros((90, 40), dtype=np.uint8)),
        "white.webp": Image.fromarray(np.full((40, 90), 255, dtype=np.uint8)),
        "bits.png": Image.fromarray(gray > 128),
        "palette.gif": Image.fromarray(gray).convert("P"),
    }
    for name, picture in pictures.items():
        picture.save(folder / name)
    write(
        folder / "slices.csv", [dict(zip(HEADER, [n, "one", "1", "", "", ""], strict=True)) for n in pictures]
    )

    summary, predictions = evaluate(bundle, folder / "slices.csv", tmp_path / "out")

    assert len(predictions) == len(pictures)
    assert all(0 <= float(line["hemorrhage_probability"]) <= 1 for line in predictions)
    assert summary["slice"]["auc"] is None
    assert summary["slice"]["sensitivity_ci"] is None  # one subject
    black = next(line for line in predictions if line["path"] == "black.jpg")
    assert black["peak_x"] == black["peak_y"] == ""


def test_equal_paths_of_two_tables_are_two_slices(tmp_path, bundle):
    tables = [
        image_set(tmp_path / name, subjects={"p0": "test", "p1": "test"}, slices=2, bleeding=1)
        for name in ("north", "south")
    ]

    summary, predictions = evaluate(bundle, tables[0], tmp_path / "out", "--slices", str(tables[1]))

    assert summary["sources"] == ["north", "south"]
    assert summary["subjects"] == 4
    assert len(predictions) == 8


def test_processes_give_the_same_predictions(tmp_path, bundle):
    table = image_set(tmp_path / "drawn", subjects={f"p{n}": "test" for n in range(33)}, slices=4)

    _, alone = evaluate(bundle, table, tmp_path / "alone", "--workers", "1")
    _, shared = evaluate(bundle, table, tmp_path / "shared", "--workers", "2")

    assert alone == shared
