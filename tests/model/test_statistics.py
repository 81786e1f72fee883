"""Figures of merit against scikit-learn and by hand; what is undefined is None."""

import numpy as np
import pytest
from sklearn import calibration, metrics

from model.calibrate import fit_temperature, fit_thresholds
from model.errors import TrainingError
from model.statistics import (
    auc,
    balanced_accuracy,
    bootstrap_interval,
    bootstrap_intervals,
    brier,
    calibration_curve,
    confusion,
    exact_interval,
    expected_calibration_error,
    f1,
    predictive_values,
    sensitivity,
    specificity,
)


@pytest.fixture
def random(seed):
    return np.random.default_rng(seed)


def test_figures_agree_with_scikit_learn(random):
    for _ in range(20):
        labels = random.integers(0, 2, 60)
        labels[:2] = 0, 1
        scores = np.round(np.clip(random.normal(0.4 + 0.2 * labels, 0.3), 0, 1), 1)  # many ties
        truth, predicted = random.integers(0, 3, 50), random.integers(0, 3, 50)

        assert auc(labels, scores) == pytest.approx(metrics.roc_auc_score(labels, scores))
        assert f1(labels, scores, 0.5) == pytest.approx(metrics.f1_score(labels, scores >= 0.5))
        assert brier(labels, scores) == pytest.approx(metrics.brier_score_loss(labels, scores))
        assert sensitivity(labels, scores, 0.5) == pytest.approx(metrics.recall_score(labels, scores >= 0.5))
        assert specificity(labels, scores, 0.5) == pytest.approx(
            metrics.recall_score(labels, scores >= 0.5, pos_label=0)
        )
        assert balanced_accuracy(truth, predicted, 3) == pytest.approx(
            metrics.balanced_accuracy_score(truth, predicted)
        )
        assert (
            confusion(truth, predicted, 3) == metrics.confusion_matrix(truth, predicted, labels=[0, 1, 2])
        ).all()


def test_calibration_error_by_hand():
    labels, scores = np.array([0, 1, 1, 1]), np.array([0.21, 0.29, 0.95, 1.0])

    # bin 0.2: mean score 0.25, frequency 0.5, two slices; bin 0.9: mean 0.975, frequency 1, two slices
    assert expected_calibration_error(labels, scores) == pytest.approx(0.5 * 0.25 + 0.5 * 0.025)


def test_the_calibration_curve_agrees_with_scikit_learn(random):
    scores = random.random(400)
    labels = (random.random(400) < scores**2).astype(np.int64)

    curve = calibration_curve(labels, scores)

    frequency, mean = calibration.calibration_curve(labels, scores, n_bins=10)
    assert [b.frequency for b in curve] == pytest.approx(frequency)
    assert [b.mean_score for b in curve] == pytest.approx(mean)
    assert sum(b.count for b in curve) == 400


def test_a_score_of_one_lies_in_the_last_bin():
    (only,) = calibration_curve(np.array([1, 0]), np.array([0.9, 1.0]))

    assert (only.low, only.high, only.count) == (0.9, 1.0, 2)
    assert (only.mean_score, only.frequency) == (pytest.approx(0.95), 0.5)


def test_predictive_values_by_hand():
    # of 1000 cases 100 bleed: 90 called, 10 missed; of the 900 others 180 called, 720 spared
    assert predictive_values(0.9, 0.8, 0.1) == pytest.approx((90 / 270, 720 / 730))
    assert predictive_values(0.0, 1.0, 0.1) == (None, pytest.approx(0.9))
    assert predictive_values(1.0, 0.0, 0.1) == (pytest.approx(0.1), None)
    assert predictive_values(None, 0.8, 0.1) == (None, None)


def test_the_exact_interval_knows_doubt_where_nothing_went_wrong():
    # the rule of three's exact form: with n of n right, the lower bound is (0.025)^(1/n)
    assert exact_interval(20, 20) == pytest.approx((0.025 ** (1 / 20), 1.0))
    assert exact_interval(0, 0) is None


def test_all_intervals_of_a_draw_come_from_the_same_subjects():
    subjects = np.repeat(np.arange(6), 2)
    values = np.arange(12.0)

    found = bootstrap_intervals(
        lambda rows: {"mean": values[rows].mean(), "double": 2 * values[rows].mean(), "never": None}, subjects
    )

    assert found["double"] == pytest.approx(tuple(2 * v for v in found["mean"]))
    assert found["mean"] == bootstrap_interval(lambda rows: values[rows].mean(), subjects)
    assert found["never"] is None


def test_what_is_undefined_is_none():
    none, ones = np.empty(0, np.int64), np.ones(3, np.int64)

    assert auc(ones, np.ones(3)) is None
    assert specificity(ones, np.ones(3), 0.5) is None
    assert sensitivity(0 * ones, np.ones(3), 0.5) is None
    assert f1(0 * ones, np.ones(3), 0.5) is None
    assert brier(none, np.empty(0)) is None
    assert calibration_curve(none, np.empty(0)) == ()
    assert expected_calibration_error(none, np.empty(0)) is None
    assert balanced_accuracy(none, none, 3) is None
    assert bootstrap_interval(lambda rows: 1.0, np.zeros(5, np.int64)) is None
    assert bootstrap_interval(lambda rows: None, np.arange(5)) is None
    assert bootstrap_interval(lambda rows: 1.0, none) is None


def test_the_bootstrap_draws_subjects_and_not_rows(random):
    subjects = np.repeat(np.arange(8), 50)
    values = np.repeat(random.normal(size=8), 50)

    low, high = bootstrap_interval(lambda rows: float(values[rows].mean()), subjects)

    spread = values[::50].std() / np.sqrt(8)
    assert 2.0 * spread < high - low < 6.0 * spread  # rows alone would give a seventh of that


def test_the_temperature_that_was_applied_is_found(random):
    logits = random.normal(0, 2, 20_000)
    labels = (random.random(20_000) < 1 / (1 + np.exp(-logits))).astype(np.int64)

    assert fit_temperature(labels, logits * 3) == pytest.approx(3, rel=0.1)


def test_thresholds_keep_their_promises(random):
    for _ in range(50):
        labels = np.repeat([0, 1], [40, 30])
        scores = 1 / (1 + np.exp(-random.normal(random.uniform(0, 6) * (labels - 0.5), 1)))

        found = fit_thresholds(labels, scores)

        assert 0 <= found.low <= found.high <= 1
        assert (scores[labels == 1] >= found.low).mean() >= 0.95
        assert (scores[labels == 0] < found.high).mean() >= 0.95


def test_clearly_parted_classes_put_the_thresholds_between_them():
    found = fit_thresholds(np.repeat([0, 1], 20), np.repeat([0.01, 0.99], 20))

    assert 0.03 < found.low < 0.1
    assert found.high == pytest.approx(0.5, abs=0.01)


def test_thresholds_need_both_classes():
    with pytest.raises(TrainingError):
        fit_thresholds(np.ones(4, np.int64), np.ones(4))
