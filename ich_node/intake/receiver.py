"""The receiving process: C-ECHO and C-STORE SCP; takes what PACS answer to Storage Commitment.

Uses the network, the archive's folder and the database.
"""

import threading
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from io import BytesIO
from typing import cast

from pydicom.dataset import Dataset
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE, N_EVENT_REPORT
from pynetdicom.events import Event

from ich_node.core.urgency import Urgency
from ich_node.dicom.commitment import PROCESSING_FAILURE, read_commitment
from ich_node.dicom.part10 import FileMeta, encode_file_meta
from ich_node.errors import Collision, DatabaseAway
from ich_node.intake.accept import Answer, Peer, Received, accept, out_of_resources
from ich_node.intake.adopt import reconcile
from ich_node.intake.listener import Rejection
from ich_node.intake.listening import DRAIN_IDLE_S, TICK_S, drain, listen
from ich_node.intake.messages import OnDisk
from ich_node.intake.refusals import Refusals
from ich_node.intake.trail import Alerts, record_arrivals, record_refusal
from ich_node.log import logger
from ich_node.network import SUCCESS, adjust_pynetdicom, entries_of, is_known, plain_address
from ich_node.settings.sections import Sender
from ich_node.settings.tree import Settings
from ich_node.store.associations import (
    close_association,
    close_associations_of,
    keep_associations_open,
    open_association,
)
from ich_node.store.confirmations import keep_commitment
from ich_node.store.database import LOOK_AGAIN_S, SAY_EVERY, Database, require_current
from ich_node.store.files import Archive
from ich_node.store.incoming import Incoming
from ich_node.store.pulse import Pulse
from ich_node.store.senders import list_allowed
from ich_node.store.writer import this_process
from ich_node.tls import PeerCertificate
from ich_node.vocabulary import CutOff

# PS3.8 9.3.4: for good, by the service's user; for now, by its provider
CALLING_AE_TITLE_NOT_RECOGNIZED, CALLED_AE_TITLE_NOT_RECOGNIZED = (1, 1, 3), (1, 1, 7)
TEMPORARY_CONGESTION = (2, 3, 1)
INVALID_ARGUMENT_VALUE = 0x0115  # PS3.7 C
SEEN_EVERY_S = 5.0  # well within GONE_AFTER_S of core.completion
RECONCILE_AGAIN_S = 30.0  # after an error


