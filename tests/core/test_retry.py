"""When something is tried again, and when no more."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ich_node.core.retry import RetryPolicy, look_again_at, next_attempt_at

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
POLICY = RetryPolicy(attempts=5, first_s=10, longest_s=60)


def test_pauses_double_up_to_the_longest():
    pauses = [next_attempt_at(POLICY, attempts_made=made, now=NOON) - NOON for made in range(1, 5)]

    assert [pause.total_seconds() for pause in pauses] == [10, 20, 40, 60]


def test_the_last_attempt_has_no_successor():
    assert next_attempt_at(POLICY, attempts_made=5, now=NOON) is None


@given(
    made=st.integers(min_value=1, max_value=10_000),
    jitter=st.floats(min_value=0, max_value=1),
    attempts=st.integers(min_value=1, max_value=20_000),
)
def test_a_pause_is_never_negative_and_never_longer_than_a_quarter_above_the_longest(made, jitter, attempts):
    policy = RetryPolicy(attempts=attempts, first_s=5, longest_s=900)

    again = next_attempt_at(policy, attempts_made=made, now=NOON, jitter=jitter)

    assert (again is None) == (made >= attempts)
    if again is not None:
        assert timedelta(0) < again - NOON <= timedelta(seconds=900 * 1.25)


def test_what_may_come_is_looked_for_less_and_less_often_until_its_time_is_over():
    def after(seconds: float) -> float | None:
        now = NOON + timedelta(seconds=seconds)
        found = look_again_at(since=NOON, limit_s=600, first_s=5, now=now)
        return None if found is None else (found - NOON).total_seconds()

    assert [after(seconds) for seconds in (0, 40, 400, 599, 600)] == [5, 50, 500, 600, None]
