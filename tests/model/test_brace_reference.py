"""The reference that brace removal is measured with, and the command that measures."""

import csv
import json

import numpy as np
import pytest
from model_builders import drawn_head
from PIL import Image

from model.evaluate.brace import main
from model.evaluate.brace_reference import judge, reference_of
from model.window import to_window


def drawn(headrest):
    """Return a drawn slice in window units, and its head and brace masks."""
    hu, head = drawn_head(headrest, size=384)
    bare, _ = drawn_head("none", size=384)
    return to_window(hu), head, (hu > 150) & (bare < 100)


@pytest.mark.parametrize("headrest", ["plate", "cradle", "thick shell", "side bars"])
def test_the_reference_knows_head_and_headrest_for_certain(headrest):
    picture, head, brace = drawn(headrest)

    reference = reference_of(picture)

    assert reference.headrest[brace].mean() > 0.9
    assert not (reference.headrest & head).any()
    assert reference.head[head & (picture > 0.02)].all()
    assert not (reference.head & brace).any()
    assert reference.brain[head].mean() > 0.6


def test_what_a_mask_keeps_of_the_headrest_and_takes_from_the_head_is_counted():
    picture, head, _ = drawn("plate")
    reference = reference_of(picture)
    everything, nothing = np.ones(head.shape, dtype=bool), np.zeros(head.shape, dtype=bool)

    whole, none = judge(everything, reference), judge(nothing, reference)

    assert (whole.left, whole.lost, whole.brain_lost) == (reference.headrest.sum(), 0, 0)
    assert (none.left, none.lost_share) == (0, 1.0)
    assert none.brain_lost == reference.brain.sum()


def test_a_hand_beside_the_head_is_neither_head_nor_headrest():
    picture, _, _ = drawn("none")
    rows, columns = np.indices(picture.shape)
    finger = ((rows - 60) / 9) ** 2 + ((columns - 350) / 7) ** 2 < 1
    picture[finger] = 0.9

    reference = reference_of(picture)

    assert not (reference.head | reference.headrest)[finger].any()


def test_the_command_writes_figures_a_table_and_the_worst_slices(tmp_path, capsys):
    with (tmp_path / "slices.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["path", "subject", "hemorrhage", "location", "other_finding", "split"])
        for number, headrest in enumerate(["none", "plate", "cradle"]):
            picture = (drawn(headrest)[0] * 255).astype(np.uint8)
            Image.fromarray(picture).save(tmp_path / f"{number}.png")
            table.writerow([f"{number}.png", f"s{number}", 0, "", "", "test"])

    status = main(["--slices", str(tmp_path / "slices.csv"), "--out", str(tmp_path / "out")])

    assert status == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary == json.loads((tmp_path / "out/summary.json").read_text())
    assert (summary["slices"], summary["with_headrest"], summary["headrest_left"]) == (3, 2, 0)
    assert (summary["head_lost"], summary["brain_lost"]) == (0, 0)
    with (tmp_path / "out/brace.csv").open(newline="") as stream:
        assert [row["path"] for row in csv.DictReader(stream)] == ["0.png", "1.png", "2.png"]
    assert (tmp_path / "out/worst.png").stat().st_size > 1000


def test_a_table_that_is_not_there_is_said_in_one_line(tmp_path, capsys):
    status = main(["--slices", str(tmp_path / "none.csv"), "--out", str(tmp_path / "out")])

    assert status == 1
    assert capsys.readouterr().err.startswith("model.evaluate.brace: ")
