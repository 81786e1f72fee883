"""The gate: worse is never let in, thin evidence neither, and a lowered gate is called so."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from ich_node.core.gate import GateRules, Judgment, KeptAside, judge, smallest_class
from ich_node.vocabulary import Location

RULES = GateRules(minimum_patients=4, shipped_minimum=100, champion_low=0.5, challenger_low=0.5)


def shares(place: Location, certainty: float = 0.8) -> dict[Location, float]:
    rest = (1 - certainty) / 2
    return {one: certainty if one is place else rest for one in Location}


def said(score: float | None, place: Location = Location.DEEP) -> Judgment:
    return Judgment(score=score, locations=shares(place))


def patients(*rows: tuple[bool, float, float]) -> list[KeptAside]:
    """One patient a row: bleeding or not, the champion's score, the challenger's."""
    return [
        KeptAside(
            subject=f"s{number}",
            present=present,
            location=Location.DEEP if present else None,
            champion=said(before),
            challenger=said(after),
        )
        for number, (present, before, after) in enumerate(rows)
    ]


GOOD = ((True, 0.9, 0.9), (True, 0.4, 0.6), (False, 0.1, 0.1), (False, 0.6, 0.2))
SCORE = st.floats(0, 1)
COHORT = st.lists(
    st.tuples(st.booleans(), SCORE, SCORE, st.sampled_from(Location), st.sampled_from(Location)),
    max_size=30,
)


def cohort(rows) -> list[KeptAside]:
    return [
        KeptAside(
            subject=f"s{number}",
            present=present,
            location=truth if present and number % 2 else None,
            champion=said(before, Location.DEEP),
            challenger=said(after, place),
        )
        for number, (present, before, after, truth, place) in enumerate(rows)
    ]


def test_a_better_candidate_is_allowed_and_its_figures_are_told():
    verdict = judge(patients(*GOOD), RULES)

    assert verdict.allowed
    assert verdict.reasons == ()
    assert (verdict.patients, verdict.positives, verdict.negatives) == (4, 2, 2)
    assert (verdict.champion.sensitivity, verdict.challenger.sensitivity) == (0.5, 1.0)
    assert (verdict.champion.specificity, verdict.challenger.specificity) == (0.5, 1.0)


def test_an_identical_candidate_is_allowed():
    same = [(present, before, before) for present, before, _ in GOOD]

    assert judge(patients(*same), RULES).allowed


@pytest.mark.parametrize(
    ("rows", "word"),
    [
        ([(True, 0.9, 0.4), (True, 0.9, 0.9), (False, 0.1, 0.1), (False, 0.2, 0.2)], "sensitivity"),
        ([(True, 0.9, 0.9), (True, 0.9, 0.9), (False, 0.1, 0.6), (False, 0.2, 0.2)], "specificity"),
        ([(True, 0.9, 0.6), (True, 0.9, 0.9), (False, 0.7, 0.7), (False, 0.2, 0.2)], "AUC"),
    ],
)
def test_a_candidate_that_is_worse_in_one_thing_is_refused_with_that_word(rows, word):
    verdict = judge(patients(*rows), RULES)

    assert not verdict.allowed
    assert len(verdict.reasons) == 1
    assert word in verdict.reasons[0]


def test_a_candidate_that_finds_the_place_less_often_is_refused():
    cases = patients(*GOOD)
    cases[0] = replace(cases[0], challenger=said(0.9, Location.LOBAR))

    verdict = judge(cases, RULES)

    assert ["location" in reason for reason in verdict.reasons] == [True]
    assert verdict.challenger.location_balanced_accuracy == 0.5


def test_a_candidate_that_calls_everybody_ill_is_refused():
    everybody = [(present, before, 1.0) for present, before, _ in GOOD]

    assert not judge(patients(*everybody), RULES).allowed


def test_a_candidate_cannot_hide_behind_its_own_threshold():
    rules = replace(RULES, challenger_low=0.0)

    verdict = judge(patients(*GOOD), rules)

    assert any("specificity" in reason for reason in verdict.reasons)


@pytest.mark.parametrize("minimum", [2, 5, 10, 100])
def test_the_smallest_class_is_a_fifth_and_never_none(minimum):
    assert smallest_class(minimum) >= 1
    assert (minimum / 5) <= smallest_class(minimum) < minimum / 5 + 1


@pytest.mark.parametrize(
    ("positives", "negatives", "allowed"),
    [(20, 80, True), (80, 20, True), (19, 81, False), (81, 19, False), (50, 49, False)],
)
def test_as_shipped_a_hundred_patients_are_needed_and_twenty_of_each_class(positives, negatives, allowed):
    rows = [(True, 0.9, 0.9)] * positives + [(False, 0.1, 0.1)] * negatives

    verdict = judge(patients(*rows), replace(RULES, minimum_patients=100))

    assert verdict.allowed is allowed
    assert all("too thin" in reason for reason in verdict.reasons)


def test_no_patients_at_all_are_refused_without_a_figure():
    verdict = judge([], RULES)

    assert not verdict.allowed
    assert verdict.champion.auc is None


def test_a_lowered_gate_is_called_lowered_even_where_it_refuses():
    assert judge([], RULES).lowered
    assert not judge([], replace(RULES, minimum_patients=100)).lowered
    assert not judge([], replace(RULES, minimum_patients=101)).lowered


@pytest.mark.parametrize("score", [None, math.nan, math.inf, -0.1, 1.1])
@pytest.mark.parametrize("whose", ["champion", "challenger"])
def test_a_score_that_is_none_refuses(score, whose):
    cases = patients(*GOOD)
    cases[0] = replace(cases[0], **{whose: said(score)})

    verdict = judge(cases, RULES)

    assert not verdict.allowed
    assert verdict.challenger.auc is None


@pytest.mark.parametrize(
    "locations", [None, {}, {Location.DEEP: 1.0}, {**shares(Location.DEEP), Location.LOBAR: math.nan}]
)
def test_a_place_that_is_none_refuses_where_the_readers_know_it(locations):
    cases = patients(*GOOD)
    cases[0] = replace(cases[0], challenger=Judgment(score=0.9, locations=locations))

    assert not judge(cases, RULES).allowed


@pytest.mark.parametrize("low", [math.nan, -1.0, 2.0])
def test_a_threshold_that_is_none_refuses(low):
    assert not judge(patients(*GOOD), replace(RULES, challenger_low=low)).allowed


def test_a_patient_counted_twice_refuses():
    cases = patients(*GOOD)

    assert not judge([*cases, cases[0]], RULES).allowed


@given(COHORT, st.floats(0, 1), st.floats(0, 1))
def test_worse_is_never_allowed(rows, champion_low, challenger_low):
    rules = replace(RULES, minimum_patients=2, champion_low=champion_low, challenger_low=challenger_low)

    verdict = judge(cohort(rows), rules)

    if verdict.allowed:
        assert verdict.positives >= 1
        assert verdict.negatives >= 1
        for name in ("auc", "sensitivity", "specificity", "location_balanced_accuracy"):
            before, after = getattr(verdict.champion, name), getattr(verdict.challenger, name)
            assert (before is None) == (after is None)
            assert before is None or after >= before


@given(COHORT)
def test_the_figures_are_those_of_scikit_learn(rows):
    cases = cohort(rows)
    rules = replace(RULES, minimum_patients=2)

    verdict = judge(cases, rules)

    truth = [case.present for case in cases]
    if 0 < sum(truth) < len(truth):
        expected = roc_auc_score(truth, [case.challenger.score for case in cases])
        assert verdict.challenger.auc == pytest.approx(expected)
    located = [case for case in cases if case.location is not None]
    if located:
        answers = [case.challenger.location for case in located]
        found = {str(case.location) for case in located}
        if {str(answer) for answer in answers} <= found and len(found) > 1:  # scikit-learn warns of others
            expected = balanced_accuracy_score(
                [str(case.location) for case in located], [str(a) for a in answers]
            )
            assert verdict.challenger.location_balanced_accuracy == pytest.approx(expected)


@given(COHORT, st.randoms())
def test_the_order_of_the_patients_never_matters(rows, random):
    cases = cohort(rows)
    mixed = list(cases)
    random.shuffle(mixed)

    assert judge(mixed, RULES) == judge(cases, RULES)
