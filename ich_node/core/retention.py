"""Which studies' images may go: finished, delivered and old; ignored ones first. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A finished study whose images are still on the disk."""

    study_id: int
    ignored: bool
    undelivered: int  # deliveries that have not reached their end
    refused: int = 0  # deliveries that ended without success
    labelled: bool
    finished_at: datetime


def to_forget(
    studies: Sequence[Kept], *, now: datetime, keep_days: float, disk_is_near_reserve: bool
) -> list[int]:
    """The studies whose images go now, in the order in which they should go.

    Undelivered ones never go; labelled ones are wanted for retraining and stay. Near the disk reserve age
    no longer counts: ignored studies go first, then the oldest; and a report that was refused for good, which
    can still be sent again, no longer holds its images: a destination that takes one kind only would fill
    the disk.
    """
    free_to_go = [study for study in studies if study.undelivered == 0 and not study.labelled]
    if not disk_is_near_reserve:
        limit = now - timedelta(days=keep_days)
        free_to_go = [study for study in free_to_go if study.finished_at < limit and not study.refused]
    return [
        study.study_id
        for study in sorted(
            free_to_go, key=lambda study: (not study.ignored, study.refused > 0, study.finished_at)
        )
    ]
