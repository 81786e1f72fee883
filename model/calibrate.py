"""Temperature and thresholds, fitted on validation only and stored in the bundle."""

import numpy as np
from scipy.optimize import minimize_scalar

from model.errors import TrainingError
from model.manifest import Thresholds
from model.statistics import Array, Labels

SENSITIVITY = 0.95  # at the low threshold, at least
SPECIFICITY = 0.95  # at the high threshold, at least
TEMPERATURES = (0.25, 8.0)
GAP_PARTS = (1 / 6, 1 / 2)


def fit_temperature(labels: Labels, logits: Array) -> float:
    """Return the temperature that makes the scores sigmoid(logit / T) most likely, within 0.25 to 8."""
    signs = np.where(labels == 1, -1.0, 1.0)

    def loss(log_temperature: float) -> float:
        return float(np.logaddexp(0.0, signs * logits / np.exp(log_temperature)).mean())

    low, high = np.log(TEMPERATURES)
    return float(np.exp(minimize_scalar(loss, bounds=(low, high), method="bounded").x))


def fit_thresholds(labels: Labels, scores: Array) -> Thresholds:
    """Return low (sensitivity at least 0.95) and high (specificity at least 0.95, never below low).

    Where the classes leave a gap between those two bounds, low goes a sixth and high half of the way (in log
    odds) from the negatives to the positives: both promises hold; a missed bleed costs more than a doubt, so
    the doubtful range lies above most negatives. Raises TrainingError without both classes.
    """
    positives, negatives = np.sort(scores[labels == 1]), np.sort(scores[labels == 0])
    if len(positives) == 0 or len(negatives) == 0:
        raise TrainingError("thresholds need validation cases with and without a hemorrhage")
    highest_low = positives[int(np.floor((1 - SENSITIVITY) * len(positives)))]
    held = negatives[int(np.ceil(SPECIFICITY * len(negatives))) - 1]
    lowest_high = np.nextafter(held, 2.0)  # the held negative itself must lie below
    if lowest_high >= highest_low:
        return Thresholds(low=float(highest_low), high=float(min(lowest_high, 1.0)))
    below, above = _log_odds(lowest_high), _log_odds(highest_low)
    low, high = (below + (above - below) * part for part in GAP_PARTS)
    return Thresholds(low=_score(low), high=_score(high))


def _log_odds(score: float) -> float:
    held = min(max(score, 1e-6), 1 - 1e-6)
    return float(np.log(held / (1 - held)))


def _score(log_odds: float) -> float:
    return float(1 / (1 + np.exp(-log_odds)))
