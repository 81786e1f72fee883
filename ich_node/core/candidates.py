"""Which candidates a study holds: series, or the parts of one that are volumes by themselves. Pure."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ich_node.core.claims import is_reformat
from ich_node.core.geometry import Geometry, levels, measure, orientation_of, stack
from ich_node.core.instances import (
    CT_IMAGE_CLASSES,
    SAME_COSINE,
    SECONDARY_CAPTURE_CLASSES,
    InstanceFacts,
    is_near,
)
from ich_node.core.passes import passes_of
from ich_node.vocabulary import Reason

_SAME_SPACING_MM = 0.002  # a millimeter over the field: rounding, not another field of view
_LOCALIZER_WORDS = frozenset({"LOCALIZER", "SCOUT", "TOPOGRAM", "SURVIEW", "SCANOGRAM"})
_DERIVED_WORDS = (
    *("MPR", "REFORMAT", "RESAMPLED", "MIP", "MINIP", "MAXIMUM", "MINIMUM", "PROJECTION", "VOLREN", "VRT"),
    *("SSD", "3D", "PERFUSION", "SUBTRACT", "SCREEN", "DOSE", "REF_SURVIEW", "FUSED", "OVERLAY"),
)


Numbers = tuple[float, ...]


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
    kinds: dict[tuple[frozenset[Reason], str], list[InstanceFacts]] = defaultdict(list)
    for fact in series:
        kinds[(_fate(fact, rejected), fact.kernel)].append(fact)
    found = [
        (fate, number, instances)
        for (fate, _), kind in kinds.items()
        for plane in _planes_of(kind)
        for volume in _fields_of_view(plane)
        for number, instances in enumerate(passes_of(volume))
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


def _planes_of(facts: Sequence[InstanceFacts]) -> list[list[InstanceFacts]]:
    """Gather the images of one plane; one that tells none is of the only plane there is.

    On its own it would vanish from a series that looks whole without it.
    """
    alike = _representatives((fact.orientation for fact in facts), SAME_COSINE)
    told = set(alike.values()) - {None}
    only = told.pop() if len(told) == 1 else None
    planes: dict[Numbers | None, list[InstanceFacts]] = defaultdict(list)
    for fact in facts:
        planes[alike[fact.orientation] or only].append(fact)
    return list(planes.values())


def _representatives(
    values: Iterable[Numbers | None], tolerance: float
) -> dict[Numbers | None, Numbers | None]:
    """Map each value to the first that is like it, so that rounding does not split a series."""
    chosen: dict[Numbers | None, Numbers | None] = {None: None}
    for value in sorted({one for one in values if one is not None}):
        alike = (one for one in chosen.values() if one is not None and is_near(one, value, tolerance))
        chosen[value] = next(alike, value)
    return chosen


def grids_of(facts: Sequence[InstanceFacts]) -> list[list[InstanceFacts]]:
    """Gather the instances whose pixels are of one grid: rows, columns and spacing."""
    spacings = _representatives((fact.pixel_spacing for fact in facts), _SAME_SPACING_MM)
    grids: dict[tuple[object, ...], list[InstanceFacts]] = defaultdict(list)
    for fact in facts:
        grids[(fact.rows, fact.columns, spacings[fact.pixel_spacing])].append(fact)
    return list(grids.values())


def _fields_of_view(group: list[InstanceFacts]) -> list[list[InstanceFacts]]:
    """Split what was reconstructed in several grids, only where they lie in the same place.

    Where they do not, each is a part of one volume, which nobody may read as if it were the whole.
    """
    grids, orientation = grids_of(group), orientation_of(group)
    if len(grids) == 1 or orientation is None:
        return [group]
    grid_of = {fact.sop_instance_uid: number for number, grid in enumerate(grids) for fact in grid}
    mixed = (
        len({grid_of[one.sop_instance_uid] for one in level}) > 1
        for level in levels(stack(group, orientation))
    )
    return grids if any(mixed) else [group]


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
    if fact.image_type[:1] == ("ORIGINAL",):
        return False
    if is_reformat(fact.series_description):
        return True
    if fact.image_type[:1] != ("DERIVED",):
        return False
    averaged = fact.image_type[1:3] == ("PRIMARY", "AXIAL")
    return not (averaged or (fact.compression.lossy and fact.image_type[1:2] == ("PRIMARY",)))
