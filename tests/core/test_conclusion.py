"""From scores to words: doubt is never negative, and the most serious reading leads."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ich_node.core.conclusion import (
    CUT_OFF_SHARE,
    Extent,
    Finding,
    Scores,
    SliceScore,
    Thresholds,
    conclude,
    ends_not_covered,
    most_serious_first,
    not_judged,
)
from ich_node.vocabulary import HeadEnd, Location, Outcome, Reason

EXTENT = Extent(
    series_uid="1.2",
    series_number="2",
    series_description="",
    slices=30,
    covered_mm=145,
    first_mm=0,
    last_mm=145,
)
POINTS = Thresholds(low=0.3, high=0.6)


def _scores(study):
    return Scores(
        study=study,
        locations={Location.DEEP: 0.2, Location.LOBAR: 0.7, Location.SUBTENTORIAL: 0.1},
        slices=(SliceScore(sop_instance_uid="1.2.1", score=study),),
        key_instances=("1.2.1",),
    )


@pytest.mark.parametrize(
    ("score", "outcome"),
    [
        (0.0, Outcome.NEGATIVE),
        (0.2999, Outcome.NEGATIVE),
        (0.3, Outcome.INDETERMINATE),
        (0.5999, Outcome.INDETERMINATE),
        (0.6, Outcome.POSITIVE),
        (1.0, Outcome.POSITIVE),
        (math.nan, Outcome.INDETERMINATE),
    ],
)
def test_between_the_thresholds_lies_doubt(score, outcome):
    assert conclude(_scores(score), POINTS, extent=EXTENT).outcome is outcome


def test_only_a_positive_has_a_place_and_only_suspicion_or_doubt_has_key_images():
    positive, doubt, negative = (conclude(_scores(score), POINTS, extent=EXTENT) for score in (0.9, 0.4, 0.1))

    assert (positive.location, doubt.location, negative.location) == (Location.LOBAR, None, None)
    assert (positive.key_instances, doubt.key_instances, negative.key_instances) == (
        ("1.2.1",),
        ("1.2.1",),
        (),
    )


def test_equal_thresholds_leave_no_room_for_doubt():
    points = Thresholds(low=0.5, high=0.5)

    assert conclude(_scores(0.5), points, extent=EXTENT).outcome is Outcome.POSITIVE
    assert conclude(_scores(0.4999), points, extent=EXTENT).outcome is Outcome.NEGATIVE


@pytest.mark.parametrize(("low", "high"), [(0.6, 0.5), (-0.1, 0.5), (0.5, 1.1), (math.nan, 0.5)])
def test_thresholds_that_make_no_sense_are_refused(low, high):
    with pytest.raises(ValueError, match="low <= high"):
        Thresholds(low=low, high=high)


@given(
    st.lists(
        st.sampled_from([reason for reason in Reason if reason.verdict.value in ("declined", "failed")]),
        min_size=1,
    )
)
def test_the_first_reason_in_order_of_precedence_decides(reasons):
    finding = not_judged(reasons)

    assert finding.reason is min(reasons, key=lambda reason: reason.rank)
    assert finding.outcome is (Outcome.FAILED if finding.reason is Reason.MODEL_FAILED else Outcome.DECLINED)


def test_the_most_serious_reading_leads_and_the_higher_score_among_equals():
    findings = [
        conclude(_scores(0.1), POINTS, extent=EXTENT),
        not_judged([Reason.LOSSY]),
        conclude(_scores(0.7), POINTS, extent=EXTENT),
        conclude(_scores(0.9), POINTS, extent=EXTENT),
        Finding(outcome=Outcome.FAILED, reason=Reason.MODEL_FAILED),
    ]

    assert most_serious_first(findings) == [3, 2, 4, 1, 0]


def test_the_words_never_say_that_there_is_no_hemorrhage():
    from ich_node.vocabulary import FINDING_SENTENCES

    said = FINDING_SENTENCES[Outcome.NEGATIVE].lower()

    assert "detected by the algorithm" in said
    assert not any(word in said for word in ("normal", "excluded", "no hemorrhage"))


@pytest.mark.parametrize("ends", [(HeadEnd.BASE,), (HeadEnd.VERTEX,), tuple(HeadEnd)])
def test_a_head_that_lacks_an_end_is_never_negative_but_may_be_positive(ends):
    cut_off = replace(EXTENT, not_covered=ends)

    low, between, high = (conclude(_scores(score), POINTS, extent=cut_off) for score in (0.1, 0.5, 0.9))

    assert (low.outcome, low.reason) == (Outcome.DECLINED, Reason.INCOMPLETE)
    assert low.extent == cut_off
    assert (between.outcome, high.outcome) == (Outcome.INDETERMINATE, Outcome.POSITIVE)


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (0.0, 0.0, ()),
        (CUT_OFF_SHARE, CUT_OFF_SHARE, ()),
        (0.41, 0.0, (HeadEnd.BASE,)),
        (0.1, 0.9, (HeadEnd.VERTEX,)),
        (1.0, 1.0, (HeadEnd.BASE, HeadEnd.VERTEX)),
    ],
)
def test_a_scan_lacks_the_end_in_whose_outermost_slice_much_brain_is_left(first, last, expected):
    assert ends_not_covered(first, last) == expected
