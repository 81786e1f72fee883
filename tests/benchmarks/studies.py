"""Head CTs as a department makes them, of hundreds of objects; every one a new study of few drawn heads."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from ich_node.demo.ct_images import Exam, Series, ct_image, derived_uid, made_up_exam
from ich_node.demo.phantom import HeadPhantom, head_phantom
from ich_node.demo.scanner import scan
from ich_node.vocabulary import Location

Kind = Literal["head", "contrast", "no head"]
HEAD_SERIES = 2
THIN_SIDE = 256
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
REFORMATS = 40


@dataclass(frozen=True, kw_only=True)
class Head:
    """A head that can be drawn; `strength` 0..1 of its bleed, between the head without it and with it."""

    seed: int
    bleed: Location | None = None
    strength: float = 1.0
    size: int = 512


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A study to be made: `number` names it; of so many `objects` in all, if it has a head.

    `thin_first`: the thin series comes before the one of 5 mm, as some scanners send them.
    """

    number: int
    head: Head
    kind: Kind = "head"
    objects: int = 600
    thin_first: bool = False

    @property
    def study_uid(self) -> str:
        return self.exam.study_uid

    @property
    def exam(self) -> Exam:
        return made_up_exam(self.number)


@lru_cache(maxsize=32)
def drawn(head: Head) -> HeadPhantom:
    """The head, drawn once in a process."""
    if head.strength == 1.0:
        return head_phantom(head.seed, head.bleed, size=head.size)
    bleeding, clean = drawn(replace(head, strength=1.0)), drawn(replace(head, strength=1.0, bleed=None))
    hu = clean.hu + np.rint(head.strength * (bleeding.hu - clean.hu)).astype(np.int16)
    return replace(bleeding, hu=hu)


def images_of(plan: Plan) -> Iterator[Dataset]:
    """Yield localizer, head of 5 mm, thin series, bone kernel, reformats and dose sheet, as they are sent."""
    phantom = drawn(plan.head)
    localizer, *head = scan(phantom, exam=plan.exam)
    yield localizer
    if plan.kind != "no head":
        others = max(0, plan.objects - 2 - len(head))
        reformats = min(REFORMATS, others // 4)
        sharp = min(len(head), others // 4)
        thin = _thin(plan, phantom, others - reformats - sharp)
        for image in (*thin, *head):
            _say_how_made(image, plan)
        yield from (*thin, *head) if plan.thin_first else (*head, *thin)
        for image in head[:sharp]:
            yield _with_bone_kernel(image, plan)
        yield from _coronal(plan, phantom, reformats)
    yield _dose_sheet(localizer, plan)


def _series(plan: Plan, phantom: HeadPhantom, number: int, description: str) -> Series:
    return Series(
        uid=derived_uid("series", plan.exam.key, number),
        number=number,
        frame_of_reference_uid=derived_uid("frame of reference", plan.exam.key),
        description=description,
        pixel_spacing_mm=(phantom.pixel_spacing_mm, phantom.pixel_spacing_mm),
        thickness_mm=phantom.slice_spacing_mm,
    )


def _thin(plan: Plan, phantom: HeadPhantom, slices: int) -> list[Dataset]:
    """The same head in thin slices, over the same length."""
    if slices < 2:
        return []
    places = np.linspace(0, len(phantom.hu) - 1, slices)
    step_mm = phantom.slice_spacing_mm * float(places[1])
    fine = plan.head.size // THIN_SIDE
    pixel_mm = phantom.pixel_spacing_mm * fine
    series = replace(
        _series(plan, phantom, 3, "Head thin H30s"),
        thickness_mm=step_mm,
        pixel_spacing_mm=(pixel_mm, pixel_mm),
    )
    x, y, first_z = phantom.positions_mm[0]
    return [
        ct_image(
            plan.exam, series, n + 1, phantom.hu[round(at)][::fine, ::fine], (x, y, first_z + n * step_mm)
        )
        for n, at in enumerate(places)
    ]


def _coronal(plan: Plan, phantom: HeadPhantom, images: int) -> Iterator[Dataset]:
    series = replace(
        _series(plan, phantom, 5, "Head coronal"),
        orientation=CORONAL,
        image_type=("DERIVED", "SECONDARY", "MPR"),
        pixel_spacing_mm=(phantom.slice_spacing_mm, phantom.pixel_spacing_mm),
    )
    x, y, _ = phantom.positions_mm[0]
    for number, row in enumerate(np.linspace(0, phantom.hu.shape[1] - 1, images).astype(int)):
        corner = (x, y + float(row) * phantom.pixel_spacing_mm, phantom.positions_mm[-1][2])
        yield ct_image(plan.exam, series, number + 1, phantom.hu[::-1, row], corner)


def _with_bone_kernel(soft: Dataset, plan: Plan) -> Dataset:
    image = deepcopy(soft)
    image.SeriesInstanceUID = derived_uid("series", plan.exam.key, 4)
    image.SeriesNumber = 4
    image.SeriesDescription, image.ConvolutionKernel = "Head 5.0 H60s bone", "H60s"
    return _renamed(image)


def _say_how_made(image: Dataset, plan: Plan) -> None:
    """One pass of the scanner made them all, with contrast medium or without."""
    image.IrradiationEventUID = derived_uid("irradiation event", plan.exam.key)
    image.AcquisitionTime = plan.exam.started.strftime("%H%M%S")
    if plan.kind == "contrast":
        image.ContrastBolusAgent = "Iodine"


def _dose_sheet(localizer: Dataset, plan: Plan) -> Dataset:
    """A picture of the dose table, which most scanners still send beside the structured one."""
    sheet = deepcopy(localizer)
    sheet.SeriesInstanceUID = derived_uid("series", plan.exam.key, 9)
    sheet.SeriesNumber = 9
    sheet.SeriesDescription = "Patient Protocol"
    sheet.SOPClassUID = sheet.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    sheet.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "SliceThickness", "SliceLocation"):
        delattr(sheet, keyword)
    return _renamed(sheet)


def _renamed(image: Dataset) -> Dataset:
    uid = derived_uid("image", str(image.SeriesInstanceUID), image.InstanceNumber)
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = uid
    return image
