"""What SR and SC share beside their content: whose they are, when, by what. Pure data sets."""

import re
from collections.abc import Iterable, Sequence
from copy import deepcopy
from datetime import datetime, timedelta, timezone
from typing import cast

from highdicom import ContributingEquipment
from pydicom.charset import convert_encodings, default_encoding
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.tag import BaseTag
from pydicom.uid import CTImageStorage

from ich_node import vocabulary
from ich_node.dicom.report_context import ReportContext
from ich_node.dicom.uids import derive
from ich_node.dicom.wording import ascii_text

# type 2 of Patient and General Study: absent in the source means empty in the report (PS3.3 C.7.1.1, C.7.2.1)
_TYPE_2 = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex",
    "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
_COPIED = (
    "SpecificCharacterSet", *_TYPE_2, "StudyDescription", "ProcedureCodeSequence",
    "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence", "IssuerOfAccessionNumberSequence",
    "PatientAge", "PatientSize", "PatientWeight", "AdmissionID",
    "PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence",
    "ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialProtocolName",
    "ClinicalTrialSiteID", "ClinicalTrialSiteName", "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID",
)  # fmt: skip


def in_order(sources: Sequence[Dataset]) -> list[Dataset]:
    """Sort the headers by series and position, so that the order of arrival changes no byte."""
    return sorted(
        sources,
        key=lambda source: (str(source.SeriesInstanceUID), _height_mm(source), str(source.SOPInstanceUID)),
    )


def _height_mm(source: Dataset) -> float:
    try:
        return float(source.ImagePositionPatient[2])
    except (AttributeError, IndexError, TypeError, ValueError):  # absent or malformed: the UID decides
        return 0.0


def uid_of(kind: str, sources: Sequence[Dataset], context: ReportContext) -> str:
    """Derive the UID of one object about these sources, which stand in order."""
    return derive(
        context.installation_uid,
        str(sources[0].StudyInstanceUID),
        str(sources[0].SeriesInstanceUID),
        context.bundle_sha256,
        kind=kind,
        revision=context.revision,
    )


def evidence_of(sources: Iterable[Dataset]) -> list[Dataset]:
    """Headers that name the instances and nothing else; the first one also serves highdicom's constructors.

    highdicom validates what it copies, so a hospital's odd name or date would cost the report:
    `copy_identity` copies those values verbatim afterwards.
    """
    return [_reference(source) for source in sources]


def _reference(source: Dataset) -> Dataset:
    reference = Dataset()
    for keyword in _TYPE_2:
        setattr(reference, keyword, "")
    reference.StudyInstanceUID = str(source.StudyInstanceUID)
    reference.SeriesInstanceUID = str(source.SeriesInstanceUID)
    reference.SOPInstanceUID = str(source.SOPInstanceUID)
    reference.SOPClassUID = str(source.get("SOPClassUID", CTImageStorage))
    return reference


def copy_identity(source: Dataset, target: Dataset) -> None:
    """Copy patient and study verbatim, with the character set that they are written in.

    Values still undecoded stay so, and `to_bytes` writes the very bytes: neither a false character set nor
    leading zeros are repaired, as that would make another patient or another study of it.
    """
    copy_elements(source, target, _COPIED)
    charset = target.get("SpecificCharacterSet")
    target.set_original_encoding(False, True, convert_encodings(charset) if charset else default_encoding)


def copy_elements(source: Dataset, target: Dataset, keywords: Iterable[str]) -> None:
    for keyword in keywords:
        tag = BaseTag(tag_for_keyword(keyword) or 0)
        if tag in source:
            target[tag] = _verbatim(source, tag)


def _verbatim(source: Dataset, tag: BaseTag) -> DataElement | RawDataElement:
    vr = dictionary_VR(tag)
    element = cast(DataElement | RawDataElement, source.get_item(tag))
    if isinstance(element, RawDataElement) and vr != "SQ" and element.value is not None:
        return element._replace(VR=vr)
    return deepcopy(source[tag])


def site_time(source: Dataset, context: ReportContext) -> datetime:
    """When the analysis ended, in the zone of the source if it names one, else in that of the context."""
    offset = re.fullmatch(r"([+-])(\d\d)([0-5]\d)", str(source.get("TimezoneOffsetFromUTC", "")).strip())
    if offset is None:
        return context.analysed_at
    sign, hours, minutes = offset.groups()
    distance = timedelta(hours=int(hours), minutes=int(minutes))
    if distance > timedelta(hours=14):  # the range of PS3.3 C.12.1.1.8 ends there
        return context.analysed_at
    return context.analysed_at.astimezone(timezone(distance if sign == "+" else -distance))


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
    return ascii_text(str(source.get(keyword, None) or ""))[:64]
