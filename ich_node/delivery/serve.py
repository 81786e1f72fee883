"""The delivering process: each destination has threads of its own. Uses the network and the database."""

import threading
import warnings
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from ich_node.core.retry import RetryPolicy
from ich_node.core.states import DeliveryState
from ich_node.delivery.confirm import confirm_due
from ich_node.delivery.reach import Sending, confirming, probing
from ich_node.delivery.send import deliver_due
from ich_node.errors import Collision, DatabaseAway
from ich_node.log import logger
from ich_node.network import adjust_pynetdicom
from ich_node.settings.sections import Destination
from ich_node.settings.tree import Settings
from ich_node.store.alarms import raise_alarms
from ich_node.store.database import Database, await_current
from ich_node.store.deliveries import end_deliveries_elsewhere
from ich_node.store.hints import Hints, Topic
from ich_node.store.leases import free_leases_of_the_dead
from ich_node.store.pulse import Pulse
from ich_node.store.writer import this_process
from ich_node.tls import Credentials, credentials_of

LOOK_EVERY_S = 0.5  # where no hint comes
AFTER_ERROR_S = 5.0
LOOK_OVER_EVERY_S = 10.0
# one turn at a destination: more answers than reports go over one association (delivery.send)
TURN_WITHIN_S, TURN_TIMEOUTS = 60.0, 60
STRAY_AFTER = timedelta(days=1)
NO_SUCH_DESTINATION = "the destination is no longer in the settings"

Step = Callable[[Database, Sending], int]


def run(settings: Settings, stop: threading.Event) -> None:
    """Serve every destination in threads of its own until `stop` is set; in quiet mode send nothing.

    A database that is away is waited for. Raises UsageError where it is not of this version.
    """
    adjust_pynetdicom()
    warnings.simplefilter("ignore")  # pydicom's would print values of the patient to standard error
    database = Database(settings.database_url)
    credentials = credentials_of(settings.tls)
    pulse = Pulse(database, "deliver")
    steps = [(destination, step) for destination in _served(settings) for step in _steps(destination)]
    threads = []
    for destination, step in steps:
        sending = replace(_sending(settings, destination, step, credentials), ends=stop.is_set)
        threads.append(threading.Thread(target=_serve, args=(database, sending, step, stop, pulse)))
    if await_current(database, stop):
        free_leases_of_the_dead(database, now=datetime.now(UTC))
        for thread in threads:
            thread.start()
        logger().info("deliver.started", mode=settings.mode, count=len(threads))
        _look_over(database, settings, stop, pulse)
        for thread in threads:
            thread.join()
        pulse.end()
    database.dispose()
    logger().info("deliver.stopped")


def _served(settings: Settings) -> tuple[Destination, ...]:
    return () if settings.mode == "quiet" else settings.destinations


def _steps(destination: Destination) -> list[Step]:
    """What is done for a destination, each in a thread: a look at what it keeps delays no report."""
    return [deliver_due] if destination.confirm == "none" else [deliver_due, confirm_due]


def _sending(
    settings: Settings, destination: Destination, step: Step, credentials: Credentials | None
) -> Sending:
    facts = settings.delivery
    return Sending(
        destination=destination,
        policy=RetryPolicy(attempts=facts.attempts, first_s=facts.retry_s, longest_s=facts.retry_max_s),
        calling_ae_title=settings.receiver.ae_title,
        timeout_s=facts.timeout_s,
        credentials=credentials,
        holder=this_process().holder(f"{destination.name} {step.__name__}"),
        now=lambda: datetime.now(UTC),
        probing=probing(facts),
        confirming=confirming(facts),
    )


def _serve(database: Database, sending: Sending, step: Step, stop: threading.Event, pulse: Pulse) -> None:
    name = f"{sending.destination.name} {step.__name__}"
    within_s = TURN_WITHIN_S + TURN_TIMEOUTS * sending.timeout_s
    hints = Hints(database, Topic.REPORTS) if step is deliver_due else None  # nobody hurries for a proof
    pause_s = 0.0
    while not _ended(stop, hints, pause_s):
        try:
            pulse.beat(name, loop=name, within_s=within_s)
            pause_s = 0.0 if step(database, sending) else LOOK_EVERY_S
        except (Collision, DatabaseAway):
            pause_s = AFTER_ERROR_S
        except Exception as error:  # noqa: BLE001  # the destination's thread goes on, whatever one report does
            logger().error("deliver.failed", destination=sending.destination.name, error=type(error).__name__)
            pause_s = AFTER_ERROR_S
    if hints is not None:
        hints.close()


def _ended(stop: threading.Event, hints: Hints | None, pause_s: float) -> bool:
    """Pause, for less where a hint comes; returns whether the end has come."""
    if hints is None or pause_s != LOOK_EVERY_S:
        return stop.wait(pause_s)
    hints.wait(stop, pause_s)
    return stop.is_set()


def _look_over(database: Database, settings: Settings, stop: threading.Event, pulse: Pulse) -> None:
    """Until `stop`: say what is late; end what waits for destinations that nobody serves."""
    pause_s = 0.0
    while not stop.wait(pause_s):
        pause_s = LOOK_OVER_EVERY_S
        try:
            pulse.beat("looks over")
            end_strays(database, settings, now=datetime.now(UTC))
            alarm(database, settings, now=datetime.now(UTC))
        except (Collision, DatabaseAway) as error:
            logger().error("database.away", error=str(error))
        except Exception as error:  # noqa: BLE001  without it alarms would end, and the threads go on
            logger().error("deliver.failed", error=type(error).__name__)


def end_strays(database: Database, settings: Settings, *, now: datetime) -> None:
    """End what waits for destinations that the settings no longer name; it would hold its images for ever."""
    names = [destination.name for destination in settings.destinations]
    with database.transaction() as connection:
        count = end_deliveries_elsewhere(
            connection, names, older_than=now - STRAY_AFTER, error=NO_SUCH_DESTINATION, now=now
        )
    if count:
        logger().error("delivery.given_up", count=count, error=NO_SUCH_DESTINATION)


def alarm(database: Database, settings: Settings, *, now: datetime) -> None:
    """Say, once each, which reports no destination took in time, and which were not proven in time."""
    names = [destination.name for destination in _served(settings)]
    queued_before = now - timedelta(seconds=settings.delivery.alarm_after_s)
    with database.transaction() as connection:
        alarms = raise_alarms(
            connection, names, proving=settings.proving, queued_before=queued_before, now=now
        )
    for one in alarms:
        logger().error(
            "delivery.late" if one.state is DeliveryState.PENDING else "delivery.not_confirmed",
            delivery=one.delivery_id,
            study=one.study_id,
            destination=one.destination,
        )
