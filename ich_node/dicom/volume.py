"""A volume in HU out of the instances of one candidate: ordered, upright, slabs of about 5 mm. No disk."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ich_node.core.candidates import grids_of
from ich_node.core.conclusion import Extent
from ich_node.core.geometry import Slice, levels, stack
from ich_node.core.grounds import Rules
from ich_node.core.instances import InstanceFacts, Orientation
from ich_node.dicom.codecs import decode
from ich_node.dicom.frames import frames_of
from ich_node.dicom.headers import instance_facts
from ich_node.dicom.hounsfield import is_plausible, to_hu
from ich_node.dicom.values import quietly
from ich_node.errors import CannotJudge
from ich_node.vocabulary import NOTE_AVERAGED, NOTE_LOSSY, NOTE_NO_AGE, NOTE_TRUSTED, Reason
from model.volume import Volume

Image = NDArray[np.float32]
Load = Callable[[str], Dataset]  # SOP Instance UID to its data set with pixels

SLAB_MM = 5.0
_THICK_MM = 3.5  # slices of this thickness are read one by one


@dataclass(frozen=True, kw_only=True)
class AssembledSeries:
    """One candidate as the network reads it; one SOP Instance UID a slice of `volume`, foot to head."""

    volume: Volume
    sop_instance_uids: tuple[str, ...]
    extent: Extent
    notes: tuple[str, ...]


def assemble(
    datasets: Sequence[Dataset], *, rules: Rules | None = None, trust_headers: bool = False
) -> AssembledSeries:
    """Assemble data sets that are in memory; see `assemble_stack`."""
    facts = [instance_facts(dataset) for dataset in datasets]
    by_uid = {fact.sop_instance_uid: dataset for fact, dataset in zip(facts, datasets, strict=True)}
    return assemble_stack(facts, by_uid.__getitem__, rules=rules, trust_headers=trust_headers)


def assemble_stack(
    facts: Sequence[InstanceFacts],
    load: Load,
    *,
    rules: Rules | None = None,
    trust_headers: bool = False,
) -> AssembledSeries:
    """Assemble the instances of one candidate, one image in memory at a time.

    Slices are ordered by position along the normal and turned upright by their cosines; thin ones are
    averaged to slabs of about 5 mm, each named by the instance nearest its center. `trust_headers` skips the
    check of HU.
    Raises CannotJudge: TOO_LARGE, UNDECODABLE, NOT_HU, or GEOMETRY where positions are missing or are not one
    a frame, grids are mixed, or two images of one position differ.
    """
    rules = rules or Rules()
    facts = sorted(facts, key=lambda fact: fact.sop_instance_uid)
    orientation = facts[0].orientation if facts else None
    unplaced = any(plane.position is None for fact in facts for plane in fact.planes)
    counted = all(len(fact.planes) == fact.frames for fact in facts)
    if orientation is None or unplaced or not counted or len(grids_of(facts)) > 1:
        raise CannotJudge(Reason.GEOMETRY)
    reader = _Reader(facts, load, rules)
    places = levels(stack(facts, orientation))
    slabs = _slabs([place[0] for place in places], facts)
    by_first = {place[0]: place for place in places}
    images = [
        _mean(_upright(_one_of(by_first[member], reader), orientation) for member in slab) for slab in slabs
    ]
    hu = np.stack(images)
    if not trust_headers and not is_plausible(hu):
        raise CannotJudge(Reason.NOT_HU)
    return _assembled(facts, slabs, hu, trust_headers=trust_headers)


class _Reader:
    """Hands out the HU of one frame, and keeps only the instance that it decoded last."""

    def __init__(self, facts: Sequence[InstanceFacts], load: Load, rules: Rules) -> None:
        self._facts = {fact.sop_instance_uid: fact for fact in facts}
        self._load = load
        self._limits = rules.limits
        self._held: tuple[str, list[Image]] = ("", [])

    def hu(self, one: Slice) -> Image:
        uid = one.sop_instance_uid
        if self._held[0] != uid:
            dataset = self._load(uid)
            stored = decode(dataset, self._facts[uid], self._limits)
            with quietly():
                frames = frames_of(dataset)
                frames = frames if len(frames) == len(stored) else frames[:1] * len(stored)
                images = [to_hu(values, dataset, frame) for values, frame in zip(stored, frames, strict=True)]
            self._held = (uid, images)
        return self._held[1][one.frame]


def _one_of(place: Sequence[Slice], reader: _Reader) -> Image:
    """Read the image of a place; repeated ones must be the same, or nobody knows which one is true."""
    image = reader.hu(place[0])
    for repeated in place[1:]:
        if not np.array_equal(image, reader.hu(repeated)):
            raise CannotJudge(Reason.GEOMETRY)
    return image


def _upright(image: Image, orientation: Orientation) -> Image:
    """Turn an axial image so that columns run to the patient's left and rows to the back, by its cosines."""
    row, column = orientation[:3], orientation[3:]
    if _is_turned(orientation):
        image, row, column = image.T, column, row
    image = image[:, ::-1] if row[0] < 0 else image
    return image[::-1] if column[1] < 0 else image


