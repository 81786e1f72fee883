"""Sends reports by C-STORE, each destination on its own. Uses the network and the database."""

import os
import random
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

from pydicom import dcmread
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom.association import Association

from ich_node.core.retry import RetryPolicy, next_attempt_at
from ich_node.dicom.part10 import split
from ich_node.errors import (
    Collision,
    DatabaseAway,
    DeliveryFailed,
    DeliveryRefused,
    IchNodeError,
    LeaseLost,
)
from ich_node.log import logger
from ich_node.network import adjust_pynetdicom, association_with, hold_reactor, report_contexts
from ich_node.settings import Destination, Settings
from ich_node.store.database import Database, await_current
from ich_node.store.deliveries import (
    Parcel,
    claim_delivery,
    end_deliveries_elsewhere,
    give_up_delivery,
    mark_sent,
    postpone_delivery,
)

# success, and the warnings with which a peer keeps the object all the same (PS3.4 B.2.3)
TAKEN = frozenset({0x0000, 0xB000, 0xB006, 0xB007})
# SOP class not supported, data set does not match it: the same bytes get the same answer tomorrow
REFUSED_FOR_GOOD = frozenset({0x0122, 0xA900})
LOOK_EVERY_S = 0.5
AFTER_ERROR_S = 5.0
LOOK_FOR_STRAYS_EVERY_S = 60.0
STRAY_AFTER = timedelta(days=1)
NO_SUCH_DESTINATION = "the destination is no longer in the settings"
MOST_PER_ASSOCIATION = 50
WAITS_PER_PARCEL = 6  # connect, negotiate, send, answer, release: each at most one timeout, and one to spare


@dataclass(frozen=True, kw_only=True)
class Sending:
    """How one destination is served; `now` tells the time."""

    destination: Destination
    policy: RetryPolicy
    calling_ae_title: str
    timeout_s: float
    holder: str
    now: Callable[[], datetime]


def deliver_due(database: Database, sending: Sending) -> int:
    """Send what is due for one destination over one association; returns how many reports it took.

    A database that is away (DatabaseAway, Collision) leaves the report pending: its lease ends and it is
    sent again.
    """
    parcel = _claim(database, sending)
    if parcel is None:
        return 0
    taken = 0
    with (
        _failure_noted(parcel, database, sending),
        association_with(
            sending.destination,
            report_contexts(),
            calling_ae_title=sending.calling_ae_title,
            timeout_s=sending.timeout_s,
        ) as association,
    ):
        taken = _send_all(association, parcel, database, sending)
    return taken


def send(association: Association, content: bytes) -> None:
    """Send one report as the bytes that it is; where the peer knows only Implicit VR, in that encoding.

    Raises DeliveryFailed where another attempt may help, DeliveryRefused where none does.
    """
    meta, _ = split(content)
    agreed = {(cx.abstract_syntax, cx.transfer_syntax[0]) for cx in association.accepted_contexts}
    hold_reactor(association)
    try:
        if (meta.sop_class_uid, meta.transfer_syntax_uid) in agreed:
            with _as_file(content) as path:
                response = association.send_c_store(path)
        elif (meta.sop_class_uid, ImplicitVRLittleEndian) in agreed:
            response = association.send_c_store(dcmread(BytesIO(content)))
        else:
            raise DeliveryRefused("the destination does not take objects of this SOP class")
    except RuntimeError as error:
        raise DeliveryFailed("the association ended before the object was sent") from error
    _judge(response.get("Status"))


def _judge(status: int | None) -> None:
    if status is None:
        raise DeliveryFailed("the destination gave no answer in time or hung up")
    if status in REFUSED_FOR_GOOD:
        raise DeliveryRefused(f"the destination refused the object for good (status {status:04X})")
    if status not in TAKEN:
        raise DeliveryFailed(f"the destination did not take the object (status {status:04X})")


@contextmanager
def _as_file(content: bytes) -> Iterator[Path]:
    """The bytes as a file that is only in memory: nothing of a patient stays behind on a disk."""
    descriptor = os.memfd_create("report")
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(content)
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _send_all(association: Association, first: Parcel, database: Database, sending: Sending) -> int:
    parcel: Parcel | None = first
    taken = tried = 0
    while parcel is not None:
        tried += 1
        with _failure_noted(parcel, database, sending):
            send(association, parcel.content)
            taken += _note_sent(parcel, database, sending)
        go_on = association.is_established and tried < MOST_PER_ASSOCIATION
        parcel = _claim(database, sending) if go_on else None
    return taken


@contextmanager
def _failure_noted(parcel: Parcel, database: Database, sending: Sending) -> Iterator[None]:
    """Count whatever goes wrong as a failed attempt, so that every delivery has an end."""
    try:
        yield
    except (Collision, DatabaseAway):
        raise
    except Exception as error:  # noqa: BLE001  one report that breaks our own code must not be tried for ever
        _note_failure(parcel, error, database, sending)


