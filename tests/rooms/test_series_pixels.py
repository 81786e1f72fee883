"""The right series where pixels have a say: whole folders explained, row by row.

A row tells the verdict, then each candidate as in the tables of series that rest on headers.
"""

import random
from pathlib import Path
from typing import Any

import pytest
from builders import write_files
from multiframe import enhanced
from series_table import SILENT, Images, Study, again, at, head, scout, told

from ich_node.analysis.explain import Explanation, explain_folder

PLAIN = "16 x 5.00 axial"
CHEST = {"pixels": "noise", "rows": 64, "columns": 64}


def _seen(number: int = 2, **changes: Any) -> Images:
    """A head that is to be seen."""
    return head(number, **({"rows": 64, "columns": 64, "pixels": "head"} | changes))


def _regridded(images: Images, *places: int) -> Images:
    """Reconstruct the images at these places in half as many rows and columns."""
    for place in places:
        coarse = images[place].pixel_array[::2, ::2]
        at(images, [place], Rows=32, Columns=32, PixelData=coarse.tobytes())
    return images


STUDIES: dict[str, tuple[Study, str]] = {
    "a head of which nothing says so": (lambda: _seen(**SILENT), f"read | 2 read: {PLAIN}"),
    "a head under CHEST in a study named head": (
        lambda: _seen(**SILENT | {"body_part": "CHEST", "study_description": "CT HEAD"}),
        f"read | 2 read: {PLAIN}",
    ),
    "a chest under SKULL in a study named chest": (
        lambda: head(**CHEST | SILENT | {"body_part": "SKULL", "study_description": "CT THORAX"}),
        f"ignored NOT_HEAD | 2 NOT_HEAD: {PLAIN}",
    ),
    "a chest under SKULL, nothing else said": (
        lambda: head(**CHEST | SILENT | {"body_part": "SKULL"}),
        f"declined NO_BRAIN | 2 NO_BRAIN: {PLAIN}",
    ),
    "every other image in another grid": (
        lambda: _regridded(_seen(), *range(0, 16, 2)),
        f"declined GEOMETRY | 2 GEOMETRY: {PLAIN}",
    ),
    "repeated with the same pixels": (
        lambda: _seen() + again(_seen()[3:6]),
        f"read | 2 read: {PLAIN}, duplicates 3",
    ),
    "repeated with other pixels": (
        lambda: _seen() + at(again(_seen()[3:4]), [0], PixelData=_seen()[9].PixelData),
        f"declined GEOMETRY | 2 GEOMETRY: {PLAIN}, duplicates 1",
    ),
    "two passes of one series": (
        lambda: _seen() + again(_seen(seed=1, bleed=True), AcquisitionNumber=2),
        f"read | 2#1 read: {PLAIN} | 2#2 read: {PLAIN}",
    ),
    "frames of one object, a localizer beside": (
        lambda: [enhanced(_seen(tilt_deg=12.0)), *scout(1)],
        f"read | 1 LOCALIZER NOT_AXIAL: 1 coronal | 2 read: {PLAIN}, tilt 12.0",
    ),
}


def _explained(images: Images, folder: Path) -> Explanation:
    write_files(images, folder)
    return explain_folder(folder)


@pytest.mark.parametrize(("study", "expected"), STUDIES.values(), ids=STUDIES)
def test_pixels_decide_as_the_table_says(study: Study, expected: str, tmp_path: Path) -> None:
    (selection,) = _explained(study(), tmp_path).studies

    assert told(selection) == expected


def test_neither_names_of_files_nor_instance_numbers_change_what_is_explained(tmp_path: Path) -> None:
    images = _seen() + again(_seen()[3:6]) + _seen(3, slices=13) + scout(2, first_instance=90)
    expected = _explained(images, tmp_path / "in order").as_dict()
    chance = random.Random(11)
    for place, image in enumerate(chance.sample(images, len(images))):
        image.InstanceNumber = place

    shuffled = _explained(chance.sample(images, len(images)), tmp_path / "shuffled").as_dict()

    assert shuffled == expected
