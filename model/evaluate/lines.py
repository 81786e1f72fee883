"""The figures of a summary as lines of a table, for the page and for the model card alike."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

NOT_MEASURED = "not measured"
LEVELS = {
    "slice": ("Slices", "slice"),
    "subject": ("Subjects", "study"),
}  # summary key: heading, thresholds' key


@dataclass(frozen=True, kw_only=True)
class Line:
    """One figure: what it is of (`group`), its name, and its value with its interval, in words."""

    group: str
    name: str
    value: str


def lines(summary: Mapping[str, Any]) -> list[Line]:
    """Return every figure of a summary with its 95 % interval."""
    found = [line for level in LEVELS for line in _detection(summary, level)]
    return [*found, *_calibration(summary), *_location(summary), *_heat_map(summary)]


def with_interval(value: float | None, interval: list[float] | None) -> str:
    """Return `0.962 (0.914 to 0.990)`, without what is not known."""
    if value is None:
        return NOT_MEASURED
    return f"{value:.3f}" if interval is None else f"{value:.3f} ({interval[0]:.3f} to {interval[1]:.3f})"


def _detection(summary: Mapping[str, Any], level: str) -> Iterator[Line]:
    group, key = LEVELS[level]
    figures, thresholds = summary[level], summary["thresholds"][key]
    yield Line(group=group, name="AUC", value=with_interval(figures["auc"], figures["auc_ci"]))
    for where, called in (("low", figures), ("high", figures.get("high", {}))):
        at = f"{where} threshold, {thresholds[where]:.3f}"
        for name, text in _names(summary).items():
            value = with_interval(called.get(name), called.get(f"{name}_ci"))
            yield Line(group=group, name=f"{text} ({at})", value=value)
    for name in ("sensitivity", "specificity"):
        if (exact := figures.get(f"{name}_exact_ci")) is not None:
            text = f"{name.capitalize()} (low threshold), exact interval"
            yield Line(group=group, name=text, value=with_interval(figures[name], exact))


def _names(summary: Mapping[str, Any]) -> dict[str, str]:
    stated = summary.get("prevalence", {}).get("stated")
    place = "" if stated is None else f" where {stated:.0%} bleed"
    return {
        "sensitivity": "Sensitivity",
        "specificity": "Specificity",
        "ppv": f"PPV{place}",
        "npv": f"NPV{place}",
        "f1": "F1",
    }


def _calibration(summary: Mapping[str, Any]) -> Iterator[Line]:
    of_slices = summary["calibration"]
    for group, figures in (("Slices", of_slices), ("Subjects", of_slices.get("subject", {}))):
        for name, text in (("brier", "Brier score"), ("ece", "Expected calibration error")):
            value = with_interval(figures.get(name), figures.get(f"{name}_ci"))
            yield Line(group=group, name=text, value=value)


def _location(summary: Mapping[str, Any]) -> Iterator[Line]:
    found = summary["location"]
    if found is None:
        yield Line(group="Location", name="Balanced accuracy", value=NOT_MEASURED)
        return
    group = f"Location ({found['subjects']} subjects)" if "subjects" in found else "Location"
    accuracy = with_interval(found["balanced_accuracy"], found["ci"])
    yield Line(group=group, name="Balanced accuracy", value=accuracy)
    recall = found.get("recall", {})
    for place in found.get("classes", ()):
        value = with_interval(recall.get(place), recall.get(f"{place}_ci"))
        yield Line(group=group, name=f"Recall, {place}", value=value)


def _heat_map(summary: Mapping[str, Any]) -> Iterator[Line]:
    found = summary.get("heat_map")
    value = NOT_MEASURED if found is None else with_interval(found["peak_in_box"], found["ci"])
    group = "Heat map" if found is None else f"Heat map ({found['slices']} bleeding slices)"
    yield Line(group=group, name="Hottest point inside a reader's box", value=value)
