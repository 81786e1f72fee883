"""After training: calibrate on validation, choose the aggregation, measure and write what is stored."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.bundle import Bundle, load_bundle, stored_weights, write_bundle
from model.calibrate import fit_temperature, fit_thresholds
from model.errors import TrainingError
from model.evaluate.measures import Figures
from model.evaluate.peaks import heat_map_figures
from model.evaluate.studies import bleed_free_parts, labels_of, scores_of, subjects
from model.evaluate.summary import summarize
from model.image_set import SliceRow
from model.manifest import AGGREGATIONS, InputFormat, Manifest, Thresholds
from model.network import DTViT
from model.score import SliceScores, score_pictures
from model.statistics import Array, Labels
from model.train.cache import Frames
from model.train.settings import TrainingSettings

CODE_VERSION = "0.1.0"
# with fewer, 95 % and all of them are the same: a threshold would rest on one study
FEWEST_TO_REFIT = 20
PEAKS_IN_BOX = 0.90  # share of bleeding slices whose hottest patch must lie in a box; else no heat map
LICENCE = (
    "Apache-2.0 for code and weights as far as we can grant it; the public research images of the training "
    "set state no licence. Research software. Not for diagnostic use."
)


@dataclass(frozen=True, kw_only=True)
class Operating:
    """What is fitted on validation: temperature, aggregation and both pairs of thresholds."""

    temperature: float
    aggregation: str
    slice_thresholds: Thresholds
    study_thresholds: Thresholds


def fit_operating(
    rows: Sequence[SliceRow], logits: NDArray[np.float64], fallback: Bundle | None
) -> Operating:
    """Fit on validation rows and logits; the parent's stay where studies are too few."""
    check_validation(rows, fallback)
    if fallback is not None and too_few_to_refit(rows):
        return operating_of(fallback.manifest)
    known = [i for i, r in enumerate(rows) if r.hemorrhage is not None]
    labels = np.array([rows[i].hemorrhage for i in known], dtype=np.int64)
    temperature = fit_temperature(labels, logits[known])
    scores = _as_scores(logits, temperature)
    aggregation, study_thresholds = _fit_studies(rows, scores)
    return Operating(
        temperature=temperature,
        aggregation=aggregation,
        slice_thresholds=fit_thresholds(labels, scores.hemorrhage[known]),
        study_thresholds=study_thresholds,
    )


def operating_of(manifest: Manifest) -> Operating:
    """Return what was fitted for a bundle that is there already."""
    return Operating(
        temperature=manifest.temperature,
        aggregation=manifest.aggregation,
        slice_thresholds=manifest.slice_thresholds,
        study_thresholds=manifest.study_thresholds,
    )


def check_validation(rows: Sequence[SliceRow], fallback: Bundle | None) -> None:
    """Raise TrainingError where nothing could be fitted: without a parent both classes are needed."""
    if fallback is None and not {0, 1} <= {r.hemorrhage for r in rows}:
        raise TrainingError("validation needs slices with and without a hemorrhage; look at the split column")


def too_few_to_refit(rows: Sequence[SliceRow]) -> bool:
    """Say whether a class has so few validation studies that a parent's operating points are better kept."""
    studies = labels_of([s for s in subjects(rows) if s.label is not None])
    return bool(min((studies == 1).sum(), (studies == 0).sum()) < FEWEST_TO_REFIT)


def _as_scores(logits: NDArray[np.float64], temperature: float) -> SliceScores:
    hemorrhage = 1 / (1 + np.exp(-logits / temperature))
    return SliceScores(
        hemorrhage=hemorrhage,
        location=np.zeros((len(logits), 3)),
        logit=logits,
        evidence=np.zeros((len(logits), 0, 0), dtype=np.float32),
    )


def _fit_studies(rows: Sequence[SliceRow], scores: SliceScores) -> tuple[str, Thresholds]:
    """Choose the aggregation that parts bleeding from other studies best, by its worst source."""
    studies = [s for s in subjects(rows) if s.label is not None] + bleed_free_parts(rows)
    labels = labels_of(studies)
    sources = np.array([rows[s.members[0]].source for s in studies])
    judged = [m for m in (sources == source for source in set(sources)) if len(set(labels[m].tolist())) == 2]

    def worth(aggregation: str) -> float:
        found = scores_of(studies, scores, aggregation)
        return min(_gap(labels[m], found[m]) for m in judged or [np.ones(len(labels), dtype=bool)])

    best = max(AGGREGATIONS, key=worth)
    return best, fit_thresholds(labels, scores_of(studies, scores, best))


