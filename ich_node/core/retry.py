"""When to try again: exponential back-off with jitter and an end. Pure; the jitter comes in as a number."""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How often and how far apart; seconds."""

    attempts: int
    first_s: float
    longest_s: float


def next_attempt_at(
    policy: RetryPolicy, *, attempts_made: int, now: datetime, jitter: float = 0.0
) -> datetime | None:
    """The time of the next attempt, or None where the attempts are used up.

    `jitter` in 0..1 stretches the pause by up to a quarter: what failed together shall not return together.
    """
    if attempts_made >= policy.attempts:
        return None
    return now + pause(policy.first_s, policy.longest_s, doublings=attempts_made - 1, jitter=jitter)


def pause(first_s: float, longest_s: float, *, doublings: int, jitter: float = 0.0) -> timedelta:
    """How long to wait: `first_s`, doubled so often, at most `longest_s`, stretched by the jitter."""
    # the exponent is bounded: 2.0 ** 2000 would overflow
    pause_s = min(longest_s, first_s * 2.0 ** min(doublings, 32))
    return timedelta(seconds=pause_s * (1 + jitter / 4))


def look_again_at(*, since: datetime, limit_s: float, first_s: float, now: datetime) -> datetime | None:
    """When to look next for what may come until `limit_s` after `since`; None: the time is over.

    The pause grows with what has passed: what came within seconds is seen within seconds.
    """
    end, passed = since + timedelta(seconds=limit_s), now - since
    if now >= end:
        return None
    return min(end, now + max(timedelta(seconds=first_s), passed / 4))
