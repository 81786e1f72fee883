"""What speaks against reading a candidate, and which of several is preferred; by headers. Pure."""

from dataclasses import dataclass

from ich_node.core.candidates import Part, grids_of
from ich_node.core.claims import has_contrast, is_sharp
from ich_node.core.instances import InstanceFacts
from ich_node.core.site_rules import CountsAs, SeriesRule, counted_as
from ich_node.vocabulary import Reason

# transfer syntaxes that cannot be lossless (PS3.5 A.4.1): JPEG baseline, extended, old progressive ones
_ALWAYS_LOSSY = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 53, 55))
_TOUCHING_MM = 0.01
_COVERAGE_STEP_MM = 15.0  # twins whose coverage differs by less count as equal


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How large an image may be; checked before anything is decoded or allocated."""

    rows: int = 2048
    columns: int = 2048
    frames: int = 4096
    bits: int = 16
    instance_bytes: int = 1 << 30
    candidate_bytes: int = 4 << 30


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a site asks of a series."""

    minimum_age_years: float = 18.0
    minimum_slices: int = 8
    minimum_span_mm: float = 60.0
    preferred_thickness_mm: float = 5.0
    maximum_ratio: float = 10.0
    limits: Limits = Limits()
    series: tuple[SeriesRule, ...] = ()


def decline_reasons(part: Part, rules: Rules) -> set[Reason]:
    """Collect the reasons why a candidate that may be a head CT cannot be judged."""
    first = part.first
    ages = [fact.patient_age_years for fact in part.instances if fact.patient_age_years is not None]
    agents = {fact.contrast_agent for fact in part.instances}
    site = counted_as(first, rules.series)
    found = {
        Reason.TOO_LARGE: is_too_large(part, rules.limits),
        Reason.CONTRAST: CountsAs.CONTRAST in site
        or any(has_contrast(agent, first.series_description) for agent in agents),
        Reason.BONE_KERNEL: CountsAs.BONE in site or is_sharp(first.kernel, first.series_description),
        Reason.OUT_OF_SCOPE: bool(ages) and min(ages) < rules.minimum_age_years,
        Reason.NOT_HU: first.samples_per_pixel != 1,
        Reason.LOSSY: any(is_too_lossy(fact, rules.maximum_ratio) for fact in part.instances),
        Reason.GEOMETRY: _is_contradictory(part),
        Reason.TOO_FEW_SLICES: _is_short(part, rules),
        Reason.INCOMPLETE: part.geometry is not None and part.geometry.gaps > 0,
    }
    return {reason for reason, holds in found.items() if holds}


def exceeds(fact: InstanceFacts, limits: Limits) -> bool:
    """Say whether one instance is larger than the limits allow, by what its header announces."""
    size = fact.rows * fact.columns * fact.frames * fact.samples_per_pixel * -(-fact.bits_allocated // 8)
    return (
        fact.rows > limits.rows
        or fact.columns > limits.columns
        or fact.frames > limits.frames
        or fact.bits_allocated > limits.bits
        or size > limits.instance_bytes
    )


def is_too_large(part: Part, limits: Limits) -> bool:
    """Say whether an instance, or all of a candidate together, exceeds the limits."""
    total = sum(fact.rows * fact.columns * fact.frames * 2 for fact in part.instances)
    return total > limits.candidate_bytes or any(exceeds(fact, limits) for fact in part.instances)


def is_too_lossy(fact: InstanceFacts, maximum_ratio: float) -> bool:
    """Say whether compression lost too much: 8-bit JPEG, or a ratio above the limit."""
    compression = fact.compression
    always = compression.transfer_syntax_uid in _ALWAYS_LOSSY
    if always and fact.bits_stored <= 8:
        return True
    return (
        (always or compression.lossy) and compression.ratio is not None and compression.ratio > maximum_ratio
    )


def _is_contradictory(part: Part) -> bool:
    planes = [plane for fact in part.instances for plane in fact.planes]
    located = all(plane.position is not None and plane.orientation is not None for plane in planes)
    spaced = all(fact.pixel_spacing is not None for fact in part.instances)
    counted = all(len(fact.planes) == fact.frames for fact in part.instances)
    if part.geometry is None or not (located and spaced and counted):
        return True
    return not part.geometry.straight or len(grids_of(part.instances)) > 1


def _is_short(part: Part, rules: Rules) -> bool:
    if part.geometry is None:
        return sum(fact.frames for fact in part.instances) < rules.minimum_slices
    span_mm = part.geometry.span_mm + _TOUCHING_MM
    return part.geometry.slices < rules.minimum_slices or span_mm < rules.minimum_span_mm


def preference(part: Part, *, widest_mm: float, rules: Rules) -> tuple[object, ...]:
    """Build the sorting key of candidates: the smallest is preferred, and no two are equal.

    Whole before partial, what the site prefers, original before derived, soft before sharp kernel, native
    before enhanced, then more coverage than 15 mm, thickness near the one that the network knows, and a fixed
    tie-break.
    """
    first, geometry = part.first, part.geometry
    span_mm = geometry.span_mm if geometry else 0.0
    thickness_mm = first.slice_thickness_mm or (geometry.slice_spacing_mm if geometry else None)
    number = first.series_number
    return (
        bool(part.fate),
        _is_short(part, rules),
        CountsAs.PREFERRED not in counted_as(first, rules.series),
        first.image_type[:1] == ("DERIVED",),
        is_sharp(first.kernel, first.series_description),
        has_contrast(first.contrast_agent, first.series_description),
        int((widest_mm - span_mm) // _COVERAGE_STEP_MM),
        abs((thickness_mm or 0.0) - rules.preferred_thickness_mm),
        number is None,
        number or 0,
        part.key,
    )
