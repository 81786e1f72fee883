"""Makes the DICOM data sets that tests need: small, fast, the same every time, all variable by keyword."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import UID

from ich_node.demo.ct_images import AXIAL, Exam, Patient, Series, ct_image, derived_uid, made_up_exam
from ich_node.demo.phantom import head_phantom
from ich_node.demo.phantom_bleed import Location
from ich_node.demo.scanner import scan

ORIENTATIONS: dict[str, tuple[float, ...]] = {
    "axial": AXIAL,
    "coronal": (1.0, 0.0, 0.0, 0.0, 0.0, -1.0),
    "sagittal": (0.0, 1.0, 0.0, 0.0, 0.0, -1.0),
}
FIELD_MM = 230.0


def ct_series(
    *,
    seed: int = 1,
    slices: int = 20,
    spacing_mm: float = 6.0,
    positions: Sequence[Sequence[float]] | None = None,
    rows: int = 64,
    columns: int = 64,
    pixel_spacing: float | tuple[float, float] | None = None,
    orientation: str | Sequence[float] = "axial",
    tilt_deg: float = 0.0,
    first_z_mm: float = -50.0,
    thickness_mm: float | None = None,
    kernel: str = "H30s",
    image_type: Sequence[str] = ("ORIGINAL", "PRIMARY", "AXIAL"),
    body_part: str | None = "HEAD",
    study_description: str = "CT HEAD WITHOUT CONTRAST",
    description: str = "Head 5.0 H30s",
    contrast: str | None = None,
    modality: str = "CT",
    sop_class: str | None = None,
    patient: Patient | None = None,
    study_uid: str | None = None,
    series_uid: str | None = None,
    frame_of_reference_uid: str | None = None,
    series_number: int = 2,
    acquisition: int = 1,
    first_instance: int = 1,
    started: datetime | None = None,
    pixels: str | NDArray[np.int16] = "head",
    bleed: bool = False,
    missing: Collection[str] = (),
    **tags: Any,
) -> list[Dataset]:
    """Make a CT series, foot to head, as a list of data sets with file meta.

    `spacing_mm` is measured along the slice normal; `tilt_deg` tips the gantry about the left-right axis; the
    table moves along z. `pixels` is 'head', 'empty' (air), 'noise', or HU as int16 (slices, rows, columns).
    `missing` names attributes to leave out; any other keyword is an attribute that is set on every image.
    The seed gives all UIDs; series of one seed are of one study, and their UIDs differ by series number.
    """
    exam = _exam(seed, patient, study_uid, started, study_description)
    if not isinstance(pixels, str):
        slices, rows, columns = pixels.shape
    axes = _axes(orientation, tilt_deg)
    spacing = pixel_spacing or FIELD_MM / max(rows, columns)
    series = Series(
        uid=series_uid or derived_uid("series", exam.key, series_number),
        number=series_number,
        frame_of_reference_uid=frame_of_reference_uid or derived_uid("frame of reference", exam.key),
        description=description,
        pixel_spacing_mm=spacing if isinstance(spacing, tuple) else (spacing, spacing),
        thickness_mm=thickness_mm if thickness_mm is not None else spacing_mm,
        orientation=axes,
        image_type=tuple(image_type),
        kernel=kernel,
        body_part=body_part or "",
        tilt_deg=tilt_deg,
        contrast=contrast,
        acquisition=acquisition,
    )
    corners = positions or _positions(series, slices, spacing_mm, (rows, columns), first_z_mm)
    volume = _volume(pixels, (len(corners), rows, columns), bleed, seed)
    images = [
        ct_image(exam, series, first_instance + index, plane, (corner[0], corner[1], corner[2]))
        for index, (plane, corner) in enumerate(zip(volume, corners, strict=True))
    ]
    for image in images:
        _alter(image, modality, sop_class, missing, tags)
    return images


def phantom_study(
    seed: int, *, bleed: Location | None = "deep", size: int = 256, started: datetime | None = None
) -> list[Dataset]:
    """Scan the head phantom of a seed: one localizer and the whole head series (about a second)."""
    return scan(head_phantom(seed, bleed, size=size), started=started)


def write_files(datasets: Iterable[Dataset], folder: Path) -> list[Path]:
    """Write each data set as a DICOM file named by its place in the list; return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index, dataset in enumerate(datasets):
        paths.append(folder / f"{index:04d}.dcm")
        dataset.save_as(paths[-1], enforce_file_format=True)
    return paths


