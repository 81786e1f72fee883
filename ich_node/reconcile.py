"""Proves that everything received has its end: rows against rows, files against rows. Alarms once each."""

import threading
from datetime import datetime, timedelta

from ich_node.core.reconciliation import Discrepancy, is_stuck
from ich_node.intake.adopt import find_lost, reconcile
from ich_node.log import logger
from ich_node.settings.tree import Settings
from ich_node.store.database import Connection, Database
from ich_node.store.files import Archive
from ich_node.store.reconciliation import (
    Found,
    keep_discrepancies,
    open_studies,
    without_delivery,
    without_outcome,
    without_report,
)

LOOK_BACK = timedelta(days=28)  # how long a study is looked at again after its end
ROWS = frozenset(Discrepancy) - {Discrepancy.FILE_LOST}
WRITTEN_LONG_AGO = timedelta(hours=1)  # a file without a row is a crash's, not one whose row is on its way


def check_rows(database: Database, settings: Settings, *, made_since: datetime, now: datetime) -> list[Found]:
    """Look for studies whose rows do not add up; returns what is new.

    Deliveries are expected of reports made since `made_since`: of earlier ones nobody knows any more which
    destinations the settings named then.
    """
    with database.reading() as connection:
        found = _found(connection, settings, made_since, now)
    with database.transaction() as connection:
        new = keep_discrepancies(connection, ROWS, found, now=now)
    _alarm(new)
    return new


def _found(connection: Connection, settings: Settings, made_since: datetime, now: datetime) -> set[Found]:
    deadline_s = settings.completion.deadline_s
    finished_since = now - LOOK_BACK
    destinations = settings.receiving()
    by_kind = {
        Discrepancy.STUCK: [
            study.study_id
            for study in open_studies(connection)
            if is_stuck(study, now=now, deadline_s=deadline_s)
        ],
        Discrepancy.NO_OUTCOME: without_outcome(connection),
        Discrepancy.NO_REPORT: without_report(connection, finished_since=finished_since),
        Discrepancy.NO_DELIVERY: without_delivery(
            connection, destinations, finished_since=finished_since, made_since=made_since
        ),
    }
    return {(kind, study_id) for kind, studies in by_kind.items() for study_id in studies}


def check_files(
    database: Database, archive: Archive, stop: threading.Event, *, ours: str, now: datetime
) -> list[Found]:
    """Adopt files that have no row, and look for rows whose file is gone; returns what is new.

    `ours` is our AE title. A large archive takes hours; at `stop` it ends with nothing said.
    """
    reconcile(database, archive, ours=ours, now=now - WRITTEN_LONG_AGO, stopped=stop.is_set)
    lost = find_lost(database, archive, stopped=stop.is_set)
    if lost is None:
        return []
    found = {(Discrepancy.FILE_LOST, study_id) for study_id in lost}
    with database.transaction() as connection:
        new = keep_discrepancies(connection, {Discrepancy.FILE_LOST}, found, now=now)
    _alarm(new)
    return new


def _alarm(new: list[Found]) -> None:
    for kind, study_id in new:
        logger().error("study.does_not_add_up", study=study_id, reason=kind)
