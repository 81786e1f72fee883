"""Which candidates come from one pass of the scanner: twins, of which at most one is read. Pure."""

from collections.abc import Sequence

from ich_node.core.candidates import Part

_SAME_PASS_S = 1.0  # reconstructions of one pass carry its time; clocks write it to a second or better


def acquisitions_of(parts: Sequence[Part]) -> list[int]:
    """Number the acquisition of each candidate: it joins the first one whose members are all its twins.

    What is no axial image is nobody's twin: a dose sheet must not tie two scans together.
    """
    members: list[list[Part]] = []
    numbers: list[int] = []
    for part in parts:
        homes = (
            number
            for number, others in enumerate(members)
            if _is_axial(part) and all(_is_axial(other) and are_twins(part, other) for other in others)
        )
        number = next(homes, len(members))
        if number == len(members):
            members.append([])
        members[number].append(part)
        numbers.append(number)
    return numbers


def _is_axial(part: Part) -> bool:
    return not part.fate and part.geometry is not None and part.geometry.orientation == "axial"


def are_twins(one: Part, other: Part) -> bool:
    """Say whether two candidates were reconstructed from one pass: same radiation, else overlapping times.

    Without either they count as twins if they lie in the same place: nothing is read twice by guess.
    """
    same_series = one.first.series_uid == other.first.series_uid
    if same_series and one.pass_number != other.pass_number:
        return False
    events, others = _events(one), _events(other)
    if events and others:
        return bool(events & others)
    times, other_times = _times(one), _times(other)
    if times and other_times:
        return min(times) <= max(other_times) + _SAME_PASS_S and min(other_times) <= max(times) + _SAME_PASS_S
    return _overlap(one, other)


def _events(part: Part) -> set[str]:
    return {fact.irradiation_event_uid for fact in part.instances} - {""}


def _times(part: Part) -> list[float]:
    return [fact.acquisition_time_s for fact in part.instances if fact.acquisition_time_s is not None]


def _heights(part: Part) -> list[float]:
    return [
        plane.position[2] for fact in part.instances for plane in fact.planes if plane.position is not None
    ]


def _overlap(one: Part, other: Part) -> bool:
    if one.first.frame_of_reference_uid != other.first.frame_of_reference_uid:
        return False
    heights, other_heights = _heights(one), _heights(other)
    if not heights or not other_heights:
        return True
    return min(heights) <= max(other_heights) and min(other_heights) <= max(heights)
