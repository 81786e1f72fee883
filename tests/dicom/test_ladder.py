"""A report in another SOP class: the same words, an identity of its own, valid all the same."""

from io import BytesIO

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from ich_node.dicom.ladder import COMPREHENSIVE_SR, LADDER, in_class, rungs
from ich_node.dicom.part10 import split
from ich_node.dicom.report import Predecessor, build_structured_report, to_bytes
from ich_node.dicom.report_facts import read_back
from ich_node.vocabulary import Outcome
from tests import report_cases

ENHANCED = "1.2.840.10008.5.1.4.1.1.88.22"


def _report(**context: object) -> bytes:
    sources = report_cases.headers()
    finding = report_cases.finding(Outcome.POSITIVE, sources)
    return to_bytes(build_structured_report(finding, sources, report_cases.context(**context)))


def _read(content: bytes) -> Dataset:
    return dcmread(BytesIO(content))


def test_only_the_report_has_a_ladder():
    assert rungs(COMPREHENSIVE_SR) == LADDER
    assert rungs("1.2.840.10008.5.1.4.1.1.7") == ("1.2.840.10008.5.1.4.1.1.7",)


@pytest.mark.parametrize("sop_class", LADDER[1:])
def test_the_words_stay_and_the_identity_is_another_one_the_same_each_time(sop_class):
    content = _report()

    turned, uid = in_class(content, sop_class)

    meta, _ = split(turned)
    before, after = _read(content), _read(turned)
    assert (meta.sop_class_uid, meta.sop_instance_uid) == (sop_class, uid)
    assert (after.SOPClassUID, after.SOPInstanceUID) == (sop_class, uid)
    assert uid != before.SOPInstanceUID
    assert in_class(content, sop_class) == (turned, uid)
    assert after.ContentSequence == before.ContentSequence
    assert read_back(after).conclusion == read_back(before).conclusion


@pytest.mark.parametrize("sop_class", LADDER)
def test_a_report_is_valid_in_each_class(tmp_path, sop_class):
    turned, _ = in_class(_report(), sop_class)
    file = tmp_path / "report.dcm"
    file.write_bytes(turned)

    assert report_cases.dciodvfy(file) == []


def test_in_its_own_class_a_report_is_the_bytes_that_it_was():
    content = _report()

    assert in_class(content, COMPREHENSIVE_SR)[0] is content


def test_a_revision_names_the_earlier_report_as_it_went_out_in_that_class():
    first = _report()
    earlier = _read(first)
    predecessor = Predecessor(
        sop_class_uid=earlier.SOPClassUID,
        sop_instance_uid=earlier.SOPInstanceUID,
        series_uid=earlier.SeriesInstanceUID,
        study_uid=earlier.StudyInstanceUID,
    )

    turned, _ = in_class(_report(revision=2, predecessor=predecessor), ENHANCED)

    _, sent_before = in_class(first, ENHANCED)
    assert read_back(_read(turned)).predecessors == (sent_before,)
