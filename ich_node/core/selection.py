"""Which candidate of each acquisition is the axial head CT to read, and why not the others. Pure.

Headers come first; the shell then shows candidates to the eye (`Look`) until nothing is left to look at.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ich_node.core.acquisitions import acquisitions_of
from ich_node.core.candidates import Part, parts_of
from ich_node.core.claims import Claim, body_claim
from ich_node.core.geometry import Geometry
from ich_node.core.grounds import Rules, decline_reasons, preference
from ich_node.core.instances import SECONDARY_CAPTURE_CLASSES
from ich_node.core.instances import InstanceFacts as InstanceFacts
from ich_node.core.site_rules import CountsAs, counted_as
from ich_node.vocabulary import Reason, Verdict


@dataclass(frozen=True, kw_only=True)
class Look:
    """What the pixels of a candidate showed: a brain, none, or None with the reasons why nobody can tell.

    `cut_off`: the scan lacks an end of the head, so that a twin that has it is preferred.
    """

    holds_brain: bool | None
    cut_off: bool = False
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A series, or the part of one that is a volume by itself; `reasons` stand in order of precedence."""

    key: str
    series_uid: str
    series_number: int | None
    description: str
    modality: str
    instances: tuple[str, ...]
    acquisition: int
    claim: Claim
    looked_at: bool
    reasons: tuple[Reason, ...]
    geometry: Geometry | None
    chosen: bool = False

    @property
    def is_readable(self) -> bool:
        return not self.reasons

    @property
    def is_twin(self) -> bool:
        """Whether it could be read, and another one of its acquisition is."""
        return self.reasons == (Reason.BETTER_CANDIDATE,)

    @property
    def is_ignored(self) -> bool:
        return bool(self.reasons) and self.reasons[0].verdict is Verdict.IGNORED


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The choice for one study; `best_first` lists keys by preference, `wanted` is the next to look at."""

    study_uid: str
    verdict: str
    reason: Reason | None
    candidates: tuple[Candidate, ...]
    best_first: tuple[str, ...]
    wanted: str | None

    @property
    def chosen(self) -> tuple[Candidate, ...]:
        return tuple(candidate for candidate in self.candidates if candidate.chosen)

    @property
    def best_declined(self) -> Candidate | None:
        """The best of the candidates that claim to be a head CT and cannot be judged."""
        by_key = {candidate.key: candidate for candidate in self.candidates}
        ranked = (by_key[key] for key in self.best_first)
        return next(
            (one for one in ranked if one.reasons and one.reasons[0].verdict is Verdict.DECLINED), None
        )

    @property
    def unread(self) -> tuple[Candidate, ...]:
        """Head scans beside the chosen ones that may hold what the chosen ones do not show.

        A series that is no plain head scan by its nature (contrast, bone kernel, out of scope, a few slices
        repeated) leaves no doubt about the scan that was read; one that is damaged or has holes does.
        """
        read = {candidate.acquisition for candidate in self.chosen}
        return tuple(
            candidate
            for candidate in self.candidates
            if candidate.acquisition not in read
            and candidate.claim is Claim.HEAD
            and candidate.reasons
            and candidate.reasons[0] in _LEAVES_DOUBT
        )


_LEAVES_DOUBT = frozenset(
    {
        Reason.TOO_LARGE,
        Reason.CONFLICT,
        Reason.UNDECODABLE,
        Reason.NOT_HU,
        Reason.LOSSY,
        Reason.GEOMETRY,
        Reason.INCOMPLETE,
    }
)


@dataclass(frozen=True, kw_only=True)
class _Scene:
    """What all candidates of a study share while they are judged."""

    rules: Rules
    looks: Mapping[str, Look]
    conflicting: frozenset[str]
    two_patients: bool


def choose(
    facts: Sequence[InstanceFacts], rules: Rules | None = None, looks: Mapping[str, Look] | None = None
) -> Selection:
    """Choose at most one candidate of each acquisition of one study, with reasons for every other.

    Without `looks` the choice rests on headers alone, and candidates that claim nothing count as readable
    until their picture is looked at. Order of `facts` never matters. Raises ValueError without facts.
    """
    rules = rules or Rules()
    scene = _Scene(
        rules=rules,
        looks=looks or {},
        conflicting=_conflicting(facts),
        two_patients=len({fact.patient_key for fact in facts if fact.patient_key}) > 1,
    )
    parts = parts_of(_without_repeats(facts))
    numbers = acquisitions_of(parts)
    judged = [_judge(part, number, scene) for part, number in zip(parts, numbers, strict=True)]
    widest = max((part.geometry.span_mm for part in parts if part.geometry), default=0.0)
    ranks = {part.key: preference(part, widest_mm=widest, rules=rules) for part in parts}
    by_rank = sorted(judged, key=lambda one: (_is_cut_off(scene.looks.get(one.key)), ranks[one.key]))
    return _settle(facts[0].study_uid if facts else _nothing(), judged, by_rank)


def _is_cut_off(look: Look | None) -> bool:
    return look is not None and look.cut_off


def _nothing() -> str:
    raise ValueError("a study without instances has no series to choose from")


def _without_repeats(facts: Sequence[InstanceFacts]) -> list[InstanceFacts]:
    """Keep one of each SOP Instance UID; the same one whatever the order of arrival."""
    first: dict[str, InstanceFacts] = {}
    for fact in sorted(facts, key=lambda one: (one.sop_instance_uid, one.content_key, one.series_uid)):
        first.setdefault(fact.sop_instance_uid, fact)
    return list(first.values())


def _conflicting(facts: Sequence[InstanceFacts]) -> frozenset[str]:
    contents: dict[str, set[tuple[str, str]]] = {}
    for fact in facts:
        contents.setdefault(fact.sop_instance_uid, set()).add((fact.series_uid, fact.content_key))
    return frozenset(uid for uid, kinds in contents.items() if len(kinds) > 1)


def _judge(part: Part, acquisition: int, scene: _Scene) -> Candidate:
    first = part.first
    claim = _claim(part, scene.rules)
    look = scene.looks.get(part.key)
    reasons = _ignore_reasons(part, claim, look)
    if CountsAs.DERIVED in counted_as(first, scene.rules.series):
        reasons.add(Reason.DERIVED)
    if not any(reason.verdict is Verdict.IGNORED for reason in reasons):
        reasons |= decline_reasons(part, scene.rules)
        reasons |= set(look.reasons) if look else set()
        if scene.two_patients or any(one.sop_instance_uid in scene.conflicting for one in part.instances):
            reasons.add(Reason.CONFLICT)
    return Candidate(
        key=part.key,
        series_uid=first.series_uid,
        series_number=first.series_number,
        description=first.series_description,
        modality=first.modality,
        instances=tuple(one.sop_instance_uid for one in part.instances),
        acquisition=acquisition,
        claim=claim,
        looked_at=look is not None,
        reasons=tuple(sorted(reasons, key=lambda reason: reason.rank)),
        geometry=part.geometry,
    )


def _claim(part: Part, rules: Rules) -> Claim:
    """Take the site's word before that of the header."""
    first = part.first
    site = counted_as(first, rules.series)
    if CountsAs.OTHER in site:
        return Claim.OTHER
    if CountsAs.HEAD in site:
        return Claim.HEAD
    words = f"{first.series_description} {first.protocol}"
    return body_claim(words, first.study_description, body_part=first.body_part)