def _is_turned(orientation: Orientation) -> bool:
    return abs(orientation[1]) > abs(orientation[0])


def _mean(images: Iterator[Image]) -> Image:
    first, total, count = next(images), np.zeros(()), 1
    for image in images:  # most slabs are one thick slice, which is not worth a sum
        total, count = total + image, count + 1
    return np.ascontiguousarray(first if count == 1 else (total + first) / count, dtype=np.float32)


def _slabs(slices: Sequence[Slice], facts: Sequence[InstanceFacts]) -> list[list[Slice]]:
    """Gather neighbouring thin slices to slabs of about 5 mm; a thin rest joins the slab before it."""
    thickness = {fact.sop_instance_uid: fact.slice_thickness_mm or 0.0 for fact in facts}
    slabs: list[list[Slice]] = []
    for one in slices:
        thin = thickness[one.sop_instance_uid] < _THICK_MM
        if slabs and thin and thickness[slabs[-1][0].sop_instance_uid] < _THICK_MM:
            last = slabs[-1]
            step_mm = one.distance_mm - last[-1].distance_mm
            if one.distance_mm - last[0].distance_mm + step_mm / 2 < SLAB_MM:
                last.append(one)
                continue
        slabs.append([one])
    if len(slabs) > 1 and 2 * len(slabs[-1]) < len(slabs[-2]):
        slabs[-2:] = [slabs[-2] + slabs[-1]]
    return slabs


def _assembled(
    facts: Sequence[InstanceFacts], slabs: Sequence[Sequence[Slice]], hu: Image, *, trust_headers: bool
) -> AssembledSeries:
    first = facts[0]
    row_mm, column_mm = first.pixel_spacing or (0.0, 0.0)
    turned = first.orientation is not None and _is_turned(first.orientation)
    centers = np.array([np.mean([one.distance_mm for one in slab]) for slab in slabs], dtype=np.float64)
    nearest = [
        min(slab, key=lambda one: abs(one.distance_mm - center))
        for slab, center in zip(slabs, centers, strict=True)
    ]
    try:
        spacing_mm = (column_mm, row_mm) if turned else (row_mm, column_mm)
        volume = Volume(hu=hu, positions_mm=centers, spacing_mm=spacing_mm)
    except ValueError as fault:
        raise CannotJudge(Reason.GEOMETRY) from fault
    return AssembledSeries(
        volume=volume,
        sop_instance_uids=tuple(one.sop_instance_uid for one in nearest),
        extent=_extent(facts, [one for slab in slabs for one in slab]),
        notes=_notes(facts, averaged=any(len(slab) > 1 for slab in slabs), trusted=trust_headers),
    )


def _extent(facts: Sequence[InstanceFacts], slices: Sequence[Slice]) -> Extent:
    first = facts[0]
    return Extent(
        series_uid=first.series_uid,
        series_number="" if first.series_number is None else str(first.series_number),
        series_description=first.series_description,
        slices=len(slices),
        covered_mm=slices[-1].distance_mm - slices[0].distance_mm,
        first_mm=slices[0].distance_mm,
        last_mm=slices[-1].distance_mm,
        image_numbers={
            fact.sop_instance_uid: str(fact.instance_number)
            for fact in facts
            if fact.instance_number is not None
        },
    )


def _notes(facts: Sequence[InstanceFacts], *, averaged: bool, trusted: bool) -> tuple[str, ...]:
    told = {
        NOTE_AVERAGED: averaged,
        NOTE_LOSSY: any(fact.compression.lossy for fact in facts),
        NOTE_NO_AGE: all(fact.patient_age_years is None for fact in facts),
        NOTE_TRUSTED: trusted,
    }
    return tuple(note for note, holds in told.items() if holds)
