"""The evidence about a candidate: both bundles' answers about each patient kept aside, as JSON in its row."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ich_node.core.gate import GateRules, GateVerdict, Judgment, KeptAside, judge
from ich_node.errors import RetrainingFailed
from ich_node.settings.sections import GATE_MINIMUM_PATIENTS
from ich_node.vocabulary import Location


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The comparison of one candidate with one champion; thresholds are the low ones on the study score."""

    champion_sha256: str
    champion_low: float
    challenger_low: float
    patients: tuple[KeptAside, ...]

    def verdict(self, minimum_patients: int) -> GateVerdict:
        """Judge anew, by the number of patients that is asked for now."""
        rules = GateRules(
            minimum_patients=minimum_patients,
            shipped_minimum=GATE_MINIMUM_PATIENTS,
            champion_low=self.champion_low,
            challenger_low=self.challenger_low,
        )
        return judge(self.patients, rules)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def evidence_of(metrics: Mapping[str, Any]) -> Evidence | None:
    """The evidence in the metrics of a bundle; None where it was never compared. Raises RetrainingFailed."""
    kept = metrics.get("evidence")
    if kept is None:
        return None
    try:
        return Evidence(
            champion_sha256=kept["champion_sha256"],
            champion_low=kept["champion_low"],
            challenger_low=kept["challenger_low"],
            patients=tuple(_patient(patient) for patient in kept["patients"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RetrainingFailed("the evidence kept with this bundle cannot be read; retrain") from error


def gate_json(verdict: GateVerdict) -> dict[str, Any]:
    """A verdict as it is kept with the bundle."""
    return asdict(verdict) | {"reasons": list(verdict.reasons)}


def _patient(kept: Mapping[str, Any]) -> KeptAside:
    return KeptAside(
        subject=kept["subject"],
        present=kept["present"],
        location=_location(kept["location"]),
        champion=_judgment(kept["champion"]),
        challenger=_judgment(kept["challenger"]),
    )


def _judgment(kept: Mapping[str, Any]) -> Judgment:
    locations = kept["locations"]
    return Judgment(
        score=kept["score"],
        locations=None
        if locations is None
        else {Location(place): share for place, share in locations.items()},
    )


def _location(name: str | None) -> Location | None:
    return None if name is None else Location(name)
