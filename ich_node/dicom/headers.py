"""Header facts of an instance, read tolerantly: odd content becomes nothing, never an error. No pixels."""

import math
import re
from datetime import datetime, time, tzinfo
from hashlib import sha256

from pydicom.dataset import Dataset
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from ich_node.core.instances import Compression, InstanceFacts, Orientation, Plane, Vector
from ich_node.dicom.frames import frames_of
from ich_node.dicom.values import (
    day,
    decimals,
    first_text,
    items,
    number,
    numbers,
    positive,
    quietly,
    text,
    texts,
    whole,
    zone,
)
from ich_node.errors import UnreadableInstance
from ich_node.vocabulary import MANUFACTURER, PRODUCT, SERIES_DESCRIPTIONS, Reason

IDENTIFYING = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
# IOCM titles of a Key Object Selection that rejects instances (IHE RAD TF-3 4.66.4.1.3, PS3.16 CID 7011)
_REJECTION_TITLES = frozenset({"113001", "113037", "113038", "113039"})
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_LONGEST_UID = 64
_FARTHEST_MM = 1e6  # no table goes a kilometer; of far greater numbers sums and products are no numbers
_PIXEL_MM = (1e-3, 1e3)  # from below a micro-CT to a pixel longer than a patient is wide
_AGE_UNITS_PER_YEAR = {"D": 365.25, "W": 365.25 / 7, "M": 12.0, "Y": 1.0}


def identity(dataset: Dataset) -> tuple[str, str, str, str]:
    """Return Study, Series, SOP Instance and SOP Class UID.

    Raises UnreadableInstance(NO_IDENTITY) where one is absent or not dotted digits of at most 64 characters;
    leading zeros pass.
    """
    with quietly():
        uids = tuple(text(dataset, keyword) for keyword in IDENTIFYING)
    for keyword, uid in zip(IDENTIFYING, uids, strict=True):
        if len(uid) > _LONGEST_UID or not _UID.fullmatch(uid):
            raise UnreadableInstance(Reason.NO_IDENTITY, f"{keyword} is absent or malformed")
    return uids[0], uids[1], uids[2], uids[3]


def transfer_syntax(dataset: Dataset) -> str:
    """Return the transfer syntax of the file meta, or for a bare data set the one that it was read in."""
    meta = getattr(dataset, "file_meta", None)
    with quietly():
        named = text(meta, "TransferSyntaxUID") if meta is not None else ""
    if named:
        return named
    implicit, little = dataset.original_encoding
    if implicit:
        return str(ImplicitVRLittleEndian)
    return str(ExplicitVRBigEndian if little is False else ExplicitVRLittleEndian)


def instance_facts(dataset: Dataset, *, content_key: str = "") -> InstanceFacts:
    """Read what selection needs of one instance; only a missing identity is an error (see `identity`)."""
    study_uid, series_uid, sop_instance_uid, sop_class_uid = identity(dataset)
    with quietly():
        frames = frames_of(dataset)
        shared = frames[0]
        return InstanceFacts(
            sop_instance_uid=sop_instance_uid,
            sop_class_uid=sop_class_uid,
            series_uid=series_uid,
            study_uid=study_uid,
            modality=text(dataset, "Modality").upper(),
            series_number=whole(dataset, "SeriesNumber"),
            instance_number=whole(dataset, "InstanceNumber"),
            series_description=text(dataset, "SeriesDescription"),
            study_description=text(dataset, "StudyDescription"),
            protocol=text(dataset, "ProtocolName"),
            image_type=tuple(value.upper() for value in texts(dataset, "ImageType")),
            body_part=text(shared, "BodyPartExamined"),
            kernel=first_text(shared, "ConvolutionKernel"),
            contrast_agent=_agent(dataset),
            slice_thickness_mm=positive(shared, "SliceThickness"),
            patient_age_years=_age_years(dataset),
            rows=whole(dataset, "Rows") or 0,
            columns=whole(dataset, "Columns") or 0,
            frames=max(1, whole(dataset, "NumberOfFrames") or 1),
            samples_per_pixel=whole(dataset, "SamplesPerPixel") or 1,
            bits_allocated=whole(dataset, "BitsAllocated") or 0,
            bits_stored=whole(dataset, "BitsStored") or 0,
            pixel_spacing=_spacing(shared),
            planes=tuple(_plane(group) for group in frames),
            frame_of_reference_uid=text(dataset, "FrameOfReferenceUID"),
            acquisition_number=whole(dataset, "AcquisitionNumber"),
            acquisition_time_s=_acquisition_time_s(dataset),
            irradiation_event_uid=first_text(dataset, "IrradiationEventUID"),
            compression=_compression(dataset),
            has_rescale=number(shared, "RescaleIntercept") is not None,
            own_object=is_own(dataset),
            rejected_instances=_rejected(dataset),
            patient_key=_patient_key(dataset),
            content_key=content_key,
        )


