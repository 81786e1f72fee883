"""When a destination that cannot be reached is tried again, as a whole (a circuit breaker). Pure."""

from dataclasses import dataclass, replace
from datetime import datetime

from ich_node.core.retry import pause


@dataclass(frozen=True, kw_only=True)
class ProbePolicy:
    """After how many failures in a row a destination is away, and how far apart it is tried; seconds."""

    away_after: int
    first_s: float
    longest_s: float


@dataclass(frozen=True, kw_only=True)
class Outage:
    """A destination that could not be reached `failures` times in a row; tried once at `probe_at`."""

    destination: str
    failures: int
    since: datetime
    probe_at: datetime
    error: str


def after_failure(
    outage: Outage | None, destination: str, error: str, policy: ProbePolicy, *, now: datetime, jitter: float
) -> Outage:
    """The outage after one more failure to connect: the pause doubles once the destination is away."""
    before = outage or Outage(destination=destination, failures=0, since=now, probe_at=now, error=error)
    failures = before.failures + 1
    doublings = max(0, failures - policy.away_after + 1)
    wait = pause(policy.first_s, policy.longest_s, doublings=doublings, jitter=jitter)
    return replace(before, failures=failures, probe_at=now + wait, error=error)


def is_away(outage: Outage, policy: ProbePolicy) -> bool:
    """Whether it failed so often that somebody must hear of it."""
    return outage.failures >= policy.away_after
