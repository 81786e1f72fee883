"""CT Image Storage data sets as a scanner writes them (PS3.3 A.3), from HU. Pure functions."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from ich_node.dicom.uids import uid_from

Point = tuple[float, float, float]

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
_FIRST_DAY = datetime(2026, 1, 5, 7, 30)  # noqa: DTZ001 - local time of the scanner; its zone is in the header


@dataclass(frozen=True, kw_only=True)
class Patient:
    """Who lies in the scanner: always made up."""

    name: str
    patient_id: str
    birth_date: str
    sex: str
    age: str


@dataclass(frozen=True, kw_only=True)
class Exam:
    """One visit to the scanner; all of its identifiers follow from `key`."""

    key: str
    patient: Patient
    study_uid: str
    accession_number: str
    started: datetime
    description: str = "CT HEAD WITHOUT CONTRAST"


@dataclass(frozen=True, kw_only=True)
class Series:
    """What is the same in all images of one series; lengths in mm."""

    uid: str
    number: int
    frame_of_reference_uid: str
    description: str
    pixel_spacing_mm: tuple[float, float]
    thickness_mm: float
    orientation: tuple[float, ...] = AXIAL
    image_type: tuple[str, ...] = ("ORIGINAL", "PRIMARY", "AXIAL")
    kernel: str = "H30s"
    body_part: str = "HEAD"
    tilt_deg: float = 0.0
    contrast: str | None = None
    acquisition: int = 1


def derived_uid(*parts: object) -> str:
    """Derive a UID from the parts: the same parts give the same UID (PS3.5 B.2, a UUID under 2.25)."""
    return uid_from("\x1f".join(map(str, parts)))


def made_up_patient(seed: int) -> Patient:
    """Invent an adult whose name says that nobody of that name exists."""
    draw = int(derived_uid("patient", seed)[5:])
    age = 35 + draw % 56
    return Patient(
        name=f"Phantom^Seed {seed}",
        patient_id=f"PHANTOM-{seed:07d}",
        birth_date=f"{_FIRST_DAY.year - age - 1}{1 + draw // 56 % 12:02d}{1 + draw // 672 % 28:02d}",
        sex="FM"[draw // 18816 % 2],
        age=f"{age:03d}Y",
    )


def made_up_exam(seed: int, *, started: datetime | None = None) -> Exam:
    """Invent the visit of a seed; without `started` its day follows from the seed as well."""
    minutes = int(derived_uid("day", seed)[5:]) % (300 * 24 * 60)
    return Exam(
        key=f"seed {seed}",
        patient=made_up_patient(seed),
        study_uid=derived_uid("study", seed),
        accession_number=f"A{seed:07d}",
        started=started or _FIRST_DAY + timedelta(minutes=minutes),
    )


def ct_image(exam: Exam, series: Series, number: int, hu: NDArray[np.int16], corner: Point) -> Dataset:
    """Make one CT image: 12 bits that hold HU + 1024, `corner` the centre of the first pixel in mm."""
    dataset = Dataset()
    uid = derived_uid("image", exam.key, series.uid, number)
    dataset.file_meta = _file_meta(uid)
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = uid
    _put_exam(dataset, exam)
    _put_equipment(dataset)
    _put_series(dataset, exam, series, number)
    _put_plane(dataset, series, corner)
    _put_pixels(dataset, hu)
    return dataset


def _file_meta(uid: str) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = UID(uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(derived_uid("implementation", "phantom scanner"))
    meta.ImplementationVersionName = "ICH_PHANTOM_1"
    return meta


def _put_exam(dataset: Dataset, exam: Exam) -> None:
    dataset.PatientName = exam.patient.name
    dataset.PatientID = exam.patient.patient_id
    dataset.PatientBirthDate = exam.patient.birth_date
    dataset.PatientSex = exam.patient.sex
    dataset.PatientAge = exam.patient.age
    dataset.StudyInstanceUID = exam.study_uid
    dataset.StudyID = exam.accession_number[-6:]
    dataset.AccessionNumber = exam.accession_number
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = exam.description
    dataset.StudyDate = exam.started.strftime("%Y%m%d")
    dataset.StudyTime = exam.started.strftime("%H%M%S")
    dataset.TimezoneOffsetFromUTC = "+0100"


def _put_equipment(dataset: Dataset) -> None:
    dataset.Manufacturer = "ICH node"
    dataset.ManufacturerModelName = "Phantom scanner"
    dataset.InstitutionName = "Demonstration"
    dataset.StationName = "CT1"
    dataset.DeviceSerialNumber = "0001"
    dataset.SoftwareVersions = "1"
    dataset.ImageComments = "Synthetic, made of no patient's data"


def _put_series(dataset: Dataset, exam: Exam, series: Series, number: int) -> None:
    moment = exam.started + timedelta(seconds=20 * series.number + 0.5 * number)
    dataset.Modality = "CT"
    dataset.SeriesInstanceUID = series.uid
    dataset.SeriesNumber = series.number
    dataset.SeriesDescription = series.description
    dataset.SeriesDate = exam.started.strftime("%Y%m%d")
    dataset.SeriesTime = (exam.started + timedelta(seconds=20 * series.number)).strftime("%H%M%S")
    dataset.AcquisitionDate = dataset.ContentDate = moment.strftime("%Y%m%d")
    dataset.AcquisitionTime = dataset.ContentTime = moment.strftime("%H%M%S.%f")
    dataset.BodyPartExamined = series.body_part
    dataset.PatientPosition = "HFS"
    dataset.ProtocolName = "Head routine"
    dataset.ScanOptions = "SEQUENCE MODE"
    dataset.ImageType = list(series.image_type)
    dataset.AcquisitionNumber = series.acquisition
    dataset.InstanceNumber = number
    dataset.KVP = "120"
    dataset.XRayTubeCurrent = 280
    dataset.ExposureTime = 1000
    dataset.Exposure = 280
    dataset.ConvolutionKernel = series.kernel
    dataset.GantryDetectorTilt = f"{series.tilt_deg:g}"
    dataset.RotationDirection = "CW"
    if series.contrast is not None:
        dataset.ContrastBolusAgent = series.contrast


def _put_plane(dataset: Dataset, series: Series, corner: Point) -> None:
    dataset.FrameOfReferenceUID = series.frame_of_reference_uid
    dataset.PositionReferenceIndicator = ""
    dataset.ImagePositionPatient = [f"{value:.6g}" for value in corner]
    dataset.ImageOrientationPatient = [f"{value:.8g}" for value in series.orientation]
    dataset.PixelSpacing = [f"{value:.8g}" for value in series.pixel_spacing_mm]
    dataset.SliceThickness = f"{series.thickness_mm:.6g}"
    dataset.SliceLocation = f"{corner[2]:.6g}"


def _put_pixels(dataset: Dataset, hu: NDArray[np.int16]) -> None:
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = hu.shape
    dataset.BitsAllocated = 16
    dataset.BitsStored = 12
    dataset.HighBit = 11
    dataset.PixelRepresentation = 0
    dataset.RescaleIntercept = "-1024"
    dataset.RescaleSlope = "1"
    dataset.WindowCenter = "40"
    dataset.WindowWidth = "80"
    stored = np.clip(hu.astype(np.int32) + 1024, 0, 4095).astype("<u2")
    dataset.PixelData = stored.tobytes()
