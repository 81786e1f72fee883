"""Which candidates a study holds: series, or the parts of one that are volumes by themselves. Pure."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ich_node.core.geometry import Geometry, levels, measure, stack
from ich_node.core.instances import (
    CT_IMAGE_CLASSES,
    SECONDARY_CAPTURE_CLASSES,
    InstanceFacts,
    Orientation,
)
from ich_node.vocabulary import Reason

_SAME_COSINE = 0.01  # about half a degree: rounding, not another plane
_LOCALIZER_WORDS = frozenset({"LOCALIZER", "SCOUT", "TOPOGRAM", "SURVIEW", "SCANOGRAM"})
_DERIVED_WORDS = (
    *("MPR", "REFORMAT", "RESAMPLED", "MIP", "MINIP", "MAXIMUM", "MINIMUM", "PROJECTION", "VOLREN", "VRT"),
    *("SSD", "3D", "PERFUSION", "SUBTRACT", "SCREEN", "DOSE", "REF_SURVIEW", "FUSED", "OVERLAY"),
)


@dataclass(frozen=True, kw_only=True)
class Part:
    """The instances of one candidate: one series, one orientation, one kernel, one pass.

    `fate` holds what every one of them is ignored for; `pass_number` counts passes within the series.
    """

    key: str
    instances: tuple[InstanceFacts, ...]
    fate: frozenset[Reason]
    pass_number: int
    geometry: Geometry | None

    @property
    def first(self) -> InstanceFacts:
        """The instance that speaks for what all share."""
        return self.instances[0]


def parts_of(facts: Iterable[InstanceFacts]) -> list[Part]:
    """Split the instances of one study into candidates, in a fixed order that arrival does not change."""
    ordered = sorted(facts, key=_fixed_order)
    rejected = {uid for fact in ordered for uid in fact.rejected_instances}
    by_series: dict[str, list[InstanceFacts]] = defaultdict(list)
    for fact in ordered:
        by_series[fact.series_uid].append(fact)
    series = sorted(by_series.values(), key=lambda ours: (_number(ours[0].series_number), ours[0].series_uid))
    return [part for ours in series for part in _split(ours, rejected)]


def _fixed_order(fact: InstanceFacts) -> tuple[str, str]:
    return (fact.sop_instance_uid, fact.content_key)


def _number(value: int | None) -> float:
    return math.inf if value is None else value


def _split(series: Sequence[InstanceFacts], rejected: set[str]) -> list[Part]:
    planes = _representatives(fact.orientation for fact in series)
    groups: dict[tuple[object, ...], list[InstanceFacts]] = defaultdict(list)
    for fact in series:
        spacing = fact.pixel_spacing and tuple(round(length, 3) for length in fact.pixel_spacing)
        likeness = (fact.kernel, fact.rows, fact.columns, spacing, planes.get(fact.orientation))
        groups[(_fate(fact, rejected), *likeness)].append(fact)
    found = [
        (_fate(group[0], rejected), number, instances)
        for group in groups.values()
        for number, instances in enumerate(passes_of(group))
    ]
    found.sort(key=lambda part: (-len(part[2]), part[2][0].sop_instance_uid))
    return [
        Part(
            key=instances[0].series_uid + (f"#{index}" if len(found) > 1 else ""),
            instances=tuple(instances),
            fate=fate,
            pass_number=number,
            geometry=measure(instances),
        )
        for index, (fate, number, instances) in enumerate(found, start=1)
    ]


def _representatives(orientations: Iterable[Orientation | None]) -> dict[Orientation | None, Orientation]:
    """Map each orientation to the first that is like it, so that rounding does not split a series."""
    chosen: dict[Orientation | None, Orientation] = {}
    for orientation in sorted({one for one in orientations if one is not None}):
        alike = (
            one
            for one in chosen.values()
            if all(abs(a - b) < _SAME_COSINE for a, b in zip(one, orientation, strict=True))
        )
        chosen[orientation] = next(alike, orientation)
    return chosen


def _fate(fact: InstanceFacts, rejected: set[str]) -> frozenset[Reason]:
    reasons: set[Reason] = set()
    image = fact.sop_class_uid in CT_IMAGE_CLASSES or fact.sop_class_uid in SECONDARY_CAPTURE_CLASSES
    if not image or fact.modality not in ("CT", ""):
        reasons.add(Reason.NOT_CT)
    elif fact.sop_class_uid in SECONDARY_CAPTURE_CLASSES:
        reasons.add(Reason.DERIVED if fact.modality == "CT" else Reason.NOT_CT)
    elif _is_localizer(fact.image_type):
        reasons.add(Reason.LOCALIZER)
    elif is_derived(fact):
        reasons.add(Reason.DERIVED)
    if fact.own_object:
        reasons.add(Reason.OWN_OBJECT)
    if fact.sop_instance_uid in rejected:
        reasons.add(Reason.REJECTED)
    return frozenset(reasons)


def _is_localizer(image_type: Sequence[str]) -> bool:
    return any(value in _LOCALIZER_WORDS for value in image_type[2:])


def is_derived(fact: InstanceFacts) -> bool:
    """Say whether an image was computed from others.

    Lossy compression alone makes the first value DERIVED too (PS3.3 C.7.6.1.1.2), and scanners call averaged
    axial slices so; both keep PRIMARY and say nothing of a reformat.
    """
    if any(word in value for value in fact.image_type[2:] for word in _DERIVED_WORDS):
        return True
    if fact.image_type[:1] != ("DERIVED",):
        return False
    averaged = fact.image_type[1:3] == ("PRIMARY", "AXIAL")
    return not (averaged or (fact.compression.lossy and fact.image_type[1:2] == ("PRIMARY",)))


def passes_of(group: Sequence[InstanceFacts]) -> list[list[InstanceFacts]]:
    """Split one stack into passes of the scanner, only where positions collide.

    AcquisitionNumber, then time, tell passes apart; where a maker counts acquisitions within one volume none
    of its slices collide, and it stays whole. What still collides are duplicates, judged by their pixels.
    """
    orientation = group[0].orientation
    if orientation is None or not _collide(group, orientation):
        return [list(group)]
    shots: dict[tuple[float, float], list[InstanceFacts]] = defaultdict(list)
    for fact in group:
        shots[(_number(fact.acquisition_number), _time(fact))].append(fact)
    passes: list[list[InstanceFacts]] = []
    for shot in sorted(shots):
        free = (one for one in passes if not _collide_between(one, shots[shot], orientation))
        home = next(free, None)
        if home is None:
            passes.append(list(shots[shot]))
        else:
            home.extend(shots[shot])
    return [sorted(one, key=_fixed_order) for one in passes]


def _time(fact: InstanceFacts) -> float:
    return math.inf if fact.acquisition_time_s is None else fact.acquisition_time_s


def _collide(facts: Sequence[InstanceFacts], orientation: Orientation) -> bool:
    return any(len(level) > 1 for level in levels(stack(facts, orientation)))


def _collide_between(one: list[InstanceFacts], other: list[InstanceFacts], orientation: Orientation) -> bool:
    ours = {fact.sop_instance_uid for fact in one}
    together = levels(stack([*one, *other], orientation))
    return any(len({slice_.sop_instance_uid in ours for slice_ in level}) > 1 for level in together)
