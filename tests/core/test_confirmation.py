"""What follows from a look at what a destination keeps: every finding has its end."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ich_node.core.confirmation import ConfirmPolicy, Consequence, Finding, Standing, consequence_of
from ich_node.core.retry import RetryPolicy
from ich_node.core.states import DELIVERY_TRANSITIONS, DeliveryEvent, DeliveryState

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
POLICY = ConfirmPolicy(within_s=600, looks=RetryPolicy(attempts=10, first_s=5, longest_s=300), resends=2)


def _after(finding: Finding, *, looks: int = 1, resends: int = 0, left_s: float = 600) -> Consequence:
    standing = Standing(looks=looks, resends=resends, confirm_by=NOW + timedelta(seconds=left_s))
    return consequence_of(finding, standing, POLICY, now=NOW)


def _in(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize("left_s", [600, -600])
def test_what_is_kept_is_proven_however_late(left_s):
    assert _after(Finding.KEPT, left_s=left_s) == Consequence(event=DeliveryEvent.PROVEN)


def test_what_is_not_listed_yet_is_looked_for_again_until_the_time_is_over():
    assert _after(Finding.NOT_LISTED) == Consequence(look_at=_in(5))
    assert _after(Finding.NOT_LISTED, looks=3) == Consequence(look_at=_in(20))
    assert _after(Finding.NOT_LISTED, looks=3, left_s=7) == Consequence(look_at=_in(7))
    assert _after(Finding.NOT_LISTED, looks=3, left_s=0) == Consequence(event=DeliveryEvent.MISSED)


def test_when_the_looks_are_used_up_the_last_one_still_judges():
    assert _after(Finding.NOT_LISTED, looks=10) == Consequence(look_at=_in(600))


def test_what_is_reported_missing_is_sent_again_so_often_and_then_given_up():
    ends = [_after(Finding.REPORTED_MISSING, resends=resends).event for resends in range(4)]

    assert ends == [DeliveryEvent.MISSED] * 2 + [DeliveryEvent.GIVEN_UP] * 2


def test_a_destination_that_will_answer_is_not_asked_again_before_its_time_is_over():
    assert _after(Finding.ASKED) == Consequence(look_at=_in(600))
    assert _after(Finding.ASKED, left_s=-1) == Consequence(look_at=_in(300))


@pytest.mark.parametrize("finding", [Finding.ASKED, Finding.UNANSWERED])
def test_silence_never_says_that_a_report_is_missing(finding):
    assert _after(finding, looks=10, left_s=-6000) == Consequence()


@given(
    st.sampled_from(Finding),
    st.integers(1, 20),
    st.integers(0, 5),
    st.floats(-1e5, 1e5),
    st.floats(0, 1),
)
def test_a_consequence_is_one_that_the_table_knows_or_a_later_look(finding, looks, resends, left_s, jitter):
    standing = Standing(looks=looks, resends=resends, confirm_by=NOW + timedelta(seconds=left_s))

    found = consequence_of(finding, standing, POLICY, now=NOW, jitter=jitter)

    assert found.event is None or (DeliveryState.SENT, found.event) in DELIVERY_TRANSITIONS
    assert found.look_at is None or (found.event is None and found.look_at > NOW)