def _gap(labels: Labels, scores: Array) -> float:
    """Return how far in log odds the lowest bleeding studies lie above the highest others (5 % aside)."""
    held = scores.clip(1e-6, 1 - 1e-6)
    log_odds = np.log(held / (1 - held))
    return float(np.quantile(log_odds[labels == 1], 0.05) - np.quantile(log_odds[labels == 0], 0.95))


@dataclass(frozen=True, kw_only=True)
class Validation:
    """The slices kept apart: `rows`, their prepared `pictures` (N, S, S), 0..1, and `frames` (N, 4)."""

    rows: Sequence[SliceRow]
    pictures: NDArray[np.float32]
    frames: Frames


def finish(
    network: DTViT,
    validation: Validation,
    form: InputFormat,
    manifest: Manifest,
    *,
    folder: Path,
    parent: Bundle | None,
) -> Manifest:
    """Write the bundle: its figures are those of the float16 weights read back from disk."""
    rows = validation.rows
    weights = stored_weights(network)
    if not rows and parent is not None:
        kept = vars(operating_of(parent.manifest))
        return write_bundle(folder, replace(manifest, heat_map=parent.manifest.heat_map, **kept), weights)
    write_bundle(folder, manifest, weights)
    stored = load_bundle(folder).network
    raw = score_pictures(stored, validation.pictures, form, 1.0)
    operating = fit_operating(rows, raw.logit, parent)
    scores = replace(raw, hemorrhage=_as_scores(raw.logit, operating.temperature).hemorrhage)
    figures = summarize(
        rows,
        scores,
        slice_thresholds=operating.slice_thresholds,
        study_thresholds=operating.study_thresholds,
        aggregation=operating.aggregation,
    )
    shown = heat_map_figures(rows, peaks(raw.evidence, validation.frames))
    measured = figures | {"bleed_free_parts": len(bleed_free_parts(rows)), "heat_map": shown}
    final = replace(
        manifest,
        heat_map=shows_bleeds(shown, parent),
        metrics={"validation": measured},
        **vars(operating),
    )
    return write_bundle(folder, final, weights)


def peaks(evidence: NDArray[np.float32], frames: Frames) -> NDArray[np.float64]:
    """Return where each evidence map (N, G, G) is hottest: x, y (N, 2) as shares of the stored picture."""
    side = evidence.shape[-1]
    row, column = np.divmod(evidence.reshape(len(evidence), -1).argmax(axis=1), side)
    inside = (np.stack([column, row], axis=1) + 0.5) / side
    found = frames[:, :2] + inside * frames[:, 2:]
    found[frames[:, 2] == 0] = np.nan
    return np.asarray(found, dtype=np.float64)


def shows_bleeds(figures: Figures | None, parent: Bundle | None) -> bool:
    """Say whether the heat map may be shown: measured on boxes, or, without any, as the parent's."""
    if figures is None:
        return parent is not None and parent.manifest.heat_map
    return bool(figures["peak_in_box"] >= PEAKS_IN_BOX)


def first_manifest(
    name: str,
    settings: TrainingSettings,
    form: InputFormat,
    training_rows: Sequence[SliceRow],
    parent: Bundle | None,
) -> Manifest:
    """Return the manifest before calibration: what is known before the weights are."""
    positives = sum(r.hemorrhage == 1 for r in training_rows)
    training: dict[str, Any] = {
        "sources": sorted({r.source for r in training_rows}),
        "subjects": len({r.person for r in training_rows}),
        "slices": len(training_rows),
        "code_version": CODE_VERSION,
        "settings": settings.to_dict(),
        "seed": settings.seed,
    }
    if parent is not None:
        training["parent_training"] = dict(parent.manifest.training)
    whole = Thresholds(low=0.5, high=0.5)
    return Manifest(
        name=name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        encoder=settings.encoder,
        input=form,
        slice_thresholds=whole,
        study_thresholds=whole,
        aggregation=AGGREGATIONS[0],
        temperature=1.0,
        prevalence_in_training=positives / max(len(training_rows), 1),
        training=training,
        metrics={},
        licence=LICENCE,
        parent=parent.sha256 if parent else None,
        weights_sha256="0" * 64,
    )
