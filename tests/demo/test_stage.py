"""The demo's command through its function: a folder of files in, result.json and an exit status out."""

import io
import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from builders import ct_series, write_files
from model_builders import tiny_bundle
from pydicom import dcmread
from pydicom.uid import UID
from rich.console import Console

from ich_node.demo.stage import DONE, FAILED, NOTHING_TO_READ, Act, made_ahead, show_folder
from ich_node.vocabulary import DISCLAIMER

KEYS = {
    "study_uid",
    "outcome",
    "reason",
    "hemorrhage_probability",
    "location",
    "location_probabilities",
    "key_instances",
    "slice_probabilities",
    "bundle",
    "seconds",
}
SECONDS = {"receive", "complete", "decode", "brace", "predict", "report", "deliver", "total"}


def _show(folder: Path, out: Path) -> tuple[int, str]:
    shown = io.StringIO()
    status = show_folder(
        folder, out=out, trust_headers=False, keep=False, console=Console(file=shown, width=60)
    )
    return status, shown.getvalue()


def _result(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text())


@pytest.fixture
def small_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small network reads; and variables of an installation are there, which the demo must not use."""
    monkeypatch.setenv("ICH_NODE_BUNDLE", str(tiny_bundle(tmp_path / "tiny")))
    monkeypatch.setenv("ICH_NODE_STORAGE__FOLDER", str(tmp_path / "installation"))
    monkeypatch.setenv("ICH_NODE_DATABASE__URL", f"sqlite:///{tmp_path / 'installation.sqlite'}")


def test_files_that_belong_to_no_study_end_with_a_whole_result_and_the_decisive_code(tmp_path):
    write_files(ct_series(slices=2, missing=["StudyInstanceUID"]), tmp_path / "study")
    nameless, nameless_words = _show(tmp_path / "study", tmp_path / "out")
    of_nameless = _result(tmp_path / "out")
    (tmp_path / "study/notes.txt").write_text("no DICOM here")

    mixed, _ = _show(tmp_path / "study", tmp_path / "out")

    assert (nameless, mixed) == (NOTHING_TO_READ, NOTHING_TO_READ)
    assert "NO_IDENTITY, 2 files" in nameless_words
    assert of_nameless["reason"] == "NO_IDENTITY"
    told = _result(tmp_path / "out")
    assert told.keys() == {*KEYS, "schema", "readings"}
    assert (told["schema"], told["outcome"], told["reason"]) == (1, None, "NOT_DICOM")
    assert told["seconds"].keys() == SECONDS


def test_an_empty_folder_has_a_result_without_a_code(tmp_path):
    (tmp_path / "study").mkdir()

    status, _ = _show(tmp_path / "study", tmp_path / "out")

    assert status == NOTHING_TO_READ
    assert (_result(tmp_path / "out")["study_uid"], _result(tmp_path / "out")["reason"]) == (None, None)


@pytest.mark.usefixtures("small_bundle")
def test_a_study_of_bare_data_sets_leaves_its_result_its_report_and_its_picture(tmp_path):
    study, out = tmp_path / "study", tmp_path / "out"
    study.mkdir()
    images = ct_series(slices=14)
    for index, image in enumerate(images):
        del image.file_meta
        image.save_as(study / f"{index}.img", implicit_vr=True, little_endian=True)
    write_files(ct_series(slices=1, seed=2, missing=["StudyInstanceUID"]), study / "a")

    status, words = _show(study, out)

    assert status == DONE
    assert {path.name for path in out.iterdir()} == {
        "result.json",
        "report.dcm",
        "report.html",
        "key-slice.png",
    }
    told = _result(out)
    assert told.keys() >= {*KEYS, "schema", "readings"}
    assert told["study_uid"] == images[0].StudyInstanceUID
    assert told["outcome"] in ("positive", "negative", "indeterminate")
    assert len(told["slice_probabilities"]) == len(images)
    (reading,) = told["readings"]
    assert reading.keys() >= KEYS
    assert reading["seconds"].keys() == told["seconds"].keys() == SECONDS
    assert reading["bundle"] == told["bundle"] != {}
    assert dcmread(out / "report.dcm").StudyInstanceUID == told["study_uid"]
    assert DISCLAIMER in words
    # in a log each change is told once, and no line is broken at the width of a terminal
    for stage_words in ("sending 14 objects", "received; waiting until it is complete", "done"):
        assert words.splitlines().count(f"{told['study_uid']}: {stage_words}") == 1
    assert not list(tmp_path.glob("installation*"))


@pytest.mark.usefixtures("small_bundle")
def test_a_study_of_which_nothing_is_taken_ends_at_once_as_failed_beside_one_that_is(tmp_path):
    refused = ct_series(seed=5, slices=2)
    for image in refused:
        image.file_meta.TransferSyntaxUID = UID("1.2.3.4")
    ignored = ct_series(seed=6, slices=12, modality="MR", sop_class="1.2.840.10008.5.1.4.1.1.4")
    partly = ct_series(seed=6, slices=1, series_number=9)
    partly[0].file_meta.TransferSyntaxUID = UID("1.2.3.4")
    folder, out = tmp_path / "study", tmp_path / "out"
    for name, images in {"a": refused, "b": ignored, "c": partly}.items():
        _write_as_they_are(images, folder / name)

    status, words = _show(folder, out)

    assert status == FAILED
    assert "2 of 2 objects were not taken" in words
    assert "1 of 13 objects were not taken" in words
    nothing, of_ignored = (_result(out / images[0].StudyInstanceUID) for images in (refused, ignored))
    assert nothing.keys() == {*KEYS, "schema", "readings"}
    assert (nothing["outcome"], nothing["reason"]) == (None, "UNDECODABLE")
    assert (of_ignored["outcome"], of_ignored["reason"]) == ("ignored", "NOT_CT")
    assert of_ignored.keys() == {*KEYS, "schema", "readings"}
    assert of_ignored["readings"] == []


def _write_as_they_are(images, folder):
    folder.mkdir(parents=True)
    for index, image in enumerate(images):
        image.save_as(folder / f"{index}.dcm", implicit_vr=False, little_endian=True)


def test_synthetic_studies_are_made_ahead_but_never_all_at_once():
    begun = []

    def making(number: int) -> Act:
        begun.append(number)
        return Act(name=str(number), images=(), study_uid=str(number))

    with ThreadPoolExecutor(1) as studio:
        acts = made_ahead([partial(making, number) for number in range(10)], studio)
        first = next(acts)
        begun_first = len(begun)

        rest = list(acts)

    assert begun_first <= 3
    assert [act.name for act in (first, *rest)] == [str(number) for number in range(10)]
    assert begun == list(range(10))
