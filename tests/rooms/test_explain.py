"""Whole folders explained: built ones, the real ones of the shared data, and dcm2niix beside us."""

import io
import json
import re
import shutil
import subprocess
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import ct_series, phantom_study, write_files
from expected import expected_outcomes
from multiframe import enhanced
from peers import missing
from pydicom import dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian, SecondaryCaptureImageStorage
from rich.console import Console

from ich_node.analysis.explain import Explanation, explain_folder
from ich_node.analysis.files import read_file
from ich_node.core.grounds import Rules
from ich_node.dicom.volume import assemble
from ich_node.errors import AnalysisFailed


def _only_study(explanation: Explanation) -> dict[str, Any]:
    told = json.loads(explanation.to_json())
    assert len(told["studies"]) == 1
    return told["studies"][0]


def test_a_scanned_phantom_is_read_and_its_localizer_is_not(tmp_path: Path) -> None:
    write_files(phantom_study(3), tmp_path)

    study = _only_study(explain_folder(tmp_path))

    assert (study["verdict"], study["reason"]) == ("read", None)
    chosen = [one for one in study["candidates"] if one["chosen"]]
    assert [one["key"] for one in chosen] == study["chosen"]
    assert chosen[0]["geometry"]["orientation"] == "axial"
    assert [one["reasons"][0] for one in study["candidates"] if not one["chosen"]] == ["LOCALIZER"]


def test_the_json_holds_every_key_of_the_contract(tmp_path: Path) -> None:
    series = ct_series(slices=20, pixel_spacing=(3.0, 3.2), rows=64, columns=60, tilt_deg=12.0)
    write_files(reversed(series), tmp_path)
    (tmp_path / "notes.txt").write_text("no DICOM here")

    told = json.loads(explain_folder(tmp_path).to_json())

    study = told["studies"][0]
    candidate = study["candidates"][0]
    assert (told["schema"], study["study_uid"]) == (1, series[0].StudyInstanceUID)
    assert set(study) == {"study_uid", "verdict", "reason", "chosen", "candidates"}
    assert candidate == {
        "key": series[0].SeriesInstanceUID,
        "series_uid": series[0].SeriesInstanceUID,
        "series_number": 2,
        "description": "Head 5.0 H30s",
        "modality": "CT",
        "instances": 20,
        "chosen": True,
        "reasons": [],
        "geometry": {
            "slices": 20,
            "rows": 64,
            "columns": 60,
            "pixel_spacing_mm": [3.0, 3.2],
            "slice_spacing_mm": pytest.approx(6.0, abs=1e-4),
            "tilt_deg": pytest.approx(12.0, abs=1e-3),
            "orientation": "axial",
            "gaps": 0,
            "duplicates": 0,
            "order": [image.SOPInstanceUID for image in series],
        },
    }
    assert told["unreadable"] == [{"file": "notes.txt", "reason": "NOT_DICOM"}]


@pytest.mark.parametrize(
    ("changes", "verdict", "reason"),
    [
        ({}, "read", None),
        ({"tilt_deg": -20.0}, "read", None),
        ({"body_part": None, "study_description": "", "description": "", "ProtocolName": ""}, "read", None),
        ({"pixels": "noise"}, "declined", "NO_BRAIN"),
        (
            {
                "pixels": "noise",
                "body_part": "CHEST",
                "study_description": "",
                "description": "",
                "ProtocolName": "",
            },
            "ignored",
            "NOT_HEAD",
        ),
        (
            {
                "pixels": "noise",
                "body_part": None,
                "study_description": "",
                "description": "",
                "ProtocolName": "",
            },
            "ignored",
            "NOT_HEAD",
        ),
        ({"RescaleIntercept": "0"}, "declined", "NOT_HU"),
        ({"slices": 3}, "declined", "TOO_FEW_SLICES"),
        ({"slices": 3, "pixels": "noise"}, "declined", "TOO_FEW_SLICES"),
        ({"orientation": "sagittal"}, "ignored", "NOT_AXIAL"),
        ({"sop_class": SecondaryCaptureImageStorage}, "ignored", "DERIVED"),
        ({"missing": ("PixelData",)}, "declined", "UNDECODABLE"),
        ({"missing": ("ImagePositionPatient",)}, "declined", "GEOMETRY"),
    ],
)
def test_headers_and_pixels_together_decide(
    tmp_path: Path, changes: dict[str, Any], verdict: str, reason: str | None
) -> None:
    write_files(ct_series(**changes), tmp_path)

    study = _only_study(explain_folder(tmp_path))

    assert (study["verdict"], study["reason"]) == (verdict, reason)


