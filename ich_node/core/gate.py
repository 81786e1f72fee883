"""May a candidate replace the bundle that serves? Judged on the patients kept aside, one by one. Pure.

The rules: enough patients, and of either class; a usable answer of both bundles about each patient;
the candidate not worse in AUC, in sensitivity or specificity at its own low threshold, or in the
balanced accuracy of the location. Point estimates as exact fractions: equal is allowed, worse never.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from ich_node import vocabulary
from ich_node.vocabulary import Location

SMALLEST_CLASS_SHARE = Fraction(1, 5)  # of the patients needed, how many must bleed and how many must not


@dataclass(frozen=True, kw_only=True)
class Judgment:
    """What one bundle says of one patient: score 0 to 1, and locations given a hemorrhage."""

    score: float | None
    locations: Mapping[Location, float] | None = None

    @property
    def usable(self) -> bool:
        return self.score is not None and _in_range(self.score)

    @property
    def location(self) -> Location | None:
        """The likeliest location; None where the bundle gave no usable ones."""
        places = self.locations or {}
        if set(places) != set(Location) or not all(_in_range(share) for share in places.values()):
            return None
        return max(places, key=lambda place: places[place])


@dataclass(frozen=True, kw_only=True)
class KeptAside:
    """One patient who was never trained on: the readers' truth, and what both bundles say."""

    subject: str  # pseudonym
    present: bool
    location: Location | None
    champion: Judgment
    challenger: Judgment


@dataclass(frozen=True, kw_only=True)
class Performance:
    """How one bundle does, each 0 to 1; None where it cannot be computed."""

    auc: float | None = None
    sensitivity: float | None = None
    specificity: float | None = None
    location_balanced_accuracy: float | None = None


@dataclass(frozen=True, kw_only=True)
class GateVerdict:
    """Whether the candidate may be promoted; `reasons` are sentences, empty where it may.

    `lowered`: fewer patients were asked for than the node asks for as shipped.
    """

    allowed: bool
    reasons: tuple[str, ...]
    lowered: bool
    minimum_patients: int
    patients: int
    positives: int
    negatives: int
    champion: Performance
    challenger: Performance


@dataclass(frozen=True, kw_only=True)
class GateRules:
    """What the gate asks for: patients, the number asked for as shipped, each bundle's own low threshold."""

    minimum_patients: int
    shipped_minimum: int
    champion_low: float
    challenger_low: float


def judge(patients: Sequence[KeptAside], rules: GateRules) -> GateVerdict:
    """Compare the candidate (challenger) with the bundle that serves (champion)."""
    positives = sum(patient.present for patient in patients)
    reasons = _thin(patients, rules.minimum_patients) + _unusable(patients, rules)
    champion = challenger = Performance()
    if not _unusable(patients, rules):
        first = _Measures(patients, lambda patient: patient.champion, rules.champion_low)
        second = _Measures(patients, lambda patient: patient.challenger, rules.challenger_low)
        champion, challenger = first.performance, second.performance
        reasons += _worse(first, second)
    return GateVerdict(
        allowed=not reasons,
        reasons=tuple(reasons),
        lowered=rules.minimum_patients < rules.shipped_minimum,
        minimum_patients=rules.minimum_patients,
        patients=len(patients),
        positives=positives,
        negatives=len(patients) - positives,
        champion=champion,
        challenger=challenger,
    )


def smallest_class(minimum_patients: int) -> int:
    """How many patients of either class are needed: a fifth of all that are needed, one at least."""
    return max(1, math.ceil(SMALLEST_CLASS_SHARE * minimum_patients))


def _thin(patients: Sequence[KeptAside], minimum: int) -> list[str]:
    positives = sum(patient.present for patient in patients)
    least = smallest_class(minimum)
    found = {"patients": (len(patients), minimum), "patients with a hemorrhage": (positives, least)}
    found["patients without a hemorrhage"] = (len(patients) - positives, least)
    return [
        vocabulary.gate_thin_sentence(what, found=count, needed=needed)
        for what, (count, needed) in found.items()
        if count < needed
    ]


