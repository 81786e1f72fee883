"""When a canary is due, and what its end means. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from ich_node.vocabulary import Outcome

AFTER_START = timedelta(minutes=1)
# one that is declined was not read: where decoding fails for all, it fails for patients too
ANSWERS = frozenset({Outcome.POSITIVE, Outcome.NEGATIVE, Outcome.INDETERMINATE})
# what a canary's header says: by this it is known where no row tells (a database may be an older one)
PATIENT_ID, STUDY_DESCRIPTION = "CANARY", "CT HEAD, SYNTHETIC CANARY"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A canary that ended; `trouble` says why it counts as failed."""

    outcome: str | None
    trouble: str | None


def verdict(outcome: str | None, *, begun_at: datetime, now: datetime, within_s: float) -> Verdict | None:
    """Judge a canary by its outcome; None while it may still be on its way."""
    if outcome in ANSWERS:
        return Verdict(outcome=outcome, trouble=None)
    if outcome is not None:
        return Verdict(outcome=outcome, trouble=f"ended as {outcome}")
    if now - begun_at >= timedelta(seconds=within_s):
        return Verdict(outcome=None, trouble="no outcome in time")
    return None


def is_due(last_begun_at: datetime | None, *, running_since: datetime, now: datetime, every_s: float) -> bool:
    """Whether another canary is to be sent; at the start of a node it waits until the receiver answers."""
    if every_s <= 0 or now - running_since < AFTER_START:
        return False
    return last_begun_at is None or now - last_begun_at >= timedelta(seconds=every_s)
