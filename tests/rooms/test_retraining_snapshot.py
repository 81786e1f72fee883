"""What a retraining learns from: labelled studies still there, patients apart, slices honestly labelled."""

import csv
import json
import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from learning import NOW, label, received
from PIL import Image

from ich_node.core.consensus import Presence
from ich_node.core.split import Split
from ich_node.errors import RetrainingFailed
from ich_node.retraining.pictures import KEY_SLICES, slice_labels
from ich_node.retraining.snapshot import LabelledStudy, snapshot
from ich_node.store.database import Database
from ich_node.store.files import Archive
from ich_node.store.images import mark_forgotten
from ich_node.store.studies import ask_again, get_study
from ich_node.vocabulary import Location
from model.image_set import read_picture, read_slices

PRESENT, ABSENT = Presence.PRESENT, Presence.ABSENT


def taken(database: Database) -> list[LabelledStudy]:
    return snapshot(database, now=datetime.now(UTC), alive=lambda: None)


def cohort(database: Database, count: int, *, first: int = 0, archive: Archive | None = None) -> list[int]:
    """Received and labelled studies of different patients, every second of whom bleeds."""
    studies = []
    for seed in range(first, first + count):
        bleed = seed % 2 == 1
        studies.append(received(database, seed=seed, bleed=bleed, archive=archive))
        label(database, studies[-1], PRESENT if bleed else ABSENT, location=Location.DEEP if bleed else None)
    return studies


def test_a_patient_never_moves_as_others_come(database):
    cohort(database, 8)
    before = {study.subject: study.split for study in taken(database)}

    cohort(database, 8, first=8)

    after = {study.subject: study.split for study in taken(database)}
    assert len(after) == 16
    assert before.items() <= after.items()
    for part in Split:
        assert {study.present for study in taken(database) if study.split is part} == {True, False}


def test_all_studies_of_a_patient_are_in_one_part_and_who_does_not_train_counts_once(database):
    cohort(database, 8)
    for seed in range(100, 116):
        again = received(database, seed=seed, patient_id=f"patient {seed % 8}")
        label(database, again, ABSENT)

    found = taken(database)

    parts = {(study.subject, study.split) for study in found}
    assert len(parts) == 8
    for study in found:
        same = [one for one in found if one.subject == study.subject]
        assert len(same) == (3 if study.split is Split.TRAIN else 1)
    # of one who bleeds it is the bleeding study that judges
    assert {study.present for study in found if study.split is Split.TEST} == {True, False}


def test_pseudonyms_hold_no_identity_and_a_study_without_patient_id_stands_for_itself(database):
    cohort(database, 8)
    for seed in (200, 202):
        label(database, received(database, seed=seed, patient_id=""), ABSENT)

    found = taken(database)

    assert len({study.subject for study in found}) == 10
    assert "patient" not in json.dumps([study.to_json() for study in found])
    assert [LabelledStudy.from_json(json.loads(json.dumps(study.to_json()))) for study in found] == found


def test_studies_that_are_gone_reopened_or_without_a_truth_are_left_out(database):
    cohort(database, 8)
    gone, reopened, disputed = cohort(database, 3, first=20)
    label(database, disputed, PRESENT, reader="another")
    with database.transaction() as connection:
        mark_forgotten(connection, gone, now=NOW)
        ask_again(connection, get_study(connection, reopened), now=NOW)

    assert len(taken(database)) == 8


def test_a_class_that_is_missing_is_said_with_numbers(database):
    for seed in range(5):
        label(database, received(database, seed=seed), ABSENT)

    with pytest.raises(RetrainingFailed, match="0 with a hemorrhage and 5 without"):
        taken(database)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_pictures_are_an_image_set_with_the_slices_as_they_were_read(database, tmp_path):
    archive = Archive(tmp_path, reserve_mb=0)
    cohort(database, 8, archive=archive)
    plan = tmp_path / "plan.json"
    studies = taken(database)
    plan.write_text(json.dumps([study.to_json() for study in studies]))
    archive.path(studies[0].files[0]).unlink()
    archive.path(studies[1].files[0]).write_bytes(b"no DICOM")

    command = ["-m", "ich_node.retraining.pictures", str(plan)]
    options = ["--images", str(archive.path("")), "--out", str(tmp_path / "set")]
    done = subprocess.run([sys.executable, *command, *options], capture_output=True, text=True, check=True)

    assert "prepared 6 of 8 studies" in done.stderr
    rows = read_slices(tmp_path / "set" / "slices.csv")
    assert len(rows) == 60
    assert {row.subject for row in rows} == {study.subject for study in studies[2:]}
    for study in studies[2:]:
        own = [row for row in rows if row.subject == study.subject]
        assert {row.split for row in own} == {study.split}
        assert [row.hemorrhage for row in own] == (
            [None] * 4 + [1] * 3 + [None] * 3 if study.present else [0] * 10
        )
        assert [row.location for row in own] == (
            [None] * 4 + ["deep"] * 3 + [None] * 3 if study.present else [None] * 10
        )
    middle = next(row for row in rows if row.hemorrhage == 1)
    stored = np.asarray(Image.open(middle.file)).astype(int) - 1024
    assert (stored.min(), stored.max() > 900) == (-1000, True)  # air and skull: HU, not a window
    assert read_picture(middle.file).max() == 1.0


def test_a_set_whose_images_are_all_gone_is_no_set(tmp_path):
    study = LabelledStudy(subject="s", present=False, location=None, files=("none",), scores={"1.2": 0.1})
    (tmp_path / "plan.json").write_text(json.dumps([study.to_json()]))

    command = ["-m", "ich_node.retraining.pictures", str(tmp_path / "plan.json")]
    options = ["--images", str(tmp_path), "--out", str(tmp_path / "set")]
    done = subprocess.run([sys.executable, *command, *options], capture_output=True, check=False)

    assert done.returncode == 1
    with (tmp_path / "set" / "slices.csv").open() as stream:
        assert list(csv.DictReader(stream)) == []


SCORES = st.lists(st.one_of(st.none(), st.floats(0, 1)), min_size=1, max_size=40).filter(
    lambda scores: any(score is not None for score in scores)
)


@given(SCORES)
def test_a_study_without_a_bleed_says_so_of_every_slice(scores):
    assert slice_labels(False, scores) == [False] * len(scores)


@given(SCORES)
def test_of_a_bleeding_study_a_few_slices_bleed_and_no_slice_is_called_free(scores):
    labels = slice_labels(True, scores)

    keys = [place for place, known in enumerate(labels) if known]
    assert 1 <= len(keys) <= KEY_SLICES
    assert False not in labels
    highest = max(score for score in scores if score is not None)
    assert any(scores[place] == highest for place in keys)
    assert all(scores[place] >= highest / 2 for place in keys)
