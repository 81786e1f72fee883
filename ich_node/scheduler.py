"""The clock of the node (APScheduler): asks what is whole, forgets old images, runs retraining."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.background import BackgroundScheduler

from ich_node.core.clock import STEP_S, Look, step_s
from ich_node.errors import DatabaseAway
from ich_node.intake.close import close_complete_studies
from ich_node.intake.compare import SourceWatch
from ich_node.intake.early import EarlyWatch
from ich_node.intake.forget import forget_old_images
from ich_node.log import logger
from ich_node.retraining.run import run_requested
from ich_node.settings.sections import Tls
from ich_node.settings.tree import Settings
from ich_node.store.clock import newest_event_at, pull_back
from ich_node.store.database import Database, await_current
from ich_node.store.files import Archive

COMPLETE_EVERY_S = 0.5
COMPARE_EVERY_S = 1
RETRAIN_EVERY_S = 2
FORGET_EVERY_S = 600
LOOK_AT_CLOCK_S = 1
CERTIFICATES_EVERY_S = 24 * 3600


def run(settings: Settings, stop: threading.Event) -> None:
    """Keep time until `stop`; one job never runs twice at once, and a late one runs once."""
    database = Database(settings.database_url)
    if not await_current(database, stop):
        return
    archive = Archive(settings.storage.folder, reserve_mb=settings.storage.reserve_mb)
    scheduler = BackgroundScheduler(
        timezone=UTC, job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
    )

    def _every(seconds: float, name: str, job: Callable[[], object]) -> None:
        scheduler.add_job(_guarded, "interval", args=(name, job), seconds=seconds, id=name)

    early = EarlyWatch(database, archive, settings.rules)
    _every(COMPLETE_EVERY_S, "complete", lambda: _complete(database, settings))
    sources = SourceWatch(database, archive, settings, stop)
    _every(COMPARE_EVERY_S, "compare", lambda: sources.look(now=_now()))
    _every(COMPLETE_EVERY_S, "look early", lambda: early.look(now=_now()))
    _every(
        FORGET_EVERY_S, "forget", lambda: forget_old_images(database, archive, settings.storage, now=_now())
    )
    _every(RETRAIN_EVERY_S, "retrain", lambda: run_requested(database, settings, stop))
    if settings.tls.certificate:
        _look_at_certificates(settings.tls)
        _every(CERTIFICATES_EVERY_S, "certificates", lambda: _look_at_certificates(settings.tls))
    scheduler.start()
    _watch_the_clock(database, scheduler, stop)
    scheduler.shutdown(wait=True)
    database.dispose()


def _complete(database: Database, settings: Settings) -> None:
    completion = settings.completion
    close_complete_studies(database, now=_now(), quiet_s=completion.quiet_s, deadline_s=completion.deadline_s)


def _watch_the_clock(database: Database, scheduler: BackgroundScheduler, stop: threading.Event) -> None:
    """Until `stop`, notice where the clock is set; where it was set back before we came the rows show it."""
    _guarded("clock", lambda: _go_on_from_now(database, scheduler, only_if_ahead=True))
    before = _both_clocks()
    while not stop.wait(LOOK_AT_CLOCK_S):
        after = _both_clocks()
        if stepped_s := step_s(before, after):
            logger().warning("clock.was_set", seconds=round(stepped_s))
            _guarded("clock", lambda: _go_on_from_now(database, scheduler))
        before = after


def _go_on_from_now(
    database: Database, scheduler: BackgroundScheduler, *, only_if_ahead: bool = False
) -> None:
    """Let nothing wait for a time that was reached before the clock was set back."""
    with database.transaction() as connection:
        newest = newest_event_at(connection)
        ahead = newest is not None and newest > _now() + timedelta(seconds=STEP_S)
        count = pull_back(connection, now=_now()) if ahead or not only_if_ahead else 0
    if count:
        logger().warning("clock.rows_pulled_back", count=count)
    for job in scheduler.get_jobs():
        job.modify(next_run_time=_now())


def _both_clocks() -> Look:
    return Look(wall_s=time.time(), steady_s=time.monotonic())


def _look_at_certificates(files: Tls) -> None:
    from ich_node.certificates import warn_of_ends

    warn_of_ends(files, now=_now())


def _guarded(name: str, job: Callable[[], object]) -> None:
    """Run a job; whatever goes wrong is logged by its kind, and the next turn comes."""
    try:
        job()
    except DatabaseAway as error:
        logger().error("database.away", job=name, error=type(error).__name__)
    except Exception as error:  # noqa: BLE001  one failing job must not silence the others
        logger().error("job.failed", job=name, error=type(error).__name__)


def _now() -> datetime:
    return datetime.now(UTC)