class Reception:
    """What the handlers of all associations share."""

    def __init__(self, settings: Settings, database: Database, archive: Archive) -> None:
        self._settings, self._ours = settings, settings.receiver.ae_title
        self._database = database
        self._archive = archive
        self._refusals, self._alerts = Refusals(database), Alerts()
        # of the host and port: what an earlier life of this receiver left open is closed by the next one
        self._name = f"{this_process().host}:{settings.receiver.first_port}"
        self._lock = threading.Lock()
        self._open: dict[Association, int] = {}
        self._busy: set[Association] = set()
        self._prepared = False
        self._attempts = 0
        self._seen_at = 0.0
        self._allowed: tuple[Sender, ...] | None = None  # by an administrator; None: nobody could look yet
        self._urgencies: dict[tuple[str, str], Urgency] = {}

    def admit(
        self, called: str, calling: str, address: str, certificate: PeerCertificate | None
    ) -> Rejection | None:
        """Say why a caller is rejected, None for one that may come in; list the rejected for the admin."""
        address = plain_address(address)
        if called != self._settings.receiver.ae_title:
            rejection = CALLED_AE_TITLE_NOT_RECOGNIZED
        elif self._is_known(calling, address, certificate):
            return None
        elif self._allowed is None:
            logger().warning("caller.put_off", ae_title=calling, address=address)
            self.cut_off(CutOff.PUT_OFF)
            return TEMPORARY_CONGESTION
        else:
            rejection = CALLING_AE_TITLE_NOT_RECOGNIZED
        name, sha256 = (next(iter(certificate.names), ""), certificate.sha256) if certificate else ("", "")
        logger().warning(
            "caller.refused",
            ae_title=calling,
            address=address,
            reason=rejection[2],
            certificate=name or sha256,
        )
        self._list_refused(
            calling_ae_title=calling,
            called_ae_title=called,
            address=address,
            certificate_name=name,
            certificate_sha256=sha256,
        )
        return rejection

    def _is_known(self, calling: str, address: str, certificate: PeerCertificate | None) -> bool:
        """Whether the settings let a caller in, or an administrator did: that holds from now on, at once."""
        if is_known(self._settings.admitted, calling, address, certificate):
            return True
        self._look_who_is_allowed()
        return is_known(self._allowed or (), calling, address, certificate)

    def _look_who_is_allowed(self) -> None:
        try:
            with self._database.reading() as connection:
                allowed = tuple(one.sender for one in list_allowed(connection))
        except (Collision, DatabaseAway):
            return  # it stays as it was when it was last looked at
        if allowed != self._allowed:
            self._allowed, self._urgencies = allowed, {}

    def refuse_handshake(self, address: str, why: str) -> None:
        """Log and list a caller that did not get through the handshake of TLS."""
        address = plain_address(address)
        logger().warning("tls.refused", address=address, error=why)
        self._list_refused(calling_ae_title="", called_ae_title="", address=address, trouble=why)

    def _list_refused(self, *, address: str, **facts: str) -> None:
        try:
            with self._database.transaction() as connection:
                record_refusal(
                    connection,
                    ours=self._ours,
                    address=address,
                    alerts=self._alerts,
                    now=datetime.now(UTC),
                    **facts,
                )
        except (Collision, DatabaseAway):
            logger().warning("caller.not_listed", address=address)

    def begin(self, association: Association, request: C_STORE) -> Incoming:
        """Begin a file for the data set of a request, which comes next."""
        context = association._accepted_cx[cast("int", request._context_id)]
        instance_uid = str(request.AffectedSOPInstanceUID)
        meta = FileMeta(
            sop_class_uid=str(request.AffectedSOPClassUID),
            sop_instance_uid=instance_uid,
            transfer_syntax_uid=str(context.transfer_syntax[0]),
            source_ae_title=str(association.requestor.ae_title).strip(),
        )
        return self._archive.receive(instance_uid, encode_file_meta(meta))

    def store(self, event: Event) -> Dataset | int:
        """Answer a C-STORE request (PS3.4 B.2)."""
        with self._lock:
            self._busy.add(event.assoc)
        try:
            answer = self._store(event)
            if answer.status != SUCCESS:
                self._refusals.count(f"{answer.status:04X}")
            return _response(answer)
        except Exception as error:  # noqa: BLE001  # an error of ours with one instance: the others follow
            logger().error("instance.failed", error=type(error).__name__)
            self._refusals.count(f"{PROCESSING_FAILURE:04X}")
            return _response(Answer(status=PROCESSING_FAILURE))
        finally:
            with self._lock:
                self._busy.discard(event.assoc)

    def cut_off(self, why: CutOff) -> None:
        """Count an association that was aborted or turned away."""
        self._refusals.count(why)

    def write_refusals(self, *, at_once: bool = False) -> None:
        """Write now and then what was refused into the database, once that is known to be ours."""
        if self._prepared:
            self._refusals.write(at_once=at_once)

    def commit(self, event: Event) -> tuple[int, None]:
        """Take an N-EVENT-REPORT: which reports of ours a destination keeps (PS3.4 J.3.3)."""
        try:
            content = cast("N_EVENT_REPORT", event.request).EventInformation
            commitment = read_commitment(cast("BytesIO", content), event.context.transfer_syntax)
            with self._database.transaction() as connection:
                count = keep_commitment(connection, commitment, now=datetime.now(UTC))
        except Exception as error:  # noqa: BLE001  # whatever the peer wrote, it hears that we did not take it
            logger().error("commitment.failed", error=type(error).__name__)
            return PROCESSING_FAILURE, None
        logger().info("commitment.received", count=count, peer=str(event.assoc.requestor.ae_title).strip())
        return (SUCCESS if count else INVALID_ARGUMENT_VALUE), None

    def is_busy(self, association: Association) -> bool:
        """Whether an instance of this association is being stored."""
        with self._lock:
            return association in self._busy

    def _store(self, event: Event) -> Answer:
        request = cast("C_STORE", event.request)
        try:
            if not self._prepared:
                raise DatabaseAway
            association_id = self._association_id(event.assoc)
        except (Collision, DatabaseAway) as error:
            return out_of_resources(error)
        received = Received(
            sop_class_uid=str(request.AffectedSOPClassUID),
            sop_instance_uid=str(request.AffectedSOPInstanceUID),
            transfer_syntax_uid=str(event.context.transfer_syntax),
            peer=self._peer(event.assoc),
            association_id=association_id,
            priority=int(request.Priority or 0),
        )
        incoming = cast("OnDisk", request.DataSet).incoming
        return accept(
            received, incoming, database=self._database, archive=self._archive, now=datetime.now(UTC)
        )

    def _peer(self, association: Association) -> Peer:
        ae_title, address = caller = _caller(association)
        urgencies = self._urgencies  # another thread may put others in their place
        if caller not in urgencies:
            entries = entries_of((*self._settings.admitted, *(self._allowed or ())), ae_title, address)
            said = [entry.urgency for entry in entries] or [Urgency.NORMAL]
            urgencies[caller] = min(said, key=tuple(Urgency).index)
        return Peer(ae_title=ae_title, address=address, urgency=urgencies[caller])

    def prepare(self) -> bool:
        """Require the newest schema and forget an earlier life; False while the database is away.

        Until it is done nothing is stored. Raises UsageError where the schema is not the newest.
        """
        try:
            require_current(self._database)
            self._forget_earlier_life()
        except (Collision, DatabaseAway) as error:
            if self._attempts % SAY_EVERY == 0:
                logger().error("database.away", error=str(error))
            self._attempts += 1
            return False
        self._prepared = True
        return True

    def _forget_earlier_life(self) -> None:
        """Close the associations that a killed receiver at this place left open."""
        with self._database.transaction() as connection:
            now = datetime.now(UTC)
            if late := close_associations_of(connection, self._name, now=now):
                logger().warning("associations.closed_late", count=len(late))
            for number in late:
                record_arrivals(connection, number, ours=self._ours, now=now)

    def close_ended(self) -> None:
        """Close the rows of associations that ended, however they ended; tries again after an error."""
        with self._lock:
            ended = [(one, number) for one, number in self._open.items() if not one.is_alive()]
        for association, number in ended:
            try:
                with self._database.transaction() as connection:
                    now = datetime.now(UTC)
                    if close_association(connection, number, now=now):
                        record_arrivals(connection, number, ours=self._ours, now=now)
            except (Collision, DatabaseAway):
                return
            with self._lock:
                del self._open[association]

    def keep_open(self) -> None:
        """Say now and then that this receiver lives: what it holds counts as open only for so long."""
        with self._lock:
            holds = bool(self._open)
        if not holds or time.monotonic() - self._seen_at < SEEN_EVERY_S:
            return
        try:
            with self._database.transaction() as connection:
                keep_associations_open(connection, self._name, now=datetime.now(UTC))
        except (Collision, DatabaseAway):
            return  # the next tick says it
        self._seen_at = time.monotonic()

    def _association_id(self, association: Association) -> int:
        """The row of this association, made at its first instance."""
        with self._lock:
            known = self._open.get(association)
        if known is not None:
            return known
        self._look_who_is_allowed()  # an administrator may have said how urgent its studies are
        ae_title, address = _caller(association)
        with self._database.transaction() as connection:
            number = open_association(
                connection,
                receiver=self._name,
                calling_ae_title=ae_title,
                address=address,
                now=datetime.now(UTC),
            )
        with self._lock:
            self._open[association] = number
        return number


