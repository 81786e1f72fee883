"""What SR and SC share beside their content: whose they are, when, by what. Pure data sets."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from highdicom import ContributingEquipment
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage

from ich_node import vocabulary
from ich_node.dicom.report_context import ReportContext
from ich_node.dicom.report_copies import adopt_charset, copy_elements, select
from ich_node.dicom.uids import derive
from ich_node.dicom.values import numbers, quietly, text, zone
from ich_node.dicom.wording import ascii_text

# type 2 of Patient and General Study: absent in the source means empty in the report (PS3.3 C.7.1.1, C.7.2.1)
_TYPE_2 = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex",
    "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
_COPIED = (
    *_TYPE_2, "StudyDescription", "ProcedureCodeSequence",
    "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence", "IssuerOfAccessionNumberSequence",
    "PatientAge", "PatientSize", "PatientWeight", "AdmissionID",
    "PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence",
    "ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialProtocolName",
    "ClinicalTrialSiteID", "ClinicalTrialSiteName", "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID",
)  # fmt: skip
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
_READ = (
    "SpecificCharacterSet", "TimezoneOffsetFromUTC", "Manufacturer", "ManufacturerModelName", "SeriesNumber",
    "ImagePositionPatient", "RequestAttributesSequence",
)  # fmt: skip
# all that a report takes from a header
TAKEN = (*_UIDS, *_READ, *_COPIED)


def in_order(sources: Sequence[Dataset]) -> list[Dataset]:
    """Return copies of what a report takes from the headers, sorted by series and position.

    So the order of arrival changes no byte, and reading them changes no source.
    """
    headers = [select(source, TAKEN) for source in sources]
    return sorted(
        headers,
        key=lambda header: (
            text(header, "SeriesInstanceUID"),
            _height_mm(header),
            text(header, "SOPInstanceUID"),
        ),
    )


def _height_mm(source: Dataset) -> float:
    position = numbers(source, "ImagePositionPatient", 3)
    return position[2] if position else 0.0  # absent or malformed: the UID decides


def uid_of(kind: str, sources: Sequence[Dataset], context: ReportContext) -> str:
    """Derive the UID of one object about these sources, which stand in order."""
    return derive(
        context.installation_uid,
        text(sources[0], "StudyInstanceUID"),
        text(sources[0], "SeriesInstanceUID"),
        context.bundle_sha256,
        kind=kind,
        revision=context.revision,
    )


@quietly()
def bare_headers(sources: Iterable[Dataset]) -> tuple[Dataset, ...]:
    """Return headers that name the instances and leave patient and study empty; a report needs no more.

    highdicom validates what it copies, so a hospital's odd name or date would cost the report: its
    constructors get these, and `copy_identity` copies the values verbatim afterwards.
    """
    return tuple(_bare(source) for source in sources)


def _bare(source: Dataset) -> Dataset:
    bare = Dataset()
    for keyword in _TYPE_2:
        setattr(bare, keyword, "")
    for keyword in _UIDS:
        setattr(bare, keyword, text(source, keyword))
    bare.SOPClassUID = sop_class_of(source)
    return bare


def sop_class_of(source: Dataset) -> str:
    """Return the SOP Class UID, CT Image where the header names none."""
    return text(source, "SOPClassUID") or str(CTImageStorage)


def copy_identity(source: Dataset, target: Dataset) -> None:
    """Copy patient and study verbatim, with the character set that they are written in.

    Values still undecoded stay so, and `to_bytes` writes the very bytes: neither a false character set nor
    leading zeros are repaired, as that would make another patient or another study of it. What cannot stand
    in our file at all is left out, and empty where it is of type 2.
    """
    adopt_charset(source, target)
    copy_elements(source, target, _COPIED)


def site_time(source: Dataset, context: ReportContext) -> datetime:
    """When the analysis ended, in the zone of the source if it names one, else in that of the context."""
    theirs = zone(source)
    return context.analysed_at if theirs is None else context.analysed_at.astimezone(theirs)


def stamp(target: Dataset, now: datetime, context: ReportContext) -> None:
    """Write the time of the analysis wherever highdicom wrote the clock's, and name this product."""
    date, time = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    for event in ("InstanceCreation", "Content", "Series"):
        setattr(target, f"{event}Date", date)
        setattr(target, f"{event}Time", time)
    target.TimezoneOffsetFromUTC = now.strftime("%z")[:5]
    for item in target.ContributingEquipmentSequence:
        if "ContributionDateTime" in item:
            item.ContributionDateTime = now.strftime("%Y%m%d%H%M%S%z")[:19]
    target.Manufacturer = vocabulary.MANUFACTURER
    target.ManufacturerModelName = vocabulary.PRODUCT
    target.SoftwareVersions = context.software_version
    target.DeviceSerialNumber = context.bundle_sha256[:64]


def contributing_equipment(source: Dataset, context: ReportContext) -> list[ContributingEquipment]:
    """The scanner, where it is named, and the algorithm with a UID of its own (IHE AIR 6.5.3.1)."""
    algorithm = ContributingEquipment(
        manufacturer=vocabulary.MANUFACTURER,
        purpose_of_reference=codes.DCM.ProcessingEquipment,
        manufacturer_model_name=ascii_text(context.bundle_name)[:64] or vocabulary.PRODUCT,
        software_versions=context.software_version,
        device_serial_number=context.bundle_sha256[:64],
        contribution_description=vocabulary.ALGORITHM_ROLE,
    )
    # another model is another device
    algorithm.DeviceUID = derive(
        context.installation_uid, "", "", context.bundle_sha256, kind="device", revision=0
    )
    manufacturer = _named(source, "Manufacturer")
    if not manufacturer:
        return [algorithm]
    scanner = ContributingEquipment(
        manufacturer=manufacturer,
        purpose_of_reference=codes.DCM.AcquisitionEquipment,
        manufacturer_model_name=_named(source, "ManufacturerModelName") or None,
        contribution_description=vocabulary.SCANNER_ROLE,
    )
    return [scanner, algorithm]


def _named(source: Dataset, keyword: str) -> str:
    return ascii_text(text(source, keyword))[:64].strip()
