"""The audit's verdict in words, from its figures and stated limits."""

from collections.abc import Mapping
from typing import Any

Figures = dict[str, Any]

ALONE, BLANKED, DROP = 0.70, 0.60, 0.03
LIMITS = {"alone_auc": ALONE, "blanked_auc": BLANKED, "drop": DROP}


def verdict(figures: Mapping[str, Any]) -> Figures:
    """Return `passed` (None where the network could not be asked) and `verdict`, a list of sentences."""
    if figures["network"] is None:
        cannot = "The network cannot be audited here: that needs slices with and without a hemorrhage."
        return {"passed": None, "verdict": [*_set_sentences(figures), cannot]}
    seen_through = _reacts_to_blank(figures["blanked"])
    leaning = [name for name, changed in figures["changed"].items() if _leans(changed)]
    sentences = [
        *_set_sentences(figures),
        _blanked_sentence(figures["blanked"], reacts=seen_through),
        *_change_sentences(figures, leaning),
    ]
    return {"passed": not seen_through and not leaning, "verdict": sentences}


def _set_sentences(figures: Mapping[str, Any]) -> list[str]:
    return [_set_sentence(name, figures[name]) for name in ("geometry", "noise")]


def _set_sentence(name: str, alone: Mapping[str, Any] | None) -> str:
    what = {"geometry": "The head's size and place", "noise": "The noise in the brain"}[name]
    if alone is None or alone["auc"] is None:
        return f"{what} alone cannot be judged: too few subjects of a class."
    found = f"{what} alone: AUC {_with_interval(alone)}"
    if alone["auc"] > ALONE:
        return (
            f"{found}, above {ALONE:.2f}. The classes of these images differ without any blood; "
            "a high AUC of the network on them proves little by itself."
        )
    return f"{found}, not above {ALONE:.2f}: no strong shortcut."


def _reacts_to_blank(blanked: Mapping[str, Any]) -> bool:
    """Say whether scores of blanked slices still tell the classes apart, in whichever direction."""
    interval = blanked["auc_ci"]
    if interval is None:
        return bool(abs(blanked["auc"] - 0.5) > BLANKED - 0.5)
    low, high = interval
    return bool((blanked["auc"] > BLANKED and low > 0.5) or (blanked["auc"] < 1 - BLANKED and high < 0.5))


def _blanked_sentence(blanked: Mapping[str, Any], *, reacts: bool) -> str:
    found = f"Network with the brain blanked: AUC {_with_interval(blanked)}"
    if reacts:
        return (
            f"{found}, beyond {BLANKED:.2f}: it sees something other than blood "
            "(the level of the slice, the skull, the scanner)."
        )
    if abs(blanked["auc"] - 0.5) > BLANKED - 0.5:
        return f"{found}, beyond {BLANKED:.2f}, but not clearly: too few slices or subjects to tell."
    return f"{found}, not beyond {BLANKED:.2f}: no sign that it sees anything but the brain."


def _leans(changed: Mapping[str, Any]) -> bool:
    interval = changed["drop_ci"]
    return bool(changed["drop"] > DROP and (interval is None or interval[0] > 0))


def _change_sentences(figures: Mapping[str, Any], leaning: list[str]) -> list[str]:
    plain = f"Network on the same slices unchanged: AUC {_with_interval(figures['network'])}."
    if not leaning:
        return [
            plain,
            f"No change of zoom, noise, blur or gain is shown to cost more than {DROP:.2f} of AUC.",
        ]
    costs = (f"{name} costs {figures['changed'][name]['drop']:.3f}" for name in leaning)
    return [plain, f"It leans on what a scanner may change: {', '.join(costs)} of AUC (limit {DROP:.2f})."]


def _with_interval(figures: Mapping[str, Any]) -> str:
    interval = figures["auc_ci"]
    held = "no interval" if interval is None else f"{interval[0]:.2f} to {interval[1]:.2f}"
    return f"{figures['auc']:.2f} ({held})"
