"""Prepared slices: kept on disk, found again, made anew when a picture changed; boxes follow the picture."""

import os

import numpy as np
import pytest
from model_builders import PICTURE_SIZE, SPOT, image_set
from PIL import Image

from model.errors import ImageSetError
from model.image_set import read_slices
from model.prepare import prepare
from model.train import cache
from model.train.cache import prepare_all, prepared_boxes

SIZE = 64


@pytest.fixture
def rows(tmp_path):
    table = image_set(
        tmp_path / "drawn", subjects={"p0": "train", "p1": "train"}, slices=2, bleeding=1, boxed=True
    )
    return read_slices(table)


@pytest.fixture
def prepared(monkeypatch):
    """The sides of all pictures that were prepared so far."""
    done = []

    def counted(picture, size):
        done.append(size)
        return prepare(picture, size)

    monkeypatch.setattr(cache, "prepare", counted)
    return done


def test_the_next_run_finds_what_was_prepared(tmp_path, rows, prepared):
    first = prepare_all(rows, SIZE, workers=1, folder=tmp_path / "cache")
    again = prepare_all(rows, SIZE, workers=1, folder=tmp_path / "cache")

    assert prepared == [SIZE] * 4
    assert np.array_equal(first.pictures, again.pictures)
    assert np.array_equal(first.frames, again.frames)
    assert [f.suffix for f in (tmp_path / "cache").iterdir()] == [".npz"]


def test_another_size_and_a_changed_picture_are_prepared_anew(tmp_path, rows, prepared):
    folder = tmp_path / "cache"
    before = prepare_all(rows, SIZE, workers=1, folder=folder)
    prepare_all(rows, SIZE // 2, workers=1, folder=folder)
    assert prepared == [SIZE] * 4 + [SIZE // 2] * 4

    rows[0].file.write_bytes(rows[2].file.read_bytes())  # p0's first slice bleeds now
    os.utime(rows[0].file, ns=(1, 1))
    after = prepare_all(rows, SIZE, workers=1, folder=folder)

    assert len(prepared) == 12
    assert not np.array_equal(before.pictures[0], after.pictures[0])
    assert np.array_equal(before.pictures[1:], after.pictures[1:])


def test_sources_are_kept_apart_and_come_in_the_order_of_the_rows(tmp_path, rows, prepared):
    other = read_slices(image_set(tmp_path / "other", subjects={"q0": "train"}, slices=2))
    mixed = [rows[0], other[0], rows[1], other[1]]

    together = prepare_all(mixed, SIZE, workers=1, folder=tmp_path / "cache")
    alone = prepare_all(other, SIZE, workers=1, folder=tmp_path / "cache")

    assert len(prepared) == 4  # the other source's were found
    assert np.array_equal(together.pictures[1::2], alone.pictures)


def test_boxes_follow_the_picture(rows):
    bleeding = next(row for row in rows if row.hemorrhage == 1)
    found = prepare_all([bleeding], SIZE, workers=1)

    ((x0, y0, x1, y1),) = prepared_boxes(bleeding.boxes, found.frames[0])

    picture = found.pictures[0].astype(float) / 255
    columns, lines = slice(round(x0 * SIZE), round(x1 * SIZE)), slice(round(y0 * SIZE), round(y1 * SIZE))
    share = (SPOT[1] - SPOT[0]) / PICTURE_SIZE
    assert x1 - x0 == pytest.approx(y1 - y0)
    assert x1 - x0 > share  # the head fills more of the prepared picture
    assert picture[lines, columns].mean() > 0.8
    assert (
        picture[lines, columns].mean()
        > picture[lines, : columns.start - 2][picture[lines, : columns.start - 2] > 0.2].mean()
    )


def test_where_no_head_is_found_there_are_no_boxes(tmp_path, rows):
    Image.fromarray(np.zeros((PICTURE_SIZE, PICTURE_SIZE), dtype=np.uint8)).save(rows[2].file)

    found = prepare_all([rows[2]], SIZE, workers=1)

    assert found.pictures.max() == 0
    assert prepared_boxes(rows[2].boxes, found.frames[0]) == []


def test_a_picture_that_is_missing_is_named_although_slices_are_kept(tmp_path, rows):
    rows[3].file.unlink()
    with pytest.raises(ImageSetError, match=rows[3].file.name):
        prepare_all(rows, 32, workers=1, folder=tmp_path / "kept")