def _agent(dataset: Dataset) -> str:
    """Read the contrast agent: as text, else by the meaning of its code, as enhanced objects tell it."""
    codes = items(dataset, "ContrastBolusAgentSequence")
    return text(dataset, "ContrastBolusAgent") or " ".join(text(code, "CodeMeaning") for code in codes)


def _spacing(dataset: Dataset) -> tuple[float, float] | None:
    spacing = numbers(dataset, "PixelSpacing", 2)
    low, high = _PIXEL_MM
    return (spacing[0], spacing[1]) if spacing and low <= min(spacing) and max(spacing) <= high else None


def _plane(group: Dataset) -> Plane:
    position = numbers(group, "ImagePositionPatient", 3)
    cosines = numbers(group, "ImageOrientationPatient", 6)
    return Plane(
        position=_position(position) if position else None,
        orientation=_orientation(cosines) if cosines else None,
    )


def _position(values: tuple[float, ...]) -> Vector | None:
    return (values[0], values[1], values[2]) if max(map(abs, values)) <= _FARTHEST_MM else None


def _orientation(values: tuple[float, ...]) -> Orientation | None:
    """Take two unit vectors at right angles, within what makers' rounding does to them; else none."""
    row, column = values[:3], values[3:]
    lengths = [math.sqrt(sum(cosine * cosine for cosine in vector)) for vector in (row, column)]
    product = sum(a * b for a, b in zip(row, column, strict=True))
    if any(abs(length - 1) > 0.01 for length in lengths) or abs(product) > 0.01:
        return None
    return (values[0], values[1], values[2], values[3], values[4], values[5])


def _age_years(dataset: Dataset) -> float | None:
    age = re.fullmatch(r"(\d{1,3})([DWMY])", text(dataset, "PatientAge").upper())
    if age and age[0] != "000Y":  # newborns count days; this is what anonymizers write
        return int(age[1]) / _AGE_UNITS_PER_YEAR[age[2]]
    born, examined = day(dataset, "PatientBirthDate"), day(dataset, "StudyDate")
    if born is None or examined is None or born >= examined:
        return None
    return (examined - born).days / _AGE_UNITS_PER_YEAR["D"]


def _acquisition_time_s(dataset: Dataset) -> float | None:
    """Count seconds from a fixed day to the start of the acquisition, by its date and time."""
    moment = re.match(r"\d{8}(\d{2})(\d{2})(\d{2}(?:\.\d+)?)", text(dataset, "AcquisitionDateTime"))
    started = day(dataset, "AcquisitionDateTime") if moment else day(dataset, "AcquisitionDate")
    clock = moment or re.match(r"(\d{2}):?(\d{2}):?(\d{2}(?:\.\d+)?)", text(dataset, "AcquisitionTime"))
    if clock is None:
        return None
    started = started or day(dataset, "StudyDate")
    days = started.toordinal() if started else 0
    return days * 86_400.0 + int(clock[1]) * 3_600 + int(clock[2]) * 60 + float(clock[3])


def _compression(dataset: Dataset) -> Compression:
    return Compression(
        transfer_syntax_uid=transfer_syntax(dataset),
        lossy=text(dataset, "LossyImageCompression") == "01",
        ratio=max(decimals(dataset, "LossyImageCompressionRatio"), default=None),
    )


def studied_at(dataset: Dataset, site: tzinfo | None) -> datetime | None:
    """When the study began, in the zone that it names, else in the site's; without a time: at the day's end.

    None where no date stands there, or none that a calendar knows.
    """
    began = day(dataset, "StudyDate")
    if began is None:
        return None
    clock = re.match(r"([01]\d|2[0-3]):?([0-5]\d)", text(dataset, "StudyTime"))
    at = time(int(clock[1]), int(clock[2])) if clock else time.max
    return datetime.combine(began, at, tzinfo=zone(dataset) or site)


def is_own(dataset: Dataset) -> bool:
    """Tell whether this software made the object, or a copy of it that a PACS keeps."""
    if text(dataset, "SeriesDescription") in SERIES_DESCRIPTIONS.values():
        return True
    return text(dataset, "Manufacturer") == MANUFACTURER or text(dataset, "ManufacturerModelName") == PRODUCT


def _rejected(dataset: Dataset) -> tuple[str, ...]:
    """List the SOP Instance UIDs that a rejection note names (IOCM)."""
    titles = {text(title, "CodeValue") for title in items(dataset, "ConceptNameCodeSequence")}
    if text(dataset, "Modality") != "KO" or not titles & _REJECTION_TITLES:
        return ()
    return tuple(
        text(reference, "ReferencedSOPInstanceUID")
        for study in items(dataset, "CurrentRequestedProcedureEvidenceSequence")
        for series in items(study, "ReferencedSeriesSequence")
        for reference in items(series, "ReferencedSOPSequence")
    )


def _patient_key(dataset: Dataset) -> str:
    """Hash what tells patients apart: the id, else the name; equal hashes mean the same patient."""
    told = text(dataset, "PatientID") or text(dataset, "PatientName")
    return sha256(told.strip().casefold().encode()).hexdigest()[:16] if told.strip() else ""