def _claim(database: Database, sending: Sending) -> Parcel | None:
    """Take the next delivery that has an attempt left; give up those whose attempts never came to an end."""
    while (parcel := _claim_next(database, sending)) and parcel.attempts > sending.policy.attempts:
        _note_failure(parcel, DeliveryFailed("no attempt came to its end"), database, sending)
    return parcel


def _claim_next(database: Database, sending: Sending) -> Parcel | None:
    with database.transaction() as connection:
        return claim_delivery(
            connection,
            sending.destination.name,
            holder=sending.holder,
            lease_s=sending.timeout_s * WAITS_PER_PARCEL,
            now=sending.now(),
        )


def _note_sent(parcel: Parcel, database: Database, sending: Sending) -> bool:
    try:
        with database.transaction() as connection:
            mark_sent(connection, parcel, now=sending.now())
    except LeaseLost:  # sent all the same; whoever holds it now sends the same bytes again
        logger().warning("delivery.lease_lost", delivery=parcel.delivery_id)
        return False
    logger().info(
        "delivery.sent",
        delivery=parcel.delivery_id,
        study=parcel.study_id,
        destination=parcel.destination,
        attempt=parcel.attempts,
    )
    return True


def _note_failure(parcel: Parcel, error: Exception, database: Database, sending: Sending) -> None:
    now = sending.now()
    until = None
    # what is not ours may hold the patient's values in its message
    words = str(error) if isinstance(error, IchNodeError) else type(error).__name__
    if not isinstance(error, IchNodeError) or error.helps_to_retry:
        until = next_attempt_at(
            sending.policy, attempts_made=parcel.attempts, now=now, jitter=random.random()
        )
    log = logger().bind(
        delivery=parcel.delivery_id,
        study=parcel.study_id,
        destination=parcel.destination,
        attempt=parcel.attempts,
        error=words,
    )
    try:
        with database.transaction() as connection:
            if until is None:
                give_up_delivery(connection, parcel, error=words, now=now)
                log.error("delivery.given_up")
            else:
                postpone_delivery(connection, parcel, error=words, until=until)
                log.warning("delivery.postponed", next_in_s=round((until - now).total_seconds(), 1))
    except LeaseLost:
        log.warning("delivery.lease_lost")


def run(settings: Settings, stop: threading.Event) -> None:
    """Serve every destination in a thread of its own until `stop` is set; in quiet mode send nothing.

    A database that is away is waited for. Raises UsageError where it is not of this version.
    """
    adjust_pynetdicom()
    warnings.simplefilter("ignore")  # pydicom's would print values of the patient to standard error
    database = Database(settings.database_url)
    served = () if settings.mode == "quiet" else settings.destinations
    threads = [
        threading.Thread(target=_serve, args=(database, _sending(settings, destination), stop))
        for destination in served
    ]
    if await_current(database, stop):
        for thread in threads:
            thread.start()
        logger().info("deliver.started", mode=settings.mode, count=len(threads))
        _end_strays(database, settings, stop)
        for thread in threads:
            thread.join()
    database.dispose()
    logger().info("deliver.stopped")


def _end_strays(database: Database, settings: Settings, stop: threading.Event) -> None:
    """Until `stop`: end what waits for destinations that nobody serves; it would hold its images for ever."""
    names = [destination.name for destination in settings.destinations]
    pause_s = 0.0
    while not stop.wait(pause_s):
        pause_s = LOOK_FOR_STRAYS_EVERY_S
        try:
            now = datetime.now(UTC)
            with database.transaction() as connection:
                count = end_deliveries_elsewhere(
                    connection, names, older_than=now - STRAY_AFTER, error=NO_SUCH_DESTINATION, now=now
                )
        except (Collision, DatabaseAway) as error:
            logger().error("database.away", error=str(error))
            continue
        if count:
            logger().error("delivery.given_up", count=count, error=NO_SUCH_DESTINATION)


def _sending(settings: Settings, destination: Destination) -> Sending:
    facts = settings.delivery
    return Sending(
        destination=destination,
        policy=RetryPolicy(attempts=facts.attempts, first_s=facts.retry_s, longest_s=facts.retry_max_s),
        calling_ae_title=settings.receiver.ae_title,
        timeout_s=facts.timeout_s,
        holder=f"{socket.gethostname()}:{os.getpid()}:{destination.name}",
        now=lambda: datetime.now(UTC),
    )


def _serve(database: Database, sending: Sending, stop: threading.Event) -> None:
    pause_s = 0.0
    while not stop.wait(pause_s):
        try:
            pause_s = 0.0 if deliver_due(database, sending) else LOOK_EVERY_S
        except (Collision, DatabaseAway):
            pause_s = AFTER_ERROR_S
        except Exception as error:  # noqa: BLE001  # the destination's thread goes on, whatever one report does
            logger().error("deliver.failed", destination=sending.destination.name, error=type(error).__name__)
            pause_s = AFTER_ERROR_S
