"""What is measured of scored slices or subjects, with intervals over subjects; None where undefined."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.manifest import Thresholds
from model.statistics import (
    Array,
    Interval,
    Labels,
    auc,
    bootstrap_intervals,
    brier,
    calibration_curve,
    exact_interval,
    expected_calibration_error,
    f1,
    predictive_values,
    sensitivity,
    specificity,
)

Figures = dict[str, Any]
AT_A_THRESHOLD = ("sensitivity", "specificity", "ppv", "npv", "f1")


@dataclass(frozen=True, kw_only=True)
class Cases:
    """Cases of known label: `labels`, `scores` and the number of each one's subject, all (N,)."""

    labels: Labels
    scores: Array
    people: Labels

    def at(self, rows: NDArray[np.intp]) -> "Cases":
        """Return the cases with these numbers."""
        return Cases(labels=self.labels[rows], scores=self.scores[rows], people=self.people[rows])


def with_intervals(found: Mapping[str, float | None], intervals: Mapping[str, Interval | None]) -> Figures:
    """Return each figure followed by its interval, `NAME_ci`."""
    both: Figures = {}
    for name, value in found.items():
        interval = intervals.get(name)
        both[name] = value
        both[f"{name}_ci"] = None if value is None or interval is None else list(interval)
    return both


def detection(cases: Cases, thresholds: Thresholds, prevalence: float) -> Figures:
    """Return the AUC and, at the low threshold and under `high` at the high one, what is called and missed.

    PPV and NPV are those of a place where `prevalence` of the cases bleed.
    """

    def low(rows: NDArray[np.intp]) -> dict[str, float | None]:
        drawn = cases.at(rows)
        return {"auc": auc(drawn.labels, drawn.scores), **_called(drawn, thresholds.low, prevalence)}

    def high(rows: NDArray[np.intp]) -> dict[str, float | None]:
        return _called(cases.at(rows), thresholds.high, prevalence)

    everyone = np.arange(len(cases.labels))
    return {
        **with_intervals(low(everyone), bootstrap_intervals(low, cases.people)),
        "counts": _counts(cases, thresholds.low),
        "high": {
            **with_intervals(high(everyone), bootstrap_intervals(high, cases.people)),
            "counts": _counts(cases, thresholds.high),
        },
    }


def _called(cases: Cases, threshold: float, prevalence: float) -> dict[str, float | None]:
    found = sensitivity(cases.labels, cases.scores, threshold)
    spared = specificity(cases.labels, cases.scores, threshold)
    ppv, npv = predictive_values(found, spared, prevalence)
    harmony = f1(cases.labels, cases.scores, threshold)
    return dict(zip(AT_A_THRESHOLD, (found, spared, ppv, npv, harmony), strict=True))


def _counts(cases: Cases, threshold: float) -> dict[str, int]:
    called, bleeds = cases.scores >= threshold, cases.labels == 1
    return {
        "true_positive": int((called & bleeds).sum()),
        "false_negative": int((~called & bleeds).sum()),
        "true_negative": int((~called & ~bleeds).sum()),
        "false_positive": int((called & ~bleeds).sum()),
    }


def exact_intervals(counts: Mapping[str, int]) -> Figures:
    """Return exact intervals of sensitivity and specificity; right where each case is a subject."""
    found, missed = counts["true_positive"], counts["false_negative"]
    spared, called = counts["true_negative"], counts["false_positive"]
    return {
        "sensitivity_exact_ci": _listed(exact_interval(found, found + missed)),
        "specificity_exact_ci": _listed(exact_interval(spared, spared + called)),
    }


def _listed(interval: Interval | None) -> list[float] | None:
    return None if interval is None else list(interval)


def calibration(cases: Cases) -> Figures:
    """Return Brier score and expected calibration error with intervals, and the bins of the curve."""

    def drawn(rows: NDArray[np.intp]) -> dict[str, float | None]:
        some = cases.at(rows)
        return {
            "brier": brier(some.labels, some.scores),
            "ece": expected_calibration_error(some.labels, some.scores),
        }

    everyone = np.arange(len(cases.labels))
    return {
        **with_intervals(drawn(everyone), bootstrap_intervals(drawn, cases.people)),
        "bins": [asdict(part) for part in calibration_curve(cases.labels, cases.scores)],
    }