def _exam(
    seed: int, patient: Patient | None, study_uid: str | None, started: datetime | None, description: str
) -> Exam:
    exam = made_up_exam(seed, started=started)
    return replace(
        exam,
        patient=patient or exam.patient,
        study_uid=study_uid or exam.study_uid,
        key=f"built {study_uid or seed}",
        description=description,
    )


def _axes(orientation: str | Sequence[float], tilt_deg: float) -> tuple[float, ...]:
    axes = ORIENTATIONS[orientation] if isinstance(orientation, str) else tuple(map(float, orientation))
    if not tilt_deg:
        return axes
    tilt = np.deg2rad(tilt_deg)
    turn = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    return tuple(float(v) for v in (*(turn @ axes[:3]), *(turn @ axes[3:])))


def _positions(
    series: Series, slices: int, spacing_mm: float, shape: tuple[int, int], first_z_mm: float
) -> list[tuple[float, float, float]]:
    """Corners of slices whose centers stand on one line: the table's for axial ones, else the normal."""
    across, down = np.array(series.orientation[:3]), np.array(series.orientation[3:])
    normal = np.cross(across, down)
    path = np.array([0.0, 0.0, 1.0]) if abs(normal[2]) > 0.5 else normal
    step = path * spacing_mm / float(path @ normal)
    step = step if abs(normal[2]) <= 0.5 or step[2] > 0 else -step
    row_mm, column_mm = series.pixel_spacing_mm
    corner = -across * column_mm * (shape[1] - 1) / 2 - down * row_mm * (shape[0] - 1) / 2 + path * first_z_mm
    return [tuple(float(v) for v in corner + index * step) for index in range(slices)]  # type: ignore[misc]


def _volume(
    pixels: str | NDArray[np.int16], shape: tuple[int, int, int], bleed: bool, seed: int
) -> NDArray[np.int16]:
    if not isinstance(pixels, str):
        return pixels
    if pixels == "head":
        return small_head(shape, bleed=bleed, seed=seed)
    air = np.full(shape, -1000, dtype=np.int16)
    if pixels == "empty":
        return air
    if pixels == "noise":
        return np.random.default_rng(seed).integers(-900, 900, shape, dtype=np.int16)
    raise ValueError(f"pixels must be 'head', 'empty', 'noise' or an array, not {pixels!r}")


def small_head(shape: tuple[int, int, int], *, bleed: bool = False, seed: int = 1) -> NDArray[np.int16]:
    """Draw a cheap head from base to vertex: scalp, skull, brain, ventricles, at most one bleed."""
    count, rows, columns = shape
    z = np.linspace(-0.55, 0.97, count, dtype=np.float32)[:, None, None]
    y = np.linspace(-1.15, 1.15, rows, dtype=np.float32)[None, :, None]
    x = np.linspace(-1.4, 1.4, columns, dtype=np.float32)[None, None, :]
    steepness = np.where(z > 0, np.float32(0.85), np.float32(2.4))  # the base closes sooner than the vertex
    radius = np.sqrt(x**2 + y**2 + steepness * z**2)
    grain = np.random.default_rng(seed).normal(0, 4, shape).astype(np.float32)
    hu = np.full(shape, -1000, dtype=np.float32)
    hu[radius < 1.02] = 0  # scalp
    hu[radius < 0.95] = 1000  # skull
    brain = radius < 0.86
    hu[brain] = 33
    hu[((np.abs(x) - 0.12) ** 2 / 0.006 + y**2 / 0.1 + (z - 0.1) ** 2 / 0.05) < 1] = 8
    if bleed:
        hu[((x - 0.38) ** 2 + y**2 + (z - 0.15) ** 2) < 0.05] = 66
    return np.where(hu > -900, hu + grain, hu).round().astype(np.int16)


def _alter(
    image: Dataset, modality: str, sop_class: str | None, missing: Collection[str], tags: dict[str, Any]
) -> None:
    image.Modality = modality
    if not image.BodyPartExamined:
        del image.BodyPartExamined
    if sop_class is not None:
        image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = UID(sop_class)
    for keyword, value in tags.items():
        setattr(image, keyword, value)
    for keyword in missing:
        if keyword in image:
            delattr(image, keyword)
