"""Who is read first: by sender, priority and age, and nobody waits for ever."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ich_node.core.urgency import FRESH, HIGH_PRIORITY, LOW_PRIORITY, Urgency, handicap_s

NOW = datetime(2026, 11, 26, 0, 5, tzinfo=UTC)
times = st.none() | st.datetimes(timezones=st.just(UTC))


def test_an_urgent_sender_comes_first_and_one_that_can_wait_last():
    high, normal, low = (handicap_s(urgency, now=NOW) for urgency in Urgency)

    assert 0 == high < normal < low


def test_the_priority_of_a_request_moves_by_one_level_and_not_beyond_the_ends():
    def level(urgency, priority):
        return handicap_s(urgency, priority=priority, now=NOW)

    medium, odd = 0, 4711
    high = [(Urgency.NORMAL, HIGH_PRIORITY), (Urgency.HIGH, medium), (Urgency.HIGH, HIGH_PRIORITY)]
    normal = [(Urgency.HIGH, LOW_PRIORITY), (Urgency.NORMAL, odd), (Urgency.LOW, HIGH_PRIORITY)]
    low = [(Urgency.NORMAL, LOW_PRIORITY), (Urgency.LOW, medium), (Urgency.LOW, LOW_PRIORITY)]
    levels = [{level(*one) for one in alike} for alike in (high, normal, low)]
    assert [len(level) for level in levels] == [1, 1, 1]
    assert min(levels[0]) < min(levels[1]) < min(levels[2])


@pytest.mark.parametrize(
    ("studied_at", "fresh"),
    [
        (NOW - timedelta(minutes=20), True),  # before midnight
        (NOW - FRESH - timedelta(seconds=1), False),
        (NOW + timedelta(days=300), True),  # a scanner whose clock is wrong
        (None, True),
    ],
)
def test_a_study_of_today_comes_before_one_of_yesterday_and_doubt_is_urgent(studied_at, fresh):
    stands_back = handicap_s(Urgency.NORMAL, studied_at=studied_at, now=NOW)

    assert (stands_back == handicap_s(Urgency.NORMAL, now=NOW)) is fresh


@given(st.sampled_from(Urgency), st.integers(0, 65535), times)
def test_nobody_stands_back_for_longer_than_a_shift(urgency, priority, studied_at):
    assert 0 <= handicap_s(urgency, priority=priority, studied_at=studied_at, now=NOW) < 8 * 3600