def _caller(association: Association) -> tuple[str, str]:
    """Its title and its address."""
    return str(association.requestor.ae_title).strip(), str(association.requestor.address)


def _response(answer: Answer) -> Dataset | int:
    if not answer.comment:
        return answer.status
    response = Dataset()
    response.Status, response.ErrorComment = answer.status, answer.comment
    return response


def run(settings: Settings, stop: threading.Event, ready: Callable[[int], None] | None = None) -> None:
    """Receive until `stop` is set, then let running associations end; `ready` gets the port.

    While the database is away it answers 0xA700. Raises UsageError where the port cannot be had or the
    database is not of this version.
    """
    adjust_pynetdicom()
    warnings.simplefilter("ignore")  # pydicom's would print values of the patient to standard error
    database = Database(settings.database_url)
    archive = Archive(settings.storage.folder, reserve_mb=settings.storage.reserve_mb)
    reception = Reception(settings, database, archive)
    reconciliation = threading.Thread(
        target=_reconcile,
        args=(database, archive, settings.receiver.ae_title, datetime.now(UTC), stop),
        name="reconcile",
        daemon=True,
    )
    pulse = Pulse(database, "receive")
    prepared = reception.prepare()
    listeners = listen(settings, reception)
    try:
        for listener in listeners:
            logger().info("receiver.started", host=settings.receiver.host, port=listener.port)
        if ready:
            ready(listeners[0].port)
        while not prepared and not stop.wait(LOOK_AGAIN_S):
            prepared = reception.prepare()
        reconciliation.start()
        _attend(reception, pulse, stop)
    finally:
        for listener in listeners:
            listener.stop()
        drain(listeners, reception.is_busy)
        reception.close_ended()
        reception.write_refusals(at_once=True)
        pulse.end()
        if reconciliation.ident is not None:
            reconciliation.join(DRAIN_IDLE_S)  # it ends between two files, or with the process
        database.dispose()
        logger().info("receiver.stopped")


def _attend(reception: Reception, pulse: Pulse, stop: threading.Event) -> None:
    while not stop.wait(TICK_S):
        reception.close_ended()
        reception.keep_open()
        reception.write_refusals()
        pulse.beat("receives")


def _reconcile(
    database: Database, archive: Archive, ours: str, started_at: datetime, stop: threading.Event
) -> None:
    """Compare the archive with the database, beside reception; a large one takes hours."""
    pause_s = 0.0
    while not stop.wait(pause_s):
        try:
            reconcile(database, archive, ours=ours, now=started_at, stopped=stop.is_set)
        except Exception as error:  # noqa: BLE001  whatever lies in the archive, the next turn comes
            logger().error("archive.not_reconciled", error=type(error).__name__)
            pause_s = RECONCILE_AGAIN_S
        else:
            return
