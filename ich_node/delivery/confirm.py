"""Asks destinations whether they keep what they took: Storage Commitment, or C-FIND. Uses the network."""

import random
import threading
from collections.abc import Sequence

from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid
from pynetdicom import build_context, evt
from pynetdicom.association import Association
from pynetdicom.events import Event

from ich_node.core.confirmation import Finding, consequence_of
from ich_node.core.retry import pause
from ich_node.core.states import DeliveryEvent
from ich_node.delivery.reach import Sending, may_call, reached
from ich_node.dicom.commitment import (
    PROCESSING_FAILURE,
    PUSH_MODEL,
    PUSH_MODEL_INSTANCE,
    REQUEST,
    commitment_of,
    commitment_request,
)
from ich_node.dicom.query import image_query, series_query
from ich_node.dicom.values import text, whole
from ich_node.errors import DeliveryRefused, DestinationAway, FetchFailed
from ich_node.log import logger
from ich_node.network import FIND, SUCCESS, find, within
from ich_node.store.confirmations import (
    Unproven,
    answers,
    begin_commitment,
    claim_unproven,
    conclude_look,
    has_unproven,
    keep_commitment,
    not_looked,
    settle,
)
from ich_node.store.database import Database

MOST_AT_ONCE = 50
LINGER_S = 5.0  # some answer only while the association is open on which they were asked

SYNTAXES: list[str | UID] = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
_LOG = {
    DeliveryEvent.PROVEN: "delivery.confirmed",
    DeliveryEvent.MISSED: "delivery.missing",
    DeliveryEvent.GIVEN_UP: "delivery.given_up",
}
Looked = tuple[Finding, str]  # what was seen of one report, and in words


def confirm_due(database: Database, sending: Sending) -> int:
    """Ask one destination about what it took; returns of how many reports the fate is known since.

    A database that is away (DatabaseAway, Collision) leaves them as they are: they are asked about again.
    """
    ended = _draw_consequences(database, sending)
    if claimed := _claim(database, sending):
        ended += _look(claimed, database, sending) + _draw_consequences(database, sending)
    return ended


def _claim(database: Database, sending: Sending) -> list[Unproven]:
    name, now = sending.destination.name, sending.now()
    with database.transaction() as connection:
        if not has_unproven(connection, name, now=now):
            return []
    if not may_call(database, sending):
        return []
    with database.transaction() as connection:
        return claim_unproven(
            connection,
            name,
            holder=sending.holder,
            lease_s=sending.longest_call_s + LINGER_S,
            most=MOST_AT_ONCE,
            now=now,
        )


def _look(claimed: Sequence[Unproven], database: Database, sending: Sending) -> int:
    by_commitment = sending.destination.confirm == "commitment"
    try:
        seen = (_ask_to_commit if by_commitment else _look_for)(claimed, database, sending)
    except DestinationAway:
        with database.transaction() as connection:
            not_looked(connection, claimed)
        return 0
    except DeliveryRefused:
        what = "Storage Commitment" if by_commitment else "C-FIND (Study Root)"
        seen = [(Finding.UNANSWERED, f"the destination offers no {what}")] * len(claimed)
    return sum(
        _conclude(one, *looked, database=database, sending=sending)
        for one, looked in zip(claimed, seen, strict=True)
    )


def _ask_to_commit(claimed: Sequence[Unproven], database: Database, sending: Sending) -> list[Looked]:
    """Ask for safekeeping of all in one transaction; the answer comes here, or later to our receiver."""
    transaction_uid, answered = generate_uid(prefix=None), threading.Event()

    def take(event: Event) -> tuple[int, None]:
        try:
            with database.transaction() as connection:
                keep_commitment(connection, commitment_of(event.event_information), now=sending.now())
        except Exception as error:  # noqa: BLE001  # whatever the peer wrote, it hears that we did not take it
            logger().error(
                "commitment.failed", destination=sending.destination.name, error=type(error).__name__
            )
            return PROCESSING_FAILURE, None
        answered.set()
        return SUCCESS, None

    with database.transaction() as connection:
        begin_commitment(connection, transaction_uid, claimed, now=sending.now())
    request = commitment_request(
        transaction_uid, [(one.sop_class_uid, one.sop_instance_uid) for one in claimed]
    )
    contexts = [build_context(PUSH_MODEL, SYNTAXES)]
    with (
        reached(database, sending, contexts, [(evt.EVT_N_EVENT_REPORT, take)]) as association,
        within(association, sending.longest_call_s),
    ):
        looked = ask_to_commit(association, request)
        if looked[0] is Finding.ASKED:
            answered.wait(LINGER_S)
    return [looked] * len(claimed)