def _unusable(patients: Sequence[KeptAside], rules: GateRules) -> list[str]:
    reasons = []
    if len({patient.subject for patient in patients}) != len(patients):
        reasons.append(vocabulary.GATE_COUNTED_TWICE)
    if not all(_in_range(low) for low in (rules.champion_low, rules.challenger_low)):
        reasons.append(vocabulary.GATE_NO_THRESHOLD)
    judgments = {
        vocabulary.GATE_CHAMPION: [patient.champion for patient in patients],
        vocabulary.GATE_CHALLENGER: [patient.challenger for patient in patients],
    }
    for who, given in judgments.items():
        if missing := sum(not judgment.usable for judgment in given):
            reasons.append(vocabulary.gate_missing_sentence(who, missing))
        located = [
            judgment for patient, judgment in zip(patients, given, strict=True) if _is_located(patient)
        ]
        if missing := sum(judgment.location is None for judgment in located):
            reasons.append(vocabulary.gate_unplaced_sentence(who, missing))
    return reasons


def _is_located(patient: KeptAside) -> bool:
    """Whether the readers say where the patient bleeds, so that the location counts here."""
    return patient.present and patient.location is not None


def _worse(champion: "_Measures", challenger: "_Measures") -> list[str]:
    pairs = {
        "AUC": (champion.auc, challenger.auc),
        "sensitivity": (champion.sensitivity, challenger.sensitivity),
        "specificity": (champion.specificity, challenger.specificity),
        "balanced accuracy of the location": (champion.location, challenger.location),
    }
    return [
        vocabulary.gate_worse_sentence(what, champion=float(before), challenger=float(after))
        for what, (before, after) in pairs.items()
        if before is not None and after is not None and after < before
    ]


class _Measures:
    """The measures of one bundle as exact fractions, so that equal is equal."""

    def __init__(
        self, patients: Sequence[KeptAside], of: Callable[[KeptAside], Judgment], low: float
    ) -> None:
        ill = [_score(of(patient)) for patient in patients if patient.present]
        well = [_score(of(patient)) for patient in patients if not patient.present]
        self.auc = _auc(ill, well)
        self.sensitivity = _share(sum(score >= low for score in ill), len(ill))
        self.specificity = _share(sum(score < low for score in well), len(well))
        self.location = _balanced_accuracy(
            [(patient.location, of(patient).location) for patient in patients if _is_located(patient)]
        )

    @property
    def performance(self) -> Performance:
        auc, sensitivity, specificity, location = (
            None if measure is None else float(measure)
            for measure in (self.auc, self.sensitivity, self.specificity, self.location)
        )
        return Performance(
            auc=auc,
            sensitivity=sensitivity,
            specificity=specificity,
            location_balanced_accuracy=location,
        )


def _score(judgment: Judgment) -> float:
    assert judgment.score is not None  # the caller has refused what is not usable
    return judgment.score


def _share(part: int, whole: int) -> Fraction | None:
    return Fraction(part, whole) if whole else None


def _auc(ill: Sequence[float], well: Sequence[float]) -> Fraction | None:
    """The chance that a patient who bleeds scores above one who does not; ties count half (Mann-Whitney)."""
    halves = sum(2 * (score > other) + (score == other) for score in ill for other in well)
    return _share(halves, 2 * len(ill) * len(well))


def _balanced_accuracy(pairs: Sequence[tuple[Location | None, Location | None]]) -> Fraction | None:
    """The mean over the locations that occur of the share found there."""
    recalls = []
    for place in Location:
        answers = [answer for truth, answer in pairs if truth is place]
        if answers:
            recalls.append(Fraction(sum(answer is place for answer in answers), len(answers)))
    return sum(recalls, Fraction(0)) / len(recalls) if recalls else None


def _in_range(number: float) -> bool:
    return math.isfinite(number) and 0 <= number <= 1
