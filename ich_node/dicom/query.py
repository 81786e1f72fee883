"""Identifiers of C-FIND and C-MOVE in the Study Root model (PS3.4 C.6.2), and what the answers say.

No patient's attribute is asked for, so that none is answered.
"""

from io import BytesIO

from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRLittleEndian

from ich_node.core.retrieval import SeriesThere, StudyThere, SubOperations
from ich_node.dicom.values import quietly, text, texts, whole

PENDING = frozenset({0xFF00, 0xFF01})  # more answers follow (PS3.4 C.4.1.1.4, C.4.2.1.5)


def study_query(accession_number: str) -> Dataset:
    """Ask for all studies under one accession number."""
    return _identifier(
        "STUDY",
        AccessionNumber=accession_number,
        StudyInstanceUID="",
        StudyDate="",
        ModalitiesInStudy="",
        NumberOfStudyRelatedSeries=None,
        NumberOfStudyRelatedInstances=None,
    )


def series_query(study_uid: str, series_uid: str = "") -> Dataset:
    """Ask for all series of a study, or for one."""
    return _identifier(
        "SERIES",
        StudyInstanceUID=study_uid,
        SeriesInstanceUID=series_uid,
        SeriesNumber=None,
        NumberOfSeriesRelatedInstances=None,
    )


def image_query(study_uid: str, series_uid: str, sop_instance_uid: str = "") -> Dataset:
    """Ask for all images of a series, or for one."""
    return _identifier(
        "IMAGE", StudyInstanceUID=study_uid, SeriesInstanceUID=series_uid, SOPInstanceUID=sop_instance_uid
    )


def study_identifier(study_uid: str) -> Dataset:
    """Name a study to be moved."""
    return _identifier("STUDY", StudyInstanceUID=study_uid)


def _identifier(level: str, **keys: str | None) -> Dataset:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    with quietly():  # an accession number may be longer than SH: it is asked for as it is
        for keyword, value in keys.items():
            setattr(identifier, keyword, value)
    return identifier


def encoded_query(identifier: Dataset) -> tuple[bytes, str]:
    """An identifier as bytes, and the transfer syntax that it is encoded in."""
    buffer = BytesIO()
    with quietly():
        dcmwrite(buffer, identifier, implicit_vr=False, little_endian=True)
    return buffer.getvalue(), str(ExplicitVRLittleEndian)


def study_there(answer: Dataset) -> StudyThere:
    """Read an answer at STUDY level."""
    with quietly():
        return StudyThere(
            study_uid=text(answer, "StudyInstanceUID"),
            accession_number=text(answer, "AccessionNumber"),
            study_date=text(answer, "StudyDate"),
            modalities=tuple(sorted(filter(None, texts(answer, "ModalitiesInStudy")))),
            series=whole(answer, "NumberOfStudyRelatedSeries"),
            images=whole(answer, "NumberOfStudyRelatedInstances"),
        )


def series_there(answer: Dataset, images: frozenset[str]) -> SeriesThere:
    """Read an answer at SERIES level; `images` are the series' SOP Instance UIDs."""
    with quietly():
        return SeriesThere(
            series_uid=text(answer, "SeriesInstanceUID"),
            number=text(answer, "SeriesNumber"),
            images=images,
            counted=whole(answer, "NumberOfSeriesRelatedInstances") or 0,
        )


def sub_operations(response: Dataset, before: SubOperations) -> SubOperations:
    """Read the counts of a C-MOVE response; what it leaves out is as it was `before`."""
    remaining = before.remaining if response.Status in PENDING else 0
    return SubOperations(
        remaining=response.get("NumberOfRemainingSuboperations", remaining),
        completed=response.get("NumberOfCompletedSuboperations", before.completed),
        failed=response.get("NumberOfFailedSuboperations", before.failed),
        warning=response.get("NumberOfWarningSuboperations", before.warning),
    )
