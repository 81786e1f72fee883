"""The report by which a site tries a destination: valid, about nobody, and nothing that anybody acts upon."""

from datetime import datetime, timedelta, timezone
from io import BytesIO

import pytest
from pydicom import dcmread

from ich_node.analysis.explain import explain_folder
from ich_node.dicom.report_facts import read_back
from ich_node.dicom.trial_report import build_trial_report
from ich_node.vocabulary import Outcome
from tests import report_cases, validators

AT = datetime(2026, 11, 26, 12, tzinfo=timezone(timedelta(hours=1)))
STUDY = "2.25.271828182845904523"


def _built(study_uid=STUDY):
    return build_trial_report(study_uid, ae_title="ICHNODE", mode="report", at=AT)


def _read(one):
    return dcmread(BytesIO(one.content))


def test_it_says_in_every_place_that_it_is_a_test_and_about_nobody():
    for one in _built():
        header = _read(one)

        assert header.PatientName == "ICH NODE TEST^NO PATIENT"
        assert header.PatientID == "ICHNODE-TEST"
        assert header.StudyDescription == "TEST BY ICH NODE, NO PATIENT, MAY BE DELETED"
        assert header.SeriesDescription.endswith("- not for dx")
        assert (header.StudyInstanceUID, header.StudyDate) == (STUDY, "20261126")


def test_it_declines_and_names_no_finding():
    report = read_back(_read(_built()[0]))

    assert report.outcome is Outcome.DECLINED
    assert (report.presence, report.finding_site, report.probability) == (None, None, None)
    assert "test of the way from the ICH node" in report.conclusion
    assert "may be deleted" in report.conclusion
    assert "emorrhage" not in report.conclusion


def test_each_study_has_objects_of_its_own():
    first, again, other = (_built(uid) for uid in (STUDY, STUDY, "2.25.1"))

    uids = [{_read(one).SOPInstanceUID for one in objects} for objects in (first, other)]
    assert first == again
    assert len(uids[0] | uids[1]) == 4


@pytest.mark.parametrize("kind", [0, 1], ids=["SR", "SC"])
def test_dciodvfy_finds_nothing_in_it_that_it_does_not_find_in_any_report(tmp_path, kind):
    file = tmp_path / "one.dcm"
    file.write_bytes(_built()[kind].content)

    assert report_cases.dciodvfy(file) == []


@pytest.mark.peer
def test_dcmtk_reads_its_tree(tmp_path):
    file = tmp_path / "one.dcm"
    file.write_bytes(_built()[0].content)

    assert validators.dsrdump([file])[file] == []


def test_one_that_comes_back_to_us_is_an_object_of_ours_and_not_read(tmp_path):
    for one in _built():
        (tmp_path / one.kind).write_bytes(one.content)

    (study,) = explain_folder(tmp_path).studies

    assert study.verdict == "ignored"
    assert all("OWN_OBJECT" in one.reasons for one in study.candidates)
