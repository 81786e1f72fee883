"""The clock of the node (APScheduler): asks what is whole and whether all adds up, forgets, retrains."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from apscheduler.schedulers.background import BackgroundScheduler

from ich_node.audit_channel import AuditChannel
from ich_node.canary import CanaryWatch, remove_old_canaries, sending_child
from ich_node.errors import DatabaseAway
from ich_node.intake.close import close_complete_studies
from ich_node.intake.compare import SourceWatch
from ich_node.intake.early import EarlyWatch
from ich_node.intake.forget import forget_old_images, make_room
from ich_node.intake.trail import record_what_gone_receivers_took
from ich_node.log import logger
from ich_node.reconcile import check_files, check_rows
from ich_node.retraining.run import run_requested
from ich_node.settings.sections import Tls
from ich_node.settings.tree import Settings
from ich_node.store.database import Database, await_current
from ich_node.store.files import Archive
from ich_node.store.pulse import Pulse
from ich_node.store.tallies import carry_forward
from ich_node.timekeeping import WallClock, watch_the_clock

DAY_S = 86_400.0
SHORT_S, LONG_S, VERY_LONG_S, TRAINING_S = 120.0, 3600.0, 2 * DAY_S, 14 * DAY_S


@dataclass(frozen=True, kw_only=True)
class Job:
    """Something periodic: how often, what, and how long one turn may take before it counts as hung."""

    every_s: float
    name: str
    work: Callable[[], object]
    within_s: float = SHORT_S
    first_s: float | None = None  # after the start; None: as often as it comes


def run(settings: Settings, stop: threading.Event, *, settings_file: Path | None = None) -> None:
    """Keep time until `stop`; one job never runs twice at once, and a late one runs once."""
    database = Database(settings.database_url)
    if not await_current(database, stop):
        return
    pulse = Pulse(database, "schedule")
    scheduler = BackgroundScheduler(
        timezone=UTC, job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
    )
    clock = WallClock()
    for job in _jobs(database, settings, clock, stop, settings_file):
        first_at = _now() + timedelta(seconds=job.every_s if job.first_s is None else job.first_s)
        scheduler.add_job(
            _guarded,
            "interval",
            args=(job, pulse),
            seconds=job.every_s,
            id=job.name,
            next_run_time=first_at,
        )
    scheduler.start()
    watch_the_clock(database, scheduler, clock, stop, lease_s=settings.analysis.lease_s)
    scheduler.shutdown(wait=True)
    pulse.end()
    database.dispose()


def _jobs(
    database: Database,
    settings: Settings,
    clock: WallClock,
    stop: threading.Event,
    settings_file: Path | None,
) -> Iterator[Job]:
    archive = Archive(settings.storage.folder, reserve_mb=settings.storage.reserve_mb)
    yield from _jobs_of_arrival(database, settings, archive, clock, stop)
    yield from _jobs_of_the_archive(database, settings, archive)
    yield from _jobs_of_the_watch(database, settings, archive, stop, settings_file)
    yield from _jobs_over_tls(database, settings)
    yield Job(
        every_s=2,
        name="retrain",
        work=lambda: run_requested(database, settings, stop),
        within_s=TRAINING_S,
    )


def _jobs_of_arrival(
    database: Database, settings: Settings, archive: Archive, clock: WallClock, stop: threading.Event
) -> Iterator[Job]:
    early = EarlyWatch(database, archive, settings.rules)
    sources = SourceWatch(database, archive, settings, stop)

    def _complete() -> None:
        if clock.stepped_s():
            return  # seconds that a clock skipped are no silence; `watch_the_clock` tells the rows first
        facts = settings.completion
        close_complete_studies(database, now=_now(), quiet_s=facts.quiet_s, deadline_s=facts.deadline_s)

    yield Job(every_s=0.5, name="complete", work=_complete)
    yield Job(every_s=1, name="compare", work=lambda: sources.look(now=_now()), within_s=LONG_S)
    yield Job(every_s=0.5, name="look early", work=lambda: early.look(now=_now()))


def _jobs_of_the_archive(database: Database, settings: Settings, archive: Archive) -> Iterator[Job]:
    storage = settings.storage

    def _forget() -> None:
        forget_old_images(database, archive, storage, now=_now())
        remove_old_canaries(database, archive, now=_now())
        record_what_gone_receivers_took(database, ours=settings.receiver.ae_title, now=_now())

    yield Job(every_s=600, name="forget", work=_forget, within_s=LONG_S)
    yield Job(
        every_s=15,  # between the moment at which it begins and the reserve lie 2 GB, as shipped
        name="make room",
        work=lambda: make_room(database, archive, storage, now=_now()),
        within_s=LONG_S,
    )


def _jobs_of_the_watch(
    database: Database,
    settings: Settings,
    archive: Archive,
    stop: threading.Event,
    settings_file: Path | None,
) -> Iterator[Job]:
    started_at = _now()
    canaries = CanaryWatch(database, settings, sending_child(settings_file, stop), running_since=started_at)

    def _carry_forward() -> None:
        with database.transaction() as connection:
            carry_forward(connection, now=_now())

    yield Job(
        every_s=300,
        name="rows add up",
        work=lambda: check_rows(database, settings, made_since=started_at, now=_now()),
        within_s=LONG_S,
    )
    yield Job(
        every_s=6 * 3600,
        first_s=600,  # a scheduler that is started often must come to it too
        name="files add up",
        work=lambda: check_files(database, archive, stop, ours=settings.receiver.ae_title, now=_now()),
        within_s=VERY_LONG_S,
    )
    yield Job(every_s=60, name="count", work=_carry_forward, within_s=LONG_S)
    yield Job(every_s=5, name="canary", work=lambda: canaries.look(now=_now()), within_s=LONG_S)


def _jobs_over_tls(database: Database, settings: Settings) -> Iterator[Job]:
    if settings.audit.host:
        channel = AuditChannel(database, settings.audit, settings.tls)
        yield Job(every_s=5, name="audit", work=lambda: channel.look(now=_now()), within_s=LONG_S)
    if settings.tls.certificate:
        _look_at_certificates(settings.tls)
        yield Job(every_s=DAY_S, name="certificates", work=lambda: _look_at_certificates(settings.tls))


def _look_at_certificates(files: Tls) -> None:
    from ich_node.certificates import warn_of_ends

    warn_of_ends(files, now=_now())


def _guarded(job: Job, pulse: Pulse) -> None:
    """Run a job; whatever goes wrong is logged by its kind, and the next turn comes."""
    within_s, trouble = job.every_s + job.within_s, None
    pulse.beat(job.name, loop=job.name, within_s=within_s)
    try:
        job.work()
    except DatabaseAway as error:
        logger().error("database.away", job=job.name, error=type(error).__name__)
    except Exception as error:  # noqa: BLE001  one failing job must not silence the others
        logger().error("job.failed", job=job.name, error=type(error).__name__)
        trouble = f"{job.name} fails: {type(error).__name__}"
    pulse.beat(job.name, loop=job.name, within_s=within_s, trouble=trouble)


def _now() -> datetime:
    return datetime.now(UTC)
