"""When a study counts as whole."""

from datetime import UTC, datetime, timedelta

import pytest

from ich_node.core.completion import Arrival, Completion, decide

NOON = datetime(2026, 3, 29, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("first_s_ago", "last_s_ago", "open_associations", "expected"),
    [
        (5, 5, 0, Completion.WAIT),  # not quiet yet
        (60, 30, 0, Completion.WHOLE),  # quiet as long as asked for
        (60, 29.9, 0, Completion.WAIT),
        (60, 59, 1, Completion.WAIT),  # silence counts for nothing while the sender is connected
        (1800, 1, 0, Completion.DEADLINE),
        (1800, 1, 3, Completion.DEADLINE),  # an association that hangs does not keep a study for ever
        (1799, 1, 1, Completion.WAIT),
    ],
)
def test_a_study_is_whole_when_it_is_quiet_and_nobody_is_connected(
    first_s_ago, last_s_ago, open_associations, expected
):
    arrival = Arrival(
        first_instance_at=NOON - timedelta(seconds=first_s_ago),
        last_instance_at=NOON - timedelta(seconds=last_s_ago),
        open_associations=open_associations,
    )

    assert decide(arrival, now=NOON, quiet_s=30, deadline_s=1800) is expected


def test_a_clock_set_back_makes_nothing_whole():
    arrival = Arrival(
        first_instance_at=NOON + timedelta(hours=1),
        last_instance_at=NOON + timedelta(hours=1),
        open_associations=0,
    )

    assert decide(arrival, now=NOON, quiet_s=30, deadline_s=1800) is Completion.WAIT
