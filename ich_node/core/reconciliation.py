"""What must add up in a node that loses nothing, and what does not. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from ich_node.core.states import StudyState

SLACK = timedelta(minutes=15)  # after a deadline, before somebody is called
READ_WITHIN = timedelta(hours=2)  # of the moment at which a study may be read: a queue is long, but moves


class Discrepancy(StrEnum):
    """In which way a study does not add up."""

    STUCK = "stuck"  # no outcome, and past every deadline
    NO_OUTCOME = "no outcome"  # finished without one
    NO_REPORT = "no report"  # an outcome that is reported, and no report of it
    NO_DELIVERY = "no delivery"  # a report that a destination should get, and nothing waits for it there
    FILE_LOST = "file lost"  # an acknowledged image is not in the archive

    @property
    def sentence(self) -> str:
        """What it means and what helps, for the doctor."""
        return _SENTENCES[self]


_SENTENCES = {
    Discrepancy.STUCK: "has no outcome and is past every deadline; see that worker and scheduler run, "
    "then `ich-node studies read-again ID`",
    Discrepancy.NO_OUTCOME: "is finished without an outcome; `ich-node studies read-again ID`",
    Discrepancy.NO_REPORT: "has an outcome and no report; `ich-node studies read-again ID`",
    Discrepancy.NO_DELIVERY: "has a report that is not meant for every destination; "
    "`ich-node studies send-again ID`",
    # what comes again is there already as a row: it opens no study anew
    Discrepancy.FILE_LOST: "has images whose files are gone; send the study again from the PACS, "
    "then `ich-node studies read-again ID`",
}


@dataclass(frozen=True, kw_only=True)
class OpenStudy:
    """A study without an outcome, as far as deadlines go."""

    study_id: int
    state: StudyState
    first_instance_at: datetime
    ready_at: datetime | None
    next_attempt_at: datetime | None
    due_at: datetime | None  # later than it is ready where it stands back for more urgent ones
    lease_until: datetime | None


def is_stuck(study: OpenStudy, *, now: datetime, deadline_s: float) -> bool:
    """Whether nothing will move this study by itself, as far as deadlines say."""
    if study.lease_until is not None and study.lease_until >= now:
        return False  # somebody says that he works on it
    if study.state is StudyState.RECEIVING:
        return now > study.first_instance_at + timedelta(seconds=deadline_s) + SLACK
    if study.ready_at is None or study.next_attempt_at is None:
        return True  # no worker would ever take it
    due_at = study.due_at or study.ready_at
    return now > max(study.ready_at, study.next_attempt_at, due_at) + READ_WITHIN


@dataclass(frozen=True, kw_only=True)
class Balance:
    """How many studies were received, how many of them have which outcome, how many are still open."""

    received: int
    outcomes: Mapping[str, int]
    still_open: int

    @property
    def unaccounted(self) -> int:
        """Studies that are neither open nor ended; 0 where everything adds up."""
        return self.received - sum(self.outcomes.values()) - self.still_open
