"""What follows from asking a destination whether it keeps a report that it took. Pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ich_node.core.retry import RetryPolicy, next_attempt_at, pause
from ich_node.core.states import DeliveryEvent


class Finding(StrEnum):
    """What one look at a destination showed about one report."""

    KEPT = "kept"
    REPORTED_MISSING = "reported missing"  # it says itself that it does not keep it
    NOT_LISTED = "not listed"  # it does not list it, or not yet: an archive may file what it took later
    ASKED = "asked"  # it will answer in its own time (Storage Commitment)
    UNANSWERED = "unanswered"  # it did not do what was asked


@dataclass(frozen=True, kw_only=True)
class ConfirmPolicy:
    """How long a proof may take, how often one is asked for, how often what is missing is sent again."""

    within_s: float
    looks: RetryPolicy
    resends: int


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How far the search for proof of one report is: the last look counts."""

    looks: int
    resends: int
    confirm_by: datetime


@dataclass(frozen=True, kw_only=True)
class Consequence:
    """What happens to the delivery, if anything, and when to look again, if at all."""

    event: DeliveryEvent | None = None
    look_at: datetime | None = None


def consequence_of(
    finding: Finding, standing: Standing, policy: ConfirmPolicy, *, now: datetime, jitter: float = 0.0
) -> Consequence:
    """Judge one look: proven, missing (sent again a bounded number of times), or look again.

    Silence is no proof that a report is missing: a report that nobody speaks about stays sent, and alarmed.
    """
    if finding is Finding.KEPT:
        return Consequence(event=DeliveryEvent.PROVEN)
    overdue = now >= standing.confirm_by
    if finding is Finding.REPORTED_MISSING or (finding is Finding.NOT_LISTED and overdue):
        again = standing.resends < policy.resends
        return Consequence(event=DeliveryEvent.MISSED if again else DeliveryEvent.GIVEN_UP)
    look_at = next_attempt_at(policy.looks, attempts_made=standing.looks, now=now, jitter=jitter)
    if look_at is None:  # the last look is the one that judges
        return Consequence(look_at=None if overdue else standing.confirm_by)
    if finding is Finding.ASKED:
        # asked once it answers when it has archived; asking again and again would only load it
        look_at = now + pause(policy.looks.longest_s, policy.looks.longest_s, doublings=0, jitter=jitter)
        return Consequence(look_at=look_at if overdue else standing.confirm_by)
    return Consequence(look_at=look_at if overdue else min(look_at, standing.confirm_by))