def test_a_series_without_brain_gives_way_to_its_twin(tmp_path: Path) -> None:
    write_files(ct_series(series_number=2, pixels="noise"), tmp_path / "a")
    write_files(ct_series(series_number=3), tmp_path / "b")

    study = _only_study(explain_folder(tmp_path))

    assert study["verdict"] == "read"
    assert [(one["series_number"], one["chosen"], one["reasons"]) for one in study["candidates"]] == [
        (2, False, ["NO_BRAIN"]),
        (3, True, []),
    ]


def test_the_same_file_twice_is_no_conflict_but_another_picture_is(tmp_path: Path) -> None:
    series = ct_series()
    write_files(series, tmp_path / "a")
    write_files(series[:3], tmp_path / "b")
    same = _only_study(explain_folder(tmp_path))
    series[0].PixelData = bytes(len(series[0].PixelData))
    write_files(series[:1], tmp_path / "c")

    other = _only_study(explain_folder(tmp_path))

    assert same["verdict"] == "read"
    assert (other["verdict"], other["reason"]) == ("declined", "CONFLICT")


def test_two_pictures_of_one_place_contradict_each_other(tmp_path: Path) -> None:
    series = ct_series()
    again, other = deepcopy(series[5]), deepcopy(series[5])
    again.SOPInstanceUID = again.file_meta.MediaStorageSOPInstanceUID = "2.25.1"
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = "2.25.2"
    other.PixelData = series[6].PixelData
    write_files([*series, again], tmp_path)
    same = _only_study(explain_folder(tmp_path))
    write_files([other], tmp_path / "b")

    different = _only_study(explain_folder(tmp_path))

    assert (same["verdict"], same["candidates"][0]["geometry"]["duplicates"]) == ("read", 1)
    assert (different["verdict"], different["reason"]) == ("declined", "GEOMETRY")


def test_a_bare_data_set_without_preamble_is_read(tmp_path: Path) -> None:
    for index, image in enumerate(ct_series()):
        del image.file_meta
        image.save_as(tmp_path / f"{index}.img", implicit_vr=True, little_endian=True)

    assert _only_study(explain_folder(tmp_path))["verdict"] == "read"


@pytest.mark.parametrize(
    "content", [b"", b"x", b"\0" * 400, b"DICM" * 50, b"\x08\0\x05\0" + b"\xff" * 60, b"\0" * 128 + b"DICM"]
)
def test_what_is_no_dicom_is_listed_as_unreadable(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)

    explanation = explain_folder(tmp_path)

    assert not explanation.studies
    assert {one.reason.value for one in explanation.unreadable} <= {"NOT_DICOM", "NO_IDENTITY"}
    assert len(explanation.unreadable) == 1


def test_a_multi_frame_head_is_read(tmp_path: Path) -> None:
    write_files([enhanced(ct_series())], tmp_path)

    study = _only_study(explain_folder(tmp_path))

    assert (study["verdict"], study["candidates"][0]["geometry"]["slices"]) == ("read", 20)


def test_a_deflated_file_is_read_but_never_inflated_beyond_bounds(tmp_path: Path) -> None:
    series = ct_series()
    for image in series:
        image.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    write_files(series, tmp_path / "sane")
    series[0].PixelData = bytes(300 << 20)
    write_files(series[:1], tmp_path / "bomb")

    sane, bomb = explain_folder(tmp_path / "sane"), explain_folder(tmp_path / "bomb")

    assert (tmp_path / "bomb/0000.dcm").stat().st_size < 1 << 20
    assert _only_study(sane)["verdict"] == "read"
    assert [one.reason.value for one in bomb.unreadable] == ["NOT_DICOM"]


def test_a_deflated_file_whose_file_meta_lies_about_its_length_is_not_inflated(tmp_path: Path) -> None:
    image = ct_series(slices=1)[0]
    image.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    image.PixelData = bytes(300 << 20)
    write_files([image], tmp_path)
    path = tmp_path / "0000.dcm"
    content = path.read_bytes()
    path.write_bytes(content[:140] + bytes(4) + content[144:])

    told = explain_folder(tmp_path)

    assert [one.reason.value for one in told.unreadable] == ["NOT_DICOM"]


def test_odd_file_meta_neither_stops_nor_speaks(tmp_path: Path) -> None:
    image = ct_series(slices=1)[0]
    write_files([image], tmp_path)
    path = tmp_path / "0000.dcm"
    media = image.file_meta.MediaStorageSOPClassUID.encode()
    path.write_bytes(path.read_bytes().replace(media, b"\xff" * len(media), 1))

    assert _only_study(explain_folder(tmp_path))["reason"] == "TOO_FEW_SLICES"


