"""The stand-in scanner: headers as the Standard wants them, pixels that give back the phantom's HU."""

import subprocess
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from builders import phantom_study, write_files
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels import apply_rescale

from ich_node.demo.phantom import head_phantom
from ich_node.demo.scanner import scan

SEED = 21
DCIODVFY = Path(sys.executable).with_name("dciodvfy")


@pytest.fixture(scope="module")
def study() -> list[Dataset]:
    return phantom_study(SEED, bleed="deep")


def test_dciodvfy_finds_nothing_to_complain_about(study: list[Dataset], tmp_path: Path) -> None:
    for path in write_files([study[0], study[1], study[-1]], tmp_path):
        told = subprocess.run([DCIODVFY, path], capture_output=True, text=True, check=False)

        assert told.returncode == 0
        assert "Error" not in told.stderr
        assert "Warning" not in told.stderr


def test_files_read_back_give_the_hu_of_the_phantom(study: list[Dataset], tmp_path: Path) -> None:
    phantom = head_phantom(SEED, "deep", size=256)

    images = [dcmread(path) for path in write_files(study[1:], tmp_path)]
    hu = np.stack([apply_rescale(image.pixel_array, image) for image in images])

    assert np.array_equal(hu, np.clip(phantom.hu, -1024, 3071))


def test_the_head_series_says_what_it_is(study: list[Dataset]) -> None:
    head = study[1:]
    positions = np.array([image.ImagePositionPatient for image in head], dtype=float)

    assert {image.SeriesInstanceUID for image in head} == {head[0].SeriesInstanceUID}
    assert [image.InstanceNumber for image in head] == list(range(1, len(head) + 1))
    assert list(head[0].ImageType) == ["ORIGINAL", "PRIMARY", "AXIAL"]
    assert head[0].BodyPartExamined == "HEAD"
    assert head[0].TimezoneOffsetFromUTC == "+0100"
    assert np.allclose(np.diff(positions[:, 2]), float(head[0].SliceThickness), atol=1e-3)
    assert np.allclose(positions[:, :2], positions[0, :2])


def test_the_localizer_is_a_series_of_its_own_in_the_same_study(study: list[Dataset]) -> None:
    localizer, head = study[0], study[1]

    assert localizer.ImageType[2] == "LOCALIZER"
    assert localizer.StudyInstanceUID == head.StudyInstanceUID
    assert localizer.FrameOfReferenceUID == head.FrameOfReferenceUID
    assert localizer.SeriesInstanceUID != head.SeriesInstanceUID
    assert list(localizer.ImageOrientationPatient) == [0, 1, 0, 0, 0, -1]


def test_the_seed_and_the_bleed_decide_all_identifiers(study: list[Dataset]) -> None:
    again = scan(head_phantom(SEED, "deep", size=256))
    other = scan(head_phantom(SEED, None, size=256))
    uids = {image.SOPInstanceUID for image in study}

    assert [image.SOPInstanceUID for image in again] == [image.SOPInstanceUID for image in study]
    assert len(uids) == len(study)
    assert uids.isdisjoint({image.SOPInstanceUID for image in other})
    assert other[0].StudyInstanceUID != study[0].StudyInstanceUID
    assert other[0].PatientID == study[0].PatientID


def test_the_time_of_the_scan_can_be_given() -> None:
    study = phantom_study(SEED, bleed=None, started=datetime(2026, 11, 24, 9, 5))  # noqa: DTZ001

    assert {image.StudyDate for image in study} == {"20261124"}
    assert study[0].StudyTime == "090500"
