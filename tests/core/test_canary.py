"""When a canary is sent, and what its end means."""

from datetime import UTC, datetime, timedelta

import pytest

from ich_node.core.canary import AFTER_START, Verdict, is_due, verdict

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=1)
HOUR_S = 3600.0
HOUR = timedelta(seconds=HOUR_S)


@pytest.mark.parametrize(
    ("last", "running_since", "every_s", "due"),
    [
        (None, LONG_AGO, HOUR_S, True),
        (NOW - HOUR, LONG_AGO, HOUR_S, True),
        (NOW - HOUR + timedelta(seconds=1), LONG_AGO, HOUR_S, False),
        (None, LONG_AGO, 0, False),
        # the receiver may not answer yet
        (None, NOW - AFTER_START + timedelta(seconds=1), HOUR_S, False),
    ],
)
def test_a_canary_is_due_once_in_a_while(last, running_since, every_s, due):
    assert is_due(last, running_since=running_since, now=NOW, every_s=every_s) is due


@pytest.mark.parametrize(
    ("outcome", "age_s", "expected"),
    [
        ("negative", 10, Verdict(outcome="negative", trouble=None)),
        ("declined", 10, Verdict(outcome="declined", trouble="ended as declined")),
        ("failed", 10, Verdict(outcome="failed", trouble="ended as failed")),
        ("ignored", 10, Verdict(outcome="ignored", trouble="ended as ignored")),
        (None, 99, None),
        (None, 100, Verdict(outcome=None, trouble="no outcome in time")),
    ],
)
def test_a_canary_came_through_where_something_was_said_of_it(outcome, age_s, expected):
    begun_at = NOW - timedelta(seconds=age_s)

    assert verdict(outcome, begun_at=begun_at, now=NOW, within_s=100) == expected
