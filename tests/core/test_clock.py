"""A wall clock that was set is told from one that was not looked at for a while."""

import pytest

from ich_node.core.clock import Look, step_s

BEFORE = Look(wall_s=1_800_000_000, steady_s=50)


@pytest.mark.parametrize(
    ("wall_s", "steady_s", "stepped_s"),
    [
        (1, 1, 0),
        (3600, 3600, 0),  # the process slept
        (1.5, 0.2, 0),  # slewed by NTP
        (3601, 1, 3600),
        (-3599, 1, -3600),
        (1, 3601, -3600),  # it was set back while nobody looked
    ],
)
def test_a_step_is_what_the_steady_clock_did_not_count(wall_s, steady_s, stepped_s):
    after = Look(wall_s=BEFORE.wall_s + wall_s, steady_s=BEFORE.steady_s + steady_s)

    assert step_s(BEFORE, after) == stepped_s