def _ignore_reasons(part: Part, claim: Claim, look: Look | None) -> set[Reason]:
    reasons = set(part.fate)
    if Reason.NOT_CT in reasons or part.first.sop_class_uid in SECONDARY_CAPTURE_CLASSES:
        return reasons  # planes and words of a capture are those of what it shows
    if part.geometry is not None and part.geometry.orientation != "axial":
        reasons.add(Reason.NOT_AXIAL)
    if claim is Claim.OTHER or (claim is Claim.SILENT and look is not None and not look.holds_brain):
        reasons.add(Reason.NOT_HEAD)
    if claim is Claim.HEAD and look is not None and look.holds_brain is False:
        reasons.add(Reason.NO_BRAIN)
    return reasons


def _settle(study_uid: str, judged: Sequence[Candidate], by_rank: Sequence[Candidate]) -> Selection:
    winners: dict[int, str] = {}
    for candidate in by_rank:
        if candidate.is_readable:
            winners.setdefault(candidate.acquisition, candidate.key)
    final = tuple(_place(candidate, winners) for candidate in judged)
    best = [next(one for one in final if one.key == candidate.key) for candidate in by_rank]
    verdict, reason = _verdict(best)
    return Selection(
        study_uid=study_uid,
        verdict=verdict,
        reason=reason,
        candidates=final,
        best_first=tuple(candidate.key for candidate in best),
        wanted=_wanted(best),
    )


def _place(candidate: Candidate, winners: Mapping[int, str]) -> Candidate:
    if not candidate.is_readable:
        return candidate
    if winners[candidate.acquisition] == candidate.key:
        return replace(candidate, chosen=True)
    return replace(candidate, reasons=(Reason.BETTER_CANDIDATE,))


def _verdict(best: Sequence[Candidate]) -> tuple[str, Reason | None]:
    if any(candidate.chosen for candidate in best):
        return "read", None
    for candidate in best:
        if candidate.reasons[0].verdict is Verdict.DECLINED:
            return Verdict.DECLINED.value, candidate.reasons[0]
    nearest = max(best, key=lambda candidate: candidate.reasons[0].rank)
    return Verdict.IGNORED.value, nearest.reasons[0]


def _wanted(best: Sequence[Candidate]) -> str | None:
    """Name the next candidate whose picture could change the choice: a winner, or any if there is none."""
    winners = [candidate for candidate in best if candidate.chosen]
    open_ones = winners or [candidate for candidate in best if not candidate.is_ignored]
    return next((candidate.key for candidate in open_ones if not candidate.looked_at), None)
