"""Follows studies through a running node, by its database, until each has its outcome and is reported."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ich_node.core.states import DeliveryState, StudyState
from ich_node.errors import IchNodeError
from ich_node.store.database import Database
from ich_node.store.deliveries import Delivery, deliveries_of
from ich_node.store.readings import Reading, Report, readings_of, reports_of
from ich_node.store.studies import Study, find_study

POLL_S = 0.2


@dataclass(frozen=True, kw_only=True)
class Walked:
    """A study on its way: the row, readings of its newest revision, its newest reports, their deliveries."""

    study: Study
    readings: tuple[Reading, ...]
    reports: tuple[Report, ...]
    deliveries: tuple[Delivery, ...]

    @property
    def leading(self) -> Reading | None:
        return next((reading for reading in self.readings if reading.leading), None)


def look(database: Database, study_uid: str) -> Walked | None:
    """Where a study stands now; None where the node has not heard of it."""
    with database.reading() as connection:
        study = find_study(connection, study_uid)
        if study is None:
            return None
        reports = reports_of(connection, study.id)
        newest = reports[0].revision if reports else 0
        return Walked(
            study=study,
            readings=tuple(readings_of(connection, study.id, study.revision)),
            reports=tuple(report for report in reports if report.revision == newest),
            deliveries=tuple(d for d in deliveries_of(connection, study.id) if d.revision == newest),
        )


def stage_of(walked: Walked | None) -> str:
    """Where a study stands, in words for somebody who watches."""
    if walked is None:
        return "sending"
    if walked.study.state is StudyState.RECEIVING:
        return "received; waiting until it is complete"
    if walked.study.state is StudyState.READY:
        return "reading" if walked.study.lease_holder else "complete; waiting for a worker"
    return "done" if is_at_its_end(walked) else "reporting to the PACS"


def is_at_its_end(walked: Walked | None) -> bool:
    """Whether nothing more will happen: an outcome is there and every delivery has reached its end."""
    return (
        walked is not None
        and walked.study.state is StudyState.FINISHED
        and all(delivery.state is not DeliveryState.PENDING for delivery in walked.deliveries)
    )


def follow(
    database: Database, study_uids: Sequence[str], *, within_s: float, tell: Callable[[str, str], None]
) -> dict[str, Walked]:
    """Wait for all studies; `tell` hears (study UID, stage). Raises IchNodeError after `within_s`."""
    end = time.monotonic() + within_s
    ended: dict[str, Walked] = {}
    while time.monotonic() < end:
        for uid in study_uids:
            walked = look(database, uid)
            tell(uid, stage_of(walked))
            if walked is not None and is_at_its_end(walked):
                ended[uid] = walked
        if len(ended) == len(study_uids):
            return ended
        time.sleep(POLL_S)
    missing = len(study_uids) - len(ended)
    raise IchNodeError(f"{missing} of {len(study_uids)} studies had no outcome within {within_s:.0f} s")
