"""Goes on from now where the clock of this machine was set: nothing waits until it has caught up."""

import threading
import time
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.background import BackgroundScheduler

from ich_node.core.clock import STEP_S, Look, step_s
from ich_node.errors import Collision, DatabaseAway
from ich_node.log import logger
from ich_node.store.clock import newest_event_at, pull_back
from ich_node.store.database import Database

LOOK_AT_CLOCK_S = 1


def watch_the_clock(database: Database, scheduler: BackgroundScheduler, stop: threading.Event) -> None:
    """Until `stop`, notice where the clock is set; where it was set back before we came the rows show it."""
    behind = not _go_on_from_now(database, scheduler, only_if_ahead=True)
    before = _both_clocks()
    while not stop.wait(LOOK_AT_CLOCK_S):
        after = _both_clocks()
        if stepped_s := step_s(before, after):
            logger().warning("clock.was_set", seconds=round(stepped_s))
            behind = True
        before = after
        behind = behind and not _go_on_from_now(database, scheduler)


def _go_on_from_now(
    database: Database, scheduler: BackgroundScheduler, *, only_if_ahead: bool = False
) -> bool:
    """Let nothing wait for a time that the clock had reached before it was set; False: it is away, again."""
    for job in scheduler.get_jobs():
        job.modify(next_run_time=_now())
    try:
        with database.transaction() as connection:
            newest = newest_event_at(connection)
            ahead = newest is not None and newest > _now() + timedelta(seconds=STEP_S)
            count = pull_back(connection, now=_now()) if ahead or not only_if_ahead else 0
    except (Collision, DatabaseAway):
        return False
    if count:
        logger().warning("clock.rows_pulled_back", count=count)
    return True


def _both_clocks() -> Look:
    return Look(wall_s=time.time(), steady_s=time.monotonic())


def _now() -> datetime:
    return datetime.now(UTC)
