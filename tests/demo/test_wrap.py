"""Image sets wrapped as CT series: the window's HU, the scanner's frame, one file a slice."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.pixels import apply_rescale

from ich_node.demo.wrap import main, read_hu, slices_of, wrap

FRAME = ("frame_size", "crop_left", "crop_top", "crop_size", "stored_size")


def image_set(folder: Path, rows: list[dict[str, str]]) -> Path:
    table = folder / "slices.csv"
    with table.open("w", newline="") as lines:
        columns = list(rows[0])
        writer = csv.DictWriter(lines, columns)
        writer.writeheader()
        writer.writerows(rows)
    return table


def row(path: str, subject: str = "s1", **more: str) -> dict[str, str]:
    return {"path": path, "subject": subject, "hemorrhage": "1", "location": "", "split": "test", **more}


def test_a_pixel_of_the_brain_window_becomes_its_hu(tmp_path: Path) -> None:
    shades = np.repeat(np.array([[0, 51, 102, 255]], dtype=np.uint8), 4, axis=0).repeat(128, 0).repeat(128, 1)
    Image.fromarray(shades).save(tmp_path / "a.png")

    hu = read_hu(slices_of(image_set(tmp_path, [row("a.png")]), "s1")[0])

    assert hu.shape == (512, 512)
    assert [hu[256, column] for column in (10, 190, 320, 500)] == [0, 16, 32, 80]


def test_a_picture_of_16_bits_holds_hu_already(tmp_path: Path) -> None:
    Image.fromarray(np.full((512, 512), 1064, dtype=np.uint16)).save(tmp_path / "a.png")

    hu = read_hu(slices_of(image_set(tmp_path, [row("a.png")]), "s1")[0])

    assert np.all(hu == 40)


def test_a_cropped_square_returns_to_its_place_in_the_frame(tmp_path: Path) -> None:
    Image.fromarray(np.full((100, 100), 255, dtype=np.uint8)).save(tmp_path / "a.png")
    place = dict(zip(FRAME, ("512", "30", "50", "200", "100"), strict=True))

    hu = read_hu(slices_of(image_set(tmp_path, [row("a.png", **place)]), "s1")[0])

    rows, columns = np.nonzero(hu == 80)
    assert hu.shape == (512, 512)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (50, 249, 30, 229)
    assert (hu == 80).sum() == 200 * 200


def test_one_quarter_turn_brings_a_forehead_from_the_left_to_the_top(tmp_path: Path) -> None:
    lying = np.zeros((512, 512), dtype=np.uint8)
    lying[:, :50] = 255
    Image.fromarray(lying).save(tmp_path / "a.png")

    upright = read_hu(slices_of(image_set(tmp_path, [row("a.png")]), "s1")[0], turn=1)

    assert np.all(upright[:50] == 80)
    assert np.all(upright[50:] == 0)


def test_the_command_writes_one_file_a_slice_in_the_order_of_their_names(tmp_path: Path) -> None:
    for index, shade in enumerate((200, 100, 50)):
        Image.fromarray(np.full((64, 64), shade, dtype=np.uint8)).save(tmp_path / f"{index}.png")
    table = image_set(tmp_path, [row("2.png"), row("0.png", "other"), row("1.png"), row("0.png")])

    status = main(["--slices", str(table), "--subject", "s1", "--out", str(tmp_path / "out")])

    images = [dcmread(path) for path in sorted((tmp_path / "out").iterdir())]
    assert status == 0
    assert [int(np.median(apply_rescale(image.pixel_array, image))) for image in images] == [63, 31, 16]
    assert [float(image.ImagePositionPatient[2]) for image in images] == [0, 5, 10]
    assert len({image.SOPInstanceUID for image in images}) == 3
    assert len({image.SeriesInstanceUID for image in images}) == 1


def test_an_unknown_subject_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = image_set(tmp_path, [row("a.png")])

    status = main(["--slices", str(table), "--subject", "nobody", "--out", str(tmp_path / "out")])

    assert status == 1
    assert "nobody" in capsys.readouterr().err


def test_two_subjects_are_two_patients_and_two_studies(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((64, 64), dtype=np.uint8)).save(tmp_path / "a.png")
    table = image_set(tmp_path, [row("a.png"), row("a.png", "s2")])

    one, two = next(wrap(table, "s1")), next(wrap(table, "s2"))

    assert one.PatientID != two.PatientID
    assert one.StudyInstanceUID != two.StudyInstanceUID
