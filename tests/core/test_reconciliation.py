"""A study is stuck where nothing will move it by itself; and the books are balanced or they are not."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ich_node.core.reconciliation import READ_WITHIN, SLACK, Balance, Discrepancy, OpenStudy, is_stuck
from ich_node.core.states import StudyState

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
DEADLINE_S = 1800.0
SECOND = timedelta(seconds=1)
RECEIVING = OpenStudy(
    study_id=1,
    state=StudyState.RECEIVING,
    first_instance_at=NOW - timedelta(seconds=DEADLINE_S) - SLACK,
    ready_at=None,
    next_attempt_at=None,
    due_at=None,
    lease_until=None,
)
READY = replace(
    RECEIVING, state=StudyState.READY, ready_at=NOW - READ_WITHIN, next_attempt_at=NOW - READ_WITHIN
)


@pytest.mark.parametrize(
    ("study", "stuck"),
    [
        (RECEIVING, False),
        (replace(RECEIVING, first_instance_at=RECEIVING.first_instance_at - SECOND), True),
        (READY, False),
        (replace(READY, ready_at=READY.ready_at - SECOND, next_attempt_at=READY.ready_at - SECOND), True),
        # its next attempt is due later
        (replace(READY, ready_at=READY.ready_at - SECOND), False),
        # it stands back for more urgent ones
        (replace(READY, ready_at=READY.ready_at - SECOND, due_at=NOW - READ_WITHIN), False),
        # no worker takes one without a time
        (replace(READY, next_attempt_at=None), True),
        (replace(READY, ready_at=None), True),
        # somebody works on it
        (replace(READY, next_attempt_at=None, lease_until=NOW), False),
        (replace(READY, next_attempt_at=None, lease_until=NOW - SECOND), True),
    ],
)
def test_a_study_is_stuck_past_its_deadline(study, stuck):
    assert is_stuck(study, now=NOW, deadline_s=DEADLINE_S) is stuck


def test_what_is_neither_open_nor_ended_is_unaccounted():
    assert Balance(received=7, outcomes={"positive": 2, "ignored": 3}, still_open=2).unaccounted == 0
    assert Balance(received=7, outcomes={"positive": 2, "ignored": 2}, still_open=2).unaccounted == 1


def test_each_discrepancy_says_what_helps():
    assert all(kind.sentence for kind in Discrepancy)
