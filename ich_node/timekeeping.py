"""Goes on from now where the clock of this machine was set: nothing waits for it, nothing ends early."""

import threading
import time
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.background import BackgroundScheduler

from ich_node.core.clock import STEP_S, Look, step_s
from ich_node.errors import Collision, DatabaseAway
from ich_node.log import logger
from ich_node.store.clock import go_on_from, newest_event_at
from ich_node.store.database import Database

LOOK_AT_CLOCK_S = 1


class WallClock:
    """The wall clock, and whether it still goes as the steady one does."""

    def __init__(self) -> None:
        self._trusted = _both_clocks()

    def stepped_s(self) -> float:
        """By how much it was set since it was last trusted, 0 where it was not."""
        return step_s(self._trusted, _both_clocks())

    def trust(self) -> None:
        """Take it as it is from here on: whatever waits by it has been told."""
        self._trusted = _both_clocks()


def watch_the_clock(
    database: Database,
    scheduler: BackgroundScheduler,
    clock: WallClock,
    stop: threading.Event,
    *,
    lease_s: float,
) -> None:
    """Until `stop`, notice where the clock is set; where it was set back before we came the rows show it."""
    behind = True
    while True:
        behind = behind and not _catch_up(database, lease_s)
        if stop.wait(LOOK_AT_CLOCK_S):
            return
        if stepped_s := clock.stepped_s():
            logger().warning("clock.was_set", seconds=round(stepped_s))
            for job in scheduler.get_jobs():
                job.modify(next_run_time=_now())
            if not _told(database, lease_s):
                continue  # the database is away: nothing is judged by the clock before it knows
        clock.trust()


def _catch_up(database: Database, lease_s: float) -> bool:
    """Where the rows are ahead of the clock, go on from now; False: the database is away, look again."""
    try:
        with database.reading() as connection:
            newest = newest_event_at(connection)
    except (Collision, DatabaseAway):
        return False
    return newest is None or newest <= _now() + timedelta(seconds=STEP_S) or _told(database, lease_s)


def _told(database: Database, lease_s: float) -> bool:
    try:
        with database.transaction() as connection:
            count = go_on_from(connection, now=_now(), lease_s=lease_s)
    except (Collision, DatabaseAway):
        return False
    if count:
        logger().warning("clock.rows_moved", count=count)
    return True


def _both_clocks() -> Look:
    return Look(wall_s=time.time(), steady_s=time.monotonic())


def _now() -> datetime:
    return datetime.now(UTC)
