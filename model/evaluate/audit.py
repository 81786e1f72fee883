"""The shortcut audit: could the classes be told without blood, does the network do so, what does it lean on.

Its limits are conventions: they say where a person should look, not what is proven.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.bundle import Bundle
from model.evaluate.changes import BLANKED, CHANGES, PLAIN, VARIANTS, variants
from model.evaluate.measures import Figures, with_intervals
from model.evaluate.scoring import Scored, score
from model.evaluate.shortcuts import Crop, auc_alone, geometry
from model.evaluate.summary import number_people
from model.evaluate.verdict import LIMITS, verdict
from model.image_set import SliceRow
from model.prepare_many import prepare_many
from model.statistics import Labels, auc, bootstrap_intervals, sensitivity

SLICES_PER_CLASS = 100  # ten ways through the network: as much as an evaluation of 2,000 slices
CHUNK = 16
SEED = 0
ByVariant = Mapping[str, NDArray[np.float64]]


def audit(bundle: Bundle, scored: Scored, crops: Mapping[Path, Crop], *, workers: int) -> Figures:
    """Return the audit of a bundle on scored rows: figures with intervals, limits, the verdict in words."""
    known = np.array([i for i, row in enumerate(scored.rows) if row.hemorrhage is not None], dtype=np.int64)
    rows = [scored.rows[i] for i in known]
    labels = np.array([row.hemorrhage for row in rows], dtype=np.int64)
    people = number_people(rows)
    shapes = geometry(rows, [scored.frames[i] for i in known], scored.shapes[known], crops)
    figures = {
        "limits": LIMITS,
        "geometry": auc_alone(shapes, labels, people),
        "noise": auc_alone(scored.noise_hu[known], labels, people),
        **_network(bundle, [rows[i] for i in sample(labels, people)], workers=workers),
    }
    return figures | verdict(figures)


def sample(labels: Labels, people: Labels) -> NDArray[np.intp]:
    """Return row numbers, at most 100 of each class, drawn from all subjects in turn with a fixed seed."""
    random = np.random.default_rng(SEED)
    shuffled = random.permutation(len(labels))
    turns: dict[tuple[int, int], int] = {}
    turn = np.zeros(len(labels), dtype=np.int64)
    for i in shuffled:
        group = int(labels[i]), int(people[i])
        turn[i] = turns[group] = turns.get(group, -1) + 1
    in_turn = shuffled[np.argsort(turn[shuffled], kind="stable")]
    chosen = [in_turn[labels[in_turn] == c][:SLICES_PER_CLASS] for c in (0, 1)]
    return np.sort(np.concatenate(chosen))


def _network(bundle: Bundle, rows: Sequence[SliceRow], *, workers: int) -> Figures:
    """Score the sampled slices as they are, blanked and changed; null without both classes."""
    labels = np.array([row.hemorrhage for row in rows], dtype=np.int64)
    people = number_people(rows)
    facts = {"slices": len(rows), "subjects": len(set(people.tolist())), "seed": SEED}
    if len(set(labels.tolist())) < 2:
        return facts | {"network": None, "blanked": None, "changed": None}
    scores = _scores(bundle, rows, workers=workers)
    low = bundle.manifest.slice_thresholds.low

    def drawn(some: NDArray[np.intp]) -> dict[str, float | None]:
        return {name: auc(labels[some], found[some]) for name, found in scores.items()}

    def lost(some: NDArray[np.intp]) -> dict[str, float | None]:
        found = drawn(some)
        return {name: _minus(found[PLAIN], found[name]) for name in CHANGES}

    everyone = np.arange(len(rows))
    areas = with_intervals(drawn(everyone), bootstrap_intervals(drawn, people))
    drops = with_intervals(lost(everyone), bootstrap_intervals(lost, people))
    return facts | {
        "network": {"auc": areas[PLAIN], "auc_ci": areas[f"{PLAIN}_ci"]},
        "blanked": {
            "auc": areas[BLANKED],
            "auc_ci": areas[f"{BLANKED}_ci"],
            "positives_still_called": sensitivity(labels, scores[BLANKED], low),
        },
        "changed": {
            name: {
                "auc": areas[name],
                "auc_ci": areas[f"{name}_ci"],
                "drop": drops[name],
                "drop_ci": drops[f"{name}_ci"],
            }
            for name in CHANGES
        },
    }


def _minus(plain: float | None, changed: float | None) -> float | None:
    return None if plain is None or changed is None else plain - changed


def _scores(bundle: Bundle, rows: Sequence[SliceRow], *, workers: int) -> ByVariant:
    """Return the scores (N,) of each variant; pictures are held for a few slices at a time."""
    found: list[NDArray[np.float64]] = []
    waiting: list[NDArray[np.float32]] = []
    made = prepare_many(partial(variants, size=bundle.manifest.input.size), rows, workers=workers)
    for number, pictures in enumerate(made, start=1):
        waiting.append(pictures)
        if len(waiting) == CHUNK or number == len(rows):
            scores = score(bundle, np.concatenate(waiting)).hemorrhage
            found.append(scores.reshape(len(waiting), len(VARIANTS)))
            waiting = []
    table = np.concatenate(found)
    return {name: table[:, n] for n, name in enumerate(VARIANTS)}
