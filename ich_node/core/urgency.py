"""Which study is read first. Pure; times come in as arguments.

Urgency is a handicap in seconds that is added to the moment from which a study waits, and the earliest sum
goes first. So a less urgent study is passed by more urgent ones, but not for ever: it ages.
"""

from datetime import datetime, timedelta
from enum import StrEnum

# what a study done earlier than this was done for has been seen to: priors and late transfers can wait
FRESH = timedelta(hours=12)
OLD_S = 4 * 3600
# what is to be read early may hold a bleed that nobody knows of; no whole study stands back for longer
EARLY_FIRST_S = 60
HIGH_PRIORITY, LOW_PRIORITY = 1, 2  # Priority of a C-STORE request; 0 is medium (PS3.7 9.3.1.1)


class Urgency(StrEnum):
    """How soon the studies of a sender are wanted."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


_LEVELS = tuple(Urgency)
_HANDICAPS_S = {Urgency.HIGH: 0, Urgency.NORMAL: 15 * 60, Urgency.LOW: 2 * 3600}
NORMAL_S = _HANDICAPS_S[Urgency.NORMAL]


def handicap_s(
    urgency: Urgency, *, priority: int = 0, studied_at: datetime | None = None, now: datetime
) -> int:
    """How many seconds a study stands back: by its sender, moved a level by the C-STORE priority, and by age.

    `studied_at` (aware) unknown or still to come counts as fresh: in doubt a study is urgent.
    """
    step = {HIGH_PRIORITY: -1, LOW_PRIORITY: 1}.get(priority, 0)
    level = _LEVELS[min(max(_LEVELS.index(urgency) + step, 0), len(_LEVELS) - 1)]
    is_old = studied_at is not None and now - studied_at > FRESH
    return _HANDICAPS_S[level] + (OLD_S if is_old else 0)
