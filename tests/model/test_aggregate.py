"""From slices to a study: one noisy slice does not decide; the place is that of the bleeding slices."""

import numpy as np
import pytest

from model.aggregate import key_slices, study_location, study_score
from model.errors import ModelError
from model.manifest import AGGREGATIONS


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_one_noisy_slice_does_not_decide(aggregation):
    quiet, noisy, bleed = np.full(30, 0.02), np.full(30, 0.02), np.full(30, 0.02)
    noisy[17] = 1.0
    bleed[14:18] = 0.95

    scores = [study_score(s, aggregation) for s in (quiet, noisy, bleed)]

    assert scores[0] == pytest.approx(0.02)
    assert scores[1] < 0.4
    assert scores[2] > scores[1]


def test_three_neighbours_count_more_than_three_far_apart():
    together, apart = np.zeros(20), np.zeros(20)
    together[5:8] = 0.9
    apart[[2, 9, 16]] = 0.9

    assert study_score(together, "run3_mean") == pytest.approx(0.9)
    assert study_score(apart, "run3_mean") == pytest.approx(0.3)
    assert study_score(apart, "top3_mean") == pytest.approx(0.9)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_few_slices_have_a_score_too(aggregation, count):
    assert study_score(np.full(count, 0.5), aggregation) == pytest.approx(0.5)


def test_no_slices_or_an_unknown_aggregation_have_none():
    with pytest.raises(ModelError):
        study_score(np.empty(0), "run3_mean")
    with pytest.raises(ModelError):
        study_score(np.ones(3), "max")


def test_the_location_is_that_of_the_bleeding_slices():
    locations = np.tile([0.1, 0.8, 0.1], (10, 1))
    locations[4:6] = [0.7, 0.2, 0.1]
    scores = np.full(10, 0.05)
    scores[4:6] = 0.9

    found = study_location(locations, scores, 0.5)

    assert list(found) == ["deep", "lobar", "subtentorial"]
    assert found["deep"] == pytest.approx(0.7, abs=1e-6)
    assert sum(found.values()) == pytest.approx(1)


def test_without_bleeding_slices_the_most_suspicious_speak():
    locations = np.tile([0.1, 0.8, 0.1], (10, 1))
    locations[2:5] = [0.1, 0.1, 0.8]
    scores = np.full(10, 0.05)
    scores[2:5] = 0.2

    assert study_location(locations, scores, 0.5)["subtentorial"] == pytest.approx(0.8, abs=1e-6)
    assert sum(study_location(locations, np.zeros(10), 0.5).values()) == pytest.approx(1)


def test_key_slices_are_sorted_at_most_five_and_never_none():
    scores = np.array([0.1, 0.9, 0.95, 0.7, 0.8, 0.99, 0.6])

    assert key_slices(scores, 0.5) == (5, 2, 1, 4, 3)
    assert key_slices(scores, 0.9) == (5, 2, 1)
    assert key_slices(scores, 1.0) == (5,)
