"""Builds a report that says nothing about anybody: by it a site tries a destination. No clock, no disk."""

from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version

from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage

from ich_node import vocabulary
from ich_node.core.conclusion import Finding, Thresholds
from ich_node.dicom.report import build_structured_report, to_bytes
from ich_node.dicom.report_context import ReportContext
from ich_node.dicom.secondary_capture import build_secondary_capture
from ich_node.dicom.uids import uid_from
from ich_node.vocabulary import Outcome, Reason

_NO_BUNDLE, _NO_SHA256 = "none (test)", "0" * 64


@dataclass(frozen=True, kw_only=True)
class TrialObject:
    """One object of a test report, `kind` as of any report (SR or SC)."""

    kind: str
    study_uid: str
    series_uid: str
    sop_class_uid: str
    content: bytes


def build_trial_report(
    study_uid: str, *, ae_title: str, mode: str, at: datetime
) -> tuple[TrialObject, TrialObject]:
    """Build SR and SC of a test patient in this study, which nobody has; `at` is aware.

    They are built as any report is, decline to judge, and follow from the study's UID: the same UID gives
    the same objects. That no image of the study exists is said in them.
    """
    source = _source(study_uid, at)
    finding = Finding(outcome=Outcome.DECLINED, reason=Reason.NO_BRAIN, notes=(vocabulary.NOTE_TEST,))
    context = ReportContext(
        installation_uid=uid_from(study_uid, "installation"),
        ae_title=ae_title,
        bundle_name=_NO_BUNDLE,
        bundle_sha256=_NO_SHA256,
        software_version=version("ich-node"),
        analysed_at=at,
        thresholds=Thresholds(low=0, high=1),
        mode=mode,
    )
    return (
        _object("SR", build_structured_report(finding, [source], context)),
        _object("SC", build_secondary_capture(finding, [source], context, ())),
    )


def _source(study_uid: str, at: datetime) -> Dataset:
    """The header of an image that does not exist: whose the report is, and what it names as its evidence."""
    header = Dataset()
    header.SOPClassUID = CTImageStorage
    header.StudyInstanceUID = study_uid
    header.SeriesInstanceUID = uid_from(study_uid, "series")
    header.SOPInstanceUID = uid_from(study_uid, "image")
    header.PatientName = vocabulary.TEST_PATIENT_NAME
    header.PatientID = header.AccessionNumber = vocabulary.TEST_PATIENT_ID
    header.PatientBirthDate, header.PatientSex = "19700101", "O"
    header.StudyID = "TEST"
    header.StudyDescription = vocabulary.TEST_STUDY_DESCRIPTION
    header.StudyDate, header.StudyTime = at.strftime("%Y%m%d"), at.strftime("%H%M%S")
    return header


def _object(kind: str, document: Dataset) -> TrialObject:
    return TrialObject(
        kind=kind,
        study_uid=str(document.StudyInstanceUID),
        series_uid=str(document.SeriesInstanceUID),
        sop_class_uid=str(document.SOPClassUID),
        content=to_bytes(document),
    )