def test_a_person_reads_what_was_chosen_and_why_not_the_rest(tmp_path: Path) -> None:
    write_files([*ct_series(), *ct_series(series_number=3, kernel="H60s", description="Bone [x]")], tmp_path)
    (tmp_path / "notes.txt").write_text("no DICOM here")
    console = Console(width=200, file=io.StringIO())

    explain_folder(tmp_path).render(console)

    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "read" in text
    assert "BONE_KERNEL" in text
    assert "Bone [x]" in text
    assert "notes.txt: NOT_DICOM" in text
    assert "Not for diagnostic use" in text


def test_a_sites_rules_reach_the_choice(tmp_path: Path) -> None:
    write_files(ct_series(PatientAge="012Y"), tmp_path)

    assert _only_study(explain_folder(tmp_path))["reason"] == "OUT_OF_SCOPE"
    assert _only_study(explain_folder(tmp_path, Rules(minimum_age_years=6)))["verdict"] == "read"


def test_a_brain_window_wrapped_as_ct_is_read_only_on_trust(tmp_path: Path) -> None:
    series = ct_series()
    for image in series:
        hu = image.pixel_array.astype(int) * int(image.RescaleSlope) + int(image.RescaleIntercept)
        image.PixelData = (hu.clip(0, 80) - int(image.RescaleIntercept)).astype("<u2").tobytes()
    write_files(series, tmp_path)

    assert _only_study(explain_folder(tmp_path))["reason"] == "NOT_HU"
    assert _only_study(explain_folder(tmp_path, trust_headers=True))["verdict"] == "read"


@pytest.mark.shared
def test_every_shared_folder_gets_what_is_expected(shared_folder: Path, tmp_path: Path) -> None:
    folder = shared_folder / "data/dicom"
    expected = expected_outcomes(folder)

    wrong = [
        (one.folder, name, told)
        for one in expected
        for name, told in _outcomes(folder / one.folder, one.judged, tmp_path)
        if not told or not told <= one.accepted
    ]

    assert len(expected) == 45
    assert wrong == []


def _outcomes(folder: Path, judged: str, work: Path) -> list[tuple[str, set[tuple[str, str]]]]:
    units = [folder]
    if judged == "file":
        units = []
        for path in sorted(folder.iterdir()):
            unit = work / folder.parent.name / folder.name / path.name
            unit.mkdir(parents=True)
            (unit / path.name).symlink_to(path)
            units.append(unit)
    return [(unit.name, _told(explain_folder(unit))) for unit in units]


def _told(explanation: Explanation) -> set[tuple[str, str]]:
    told = {(study.verdict, study.reason.value if study.reason else "-") for study in explanation.studies}
    return told | {("unreadable", one.reason.value) for one in explanation.unreadable}


@pytest.mark.shared
@pytest.mark.peer
@pytest.mark.parametrize("name", ["toshiba-aquilion-5mm-study1", "ge-hispeed-dual-tilt"])
def test_dcm2niix_agrees_on_the_order_and_the_mean_spacing(
    shared_folder: Path, tmp_path: Path, name: str
) -> None:
    folder = shared_folder / "data/dicom/head-ct" / name
    volume = assemble([dcmread(path) for path in sorted(folder.iterdir(), reverse=True)]).volume

    theirs, mean_step_mm = _by_dcm2niix(folder, tmp_path)

    np.testing.assert_array_equal(theirs.clip(min=-1000), volume.hu.clip(min=-1000))
    assert np.diff(volume.positions_mm).mean() == pytest.approx(mean_step_mm, abs=0.1)


def _by_dcm2niix(folder: Path, work: Path) -> tuple[np.ndarray, float]:
    """Convert with dcm2niix; slices as it stacked them, rows turned our way, and its mean step in mm."""
    program = shutil.which("dcm2niix")
    if program is None:
        missing("dcm2niix (Debian package dcm2niix)")
    command = [str(program), "-z", "n", "-v", "1", "-f", "head", "-o", str(work), str(folder)]
    said = subprocess.run(command, capture_output=True, check=True, timeout=120).stdout.decode()
    nifti = (work / "head.nii").read_bytes()
    columns, rows, slices = np.frombuffer(nifti, "<i2", 3, 42)
    voxels = np.frombuffer(nifti, "<i2", offset=352).reshape(slices, rows, columns)
    uneven = re.search(r"dx=\[([\d. ]+)", said)
    step_mm = float(np.frombuffer(nifti, "<f4", 1, 88)[0])
    mean_mm = float(uneven[1].split()[-1]) / (slices - 1) if uneven else step_mm
    return voxels[:, ::-1].astype(np.float32), mean_mm


def test_a_disk_that_does_not_give_a_file_is_our_fault_and_no_broken_file(tmp_path):
    with pytest.raises(AnalysisFailed, match="a file cannot be read"):
        read_file(tmp_path, pixels=False)  # a folder: opening it fails as a broken disk does
