"""Words for tables of studies: series as scanners write them, and a line that tells what became of each."""

import random
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import cache
from typing import Any

from builders import ct_series
from pydicom.dataset import Dataset
from pydicom.uid import UID

from ich_node.core.geometry import Geometry
from ich_node.core.instances import InstanceFacts
from ich_node.core.selection import Candidate, Selection
from ich_node.demo.ct_images import derived_uid
from ich_node.dicom.headers import instance_facts

Images = list[Dataset]
Study = Callable[[], Images]  # a table holds how a study is built: nothing is built before its test runs

CT, ENHANCED_CT, CAPTURE, SR, KEY_OBJECT, MR = (
    f"1.2.840.10008.5.1.4.1.1.{tail}" for tail in ("2", "2.1", "7", "88.33", "88.59", "4")
)
PLACE = ("ImagePositionPatient", "ImageOrientationPatient")
SILENT = {"body_part": None, "study_description": "", "description": "5 mm", "ProtocolName": ""}


def head(number: int = 2, **changes: Any) -> Images:
    """A plain head: 16 slices of 5 mm, all of one moment unless told otherwise."""
    plain = {"slices": 16, "spacing_mm": 5.0, "rows": 8, "columns": 8, "pixels": "empty"}
    return ct_series(**({"series_number": number, "AcquisitionTime": "120000"} | plain | changes))


def thin(number: int = 3, **changes: Any) -> Images:
    """The same 75 mm in slices of 2.5 mm."""
    return head(number, **({"slices": 31, "spacing_mm": 2.5, "description": "Head 2.5"} | changes))


def coronal(number: int, **changes: Any) -> Images:
    """Coronal reformats."""
    derived = {"orientation": "coronal", "image_type": ("DERIVED", "SECONDARY", "MPR")}
    return head(number, **({"slices": 10, "description": "Coronal"} | derived | changes))


def scout(number: int = 1, *, orientation: str = "coronal", **changes: Any) -> Images:
    """A localizer: one wide image."""
    localizer = {"image_type": ("ORIGINAL", "PRIMARY", "LOCALIZER"), "description": "Scout"}
    return head(number, **({"slices": 1, "orientation": orientation} | localizer | changes))


def sheet(number: int, **changes: Any) -> Images:
    """A page of text beside the images: nothing in it lies anywhere."""
    page = {"sop_class": CAPTURE, "image_type": ("DERIVED", "SECONDARY"), "description": "Dose Report"}
    return head(number, **({"slices": 1, "missing": (*PLACE, "PixelSpacing")} | page | changes))


def each(images: Images, **values: Callable[[int], Any]) -> Images:
    """Give every image a value of its own, by its place from foot to head."""
    for place, image in enumerate(images):
        for keyword, value in values.items():
            setattr(image, keyword, value(place))
    return images


def at(images: Images, places: Sequence[int], **values: Any) -> Images:
    """Change the images at these places only; a value of None leaves the attribute out."""
    for place in places:
        for keyword, value in values.items():
            if value is None:
                delattr(images[place], keyword)
            else:
                setattr(images[place], keyword, value)
    return images


def without(images: Images, *lost: int) -> Images:
    """Lose the images at these places."""
    return [image for place, image in enumerate(images) if place not in lost]


def again(images: Images, **changes: Any) -> Images:
    """The same images under new SOP Instance UIDs, as a second pass or a bad export makes them."""
    copies = deepcopy(images)
    for copy in copies:
        uid = UID(derived_uid("again", copy.SOPInstanceUID, *changes.items()))
        copy.SOPInstanceUID = copy.file_meta.MediaStorageSOPInstanceUID = uid
    return at(copies, range(len(copies)), **changes)


def lifted(images: Images, mm: float) -> Images:
    """Move images towards the head."""
    for image in images:
        x, y, z = image.ImagePositionPatient
        image.ImagePositionPatient = [x, y, round(float(z) + mm, 4)]
    return images


def clock(start_s: int, step_s: float = 1.0) -> Callable[[int], str]:
    """Tell the time of the acquisition by the place of an image, from noon on."""

    def told(place: int) -> str:
        minutes, seconds = divmod(start_s + step_s * place, 60)
        return f"12{int(minutes):02d}{seconds:09.6f}"

    return told


@cache
def facts_of(study: Study) -> tuple[InstanceFacts, ...]:
    """Read the headers of a study in an order in which nobody built it."""
    facts = [instance_facts(image) for image in study()]
    return tuple(random.Random(7).sample(facts, len(facts)))


def rearranged(facts: Sequence[InstanceFacts], chance: random.Random) -> list[InstanceFacts]:
    """Let the images arrive in another order, under other instance numbers."""
    arrived = chance.sample(facts, len(facts))
    return [
        replace(fact, instance_number=chance.choice((None, 1, place))) for place, fact in enumerate(arrived)
    ]


def told(selection: Selection) -> str:
    """Tell verdict and reason, then each candidate, in the words of the tables."""
    verdict = f"{selection.verdict} {selection.reason or ''}".strip()
    return " | ".join([verdict, *map(_candidate, selection.candidates)])


def _candidate(candidate: Candidate) -> str:
    part = candidate.key.removeprefix(candidate.series_uid)
    fate = " ".join(["read"] * candidate.chosen + [reason.value for reason in candidate.reasons])
    stack = f": {measures(candidate.geometry)}" if candidate.geometry else ""
    return f"{candidate.series_number}{part} {fate}{stack}"


def measures(geometry: Geometry) -> str:
    """Tell a stack in a few words, what is nothing left out: `30 x 5.00 axial, tilt 12.0, 1 gap`."""
    step = "varies" if geometry.slice_spacing_mm is None else f"{geometry.slice_spacing_mm:.2f}"
    size = f"{geometry.slices} x {step}" if geometry.slices > 1 else "1"
    told = [f"{size} {geometry.orientation}"]
    told += [f"tilt {geometry.tilt_deg:.1f}"] if round(geometry.tilt_deg, 1) else []
    told += [f"gaps {geometry.gaps}"] if geometry.gaps else []
    told += [f"duplicates {geometry.duplicates}"] if geometry.duplicates else []
    return ", ".join(told)