def ask_to_commit(association: Association, request: Dataset) -> Looked:
    """Ask for safekeeping (N-ACTION); ASKED where the peer will answer by an N-EVENT-REPORT."""
    try:
        response, _ = association.send_n_action(request, REQUEST, PUSH_MODEL, PUSH_MODEL_INSTANCE)
    except RuntimeError:
        response = Dataset()
    status = response.get("Status")
    if status == SUCCESS:
        return Finding.ASKED, "the destination was asked for Storage Commitment and has not answered yet"
    said = "gave no answer" if status is None else f"answered with status {status:04X}"
    return Finding.UNANSWERED, f"asked for Storage Commitment the destination {said}"


def _look_for(claimed: Sequence[Unproven], database: Database, sending: Sending) -> list[Looked]:
    contexts = [build_context(FIND, SYNTAXES)]
    with (
        reached(database, sending, contexts) as association,
        within(association, sending.longest_call_s),
    ):
        return [look_for(association, one.study_uid, one.series_uid, one.sop_instance_uid) for one in claimed]


def look_for(association: Association, study_uid: str, series_uid: str, sop_instance_uid: str) -> Looked:
    """What a C-FIND shows of one report."""
    try:
        listed = is_listed(association, study_uid, series_uid, sop_instance_uid)
    except FetchFailed as error:
        return Finding.UNANSWERED, f"asked by C-FIND: {error}"
    if listed:
        return Finding.KEPT, "the destination lists it (C-FIND)"
    return Finding.NOT_LISTED, "the destination took it and does not list it (C-FIND)"


def is_listed(association: Association, study_uid: str, series_uid: str, sop_instance_uid: str) -> bool:
    """Whether the peer lists an instance; where it does not search for images, whether its series has one.

    Each report is a series of its own, so that one image in it is the report. Raises FetchFailed.
    """
    try:
        images = find(association, image_query(study_uid, series_uid, sop_instance_uid))
    except FetchFailed:
        if not association.is_established:
            raise
        series = find(association, series_query(study_uid, series_uid))
        return any(
            text(one, "SeriesInstanceUID") == series_uid and whole(one, "NumberOfSeriesRelatedInstances") != 0
            for one in series
        )
    return any(text(one, "SOPInstanceUID") == sop_instance_uid for one in images)


def _draw_consequences(database: Database, sending: Sending) -> int:
    """Judge what the destination answered by Storage Commitment, here or to our receiver."""
    if sending.destination.confirm != "commitment":
        return 0
    with database.transaction() as connection:
        told = answers(connection, sending.destination.name)
    ended = 0
    for answer in told:
        finding, words = told_by_commitment(None if answer.kept else answer.reason or 0)
        ended += _conclude(answer.about, finding, words, database=database, sending=sending)
        with database.transaction() as connection:
            settle(connection, answer)
    return ended


def told_by_commitment(failure: int | None) -> Looked:
    """What the answer to a Storage Commitment says of one report; `failure` is None where it is kept."""
    if failure is None:
        return Finding.KEPT, "the destination committed to keep it"
    because = f"failure reason {failure:04X}"
    return (
        Finding.REPORTED_MISSING,
        f"the destination took it and does not keep it (Storage Commitment, {because})",
    )


def _conclude(one: Unproven, finding: Finding, words: str, *, database: Database, sending: Sending) -> int:
    now, jitter = sending.now(), random.random()
    policy = sending.confirming
    consequence = consequence_of(finding, one.standing, policy, now=now, jitter=jitter)
    wait = pause(sending.policy.first_s, sending.policy.longest_s, doublings=one.resends, jitter=jitter)
    with database.transaction() as connection:
        done = conclude_look(connection, one, consequence, words, again_at=now + wait, now=now)
    if not done or consequence.event is None:
        return 0
    log = logger().bind(
        delivery=one.delivery_id, study=one.study_id, destination=one.destination, attempt=one.looks
    )
    if consequence.event is DeliveryEvent.PROVEN:
        log.info(_LOG[consequence.event])
    else:
        log.error(_LOG[consequence.event], error=words)
    return 1
