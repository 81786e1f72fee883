"""Sends reports by C-STORE, each destination on its own. Uses the network and the database."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import Path

from pydicom import dcmread
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import build_context
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from ich_node.core.retry import next_attempt_at
from ich_node.delivery.images import IMAGES_AWAITED, waits_for_images
from ich_node.delivery.reach import Sending, may_call, reached
from ich_node.delivery.trail import record_delivery
from ich_node.dicom.ladder import in_class, rungs
from ich_node.dicom.part10 import split
from ich_node.errors import (
    Collision,
    DatabaseAway,
    DeliveryFailed,
    DeliveryRefused,
    DestinationAway,
    IchNodeError,
    LeaseLost,
)
from ich_node.log import logger
from ich_node.network import FIND, report_contexts, within
from ich_node.store.database import Database
from ich_node.store.deliveries import (
    Parcel,
    claim_delivery,
    delivery_waits,
    give_up_delivery,
    mark_sent,
    postpone_delivery,
    put_back,
)

# success, and the warnings with which a peer keeps the object all the same (PS3.4 B.2.3)
TAKEN = frozenset({0x0000, 0xB000, 0xB006, 0xB007})
# SOP class not supported, data set does not match it: the same bytes get the same answer tomorrow
SOP_CLASS_NOT_SUPPORTED = 0x0122
REFUSED_FOR_GOOD = frozenset({SOP_CLASS_NOT_SUPPORTED, 0xA900})
MOST_PER_ASSOCIATION = 50
# of what is too slow for delivery.timeout_s
NO_ANSWER = "the destination gave no answer in time or hung up"
CUT_SHORT = "the association ended before the object was sent"


def deliver_due(database: Database, sending: Sending) -> int:
    """Send what is due for one destination over one association; returns how many reports it took.

    A destination that is away as a whole costs no report an attempt. A database that is away (DatabaseAway,
    Collision) leaves the report pending: its lease ends and it is sent again.
    """
    with database.reading() as connection:
        is_waiting = delivery_waits(connection, sending.destination.name, now=sending.now())
    parcel = _claim(database, sending) if is_waiting and may_call(database, sending) else None
    if parcel is None:
        return 0
    taken = 0
    try:
        with (
            _failure_noted(parcel, database, sending),
            reached(database, sending, _contexts(sending)) as association,
        ):
            taken = _send_all(association, parcel, database, sending)
    except DestinationAway as error:
        _put_back(parcel, str(error), database)
    return taken


def _contexts(sending: Sending) -> list[PresentationContext]:
    """What is proposed: a look for images goes over the same association, as some PACS allow but one."""
    looking = [build_context(FIND)] if sending.destination.wait_for_images_s else []
    return [*report_contexts(), *looking]


def send(association: Association, content: bytes) -> tuple[str, str] | None:
    """Send one report as the bytes that it is; where the peer knows only Implicit VR, in that encoding.

    An SR that it does not take goes out in another SOP class: returns that and the SOP Instance UID, else
    None. Raises DeliveryFailed where another attempt may help, DeliveryRefused where none does.
    """
    meta, _ = split(content)
    offered = {str(context.abstract_syntax) for context in association.accepted_contexts}
    classes = [sop_class for sop_class in rungs(meta.sop_class_uid) if sop_class in offered]
    if not classes:
        raise DeliveryRefused("the destination does not take objects of this SOP class")
    for sop_class in classes:
        as_own = sop_class == meta.sop_class_uid
        body, instance_uid = (content, meta.sop_instance_uid) if as_own else in_class(content, sop_class)
        status = _store(association, body)
        if status != SOP_CLASS_NOT_SUPPORTED:
            break
    _judge(status)
    return None if as_own else (sop_class, instance_uid)


def _store(association: Association, content: bytes) -> int | None:
    """Send one object; returns the status, None where none came."""
    meta, _ = split(content)
    agreed = {(cx.abstract_syntax, cx.transfer_syntax[0]) for cx in association.accepted_contexts}
    try:
        if (meta.sop_class_uid, meta.transfer_syntax_uid) in agreed:
            with _as_file(content) as path:
                response = association.send_c_store(path)
        elif (meta.sop_class_uid, ImplicitVRLittleEndian) in agreed:
            response = association.send_c_store(dcmread(BytesIO(content)))
        else:
            raise DeliveryRefused("the destination does not take objects in a transfer syntax of ours")
    except RuntimeError as error:
        raise DeliveryFailed(CUT_SHORT) from error
    status: int | None = response.get("Status")
    return status


def _judge(status: int | None) -> None:
    if status is None:
        raise DeliveryFailed(NO_ANSWER)
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
            taken += _send_one(association, parcel, database, sending)
        go_on = association.is_established and tried < MOST_PER_ASSOCIATION and not sending.ends()
        parcel = _claim(database, sending) if go_on else None
    return taken


def _send_one(association: Association, parcel: Parcel, database: Database, sending: Sending) -> bool:
    with within(association, sending.longest_call_s):
        until = waits_for_images(association, parcel, database, sending)
        if until is not None:
            _put_back(parcel, IMAGES_AWAITED, database, until=until)
            return False
        sent_as = send(association, parcel.content)
    return _note_sent(parcel, sent_as, database, sending)


@contextmanager
def _failure_noted(parcel: Parcel, database: Database, sending: Sending) -> Iterator[None]:
    """Count whatever goes wrong as a failed attempt, so that every delivery has an end."""
    try:
        yield
    except (Collision, DatabaseAway, DestinationAway):
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
            lease_s=sending.longest_call_s + sending.timeout_s,
            now=sending.now(),
        )


def _note_sent(parcel: Parcel, sent_as: tuple[str, str] | None, database: Database, sending: Sending) -> bool:
    now = sending.now()
    first_look, by = _proof_wanted(sending, now)
    try:
        with database.transaction() as connection:
            mark_sent(connection, parcel, confirm_at=first_look, confirm_by=by, sent_as=sent_as, now=now)
            record_delivery(connection, parcel, sending, now=now)
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


def _proof_wanted(sending: Sending, now: datetime) -> tuple[datetime | None, datetime | None]:
    """When to ask first whether it is kept, and until when the proof may take; None where none is wanted."""
    if sending.destination.confirm == "none":
        return None, None
    policy = sending.confirming
    return now + timedelta(seconds=policy.looks.first_s), now + timedelta(seconds=policy.within_s)


def _put_back(parcel: Parcel, words: str, database: Database, *, until: datetime | None = None) -> None:
    try:
        with database.transaction() as connection:
            put_back(connection, parcel, error=words, until=until)
    except LeaseLost:
        logger().warning("delivery.lease_lost", delivery=parcel.delivery_id)


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
                record_delivery(connection, parcel, sending, now=now, failed=words)
                log.error("delivery.given_up")
            else:
                postpone_delivery(connection, parcel, error=words, until=until)
                log.warning("delivery.postponed", next_in_s=round((until - now).total_seconds(), 1))
    except LeaseLost:
        log.warning("delivery.lease_lost")
