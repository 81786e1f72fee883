"""The listening side of pynetdicom, with limits on connections, PDUs, data sets, time, callers and syntaxes.

Nothing a peer does may hold or fill the process: an association over a limit ends, the others go on.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from socket import SHUT_RDWR, socket
from typing import cast

from pydicom.uid import UID
from pynetdicom import AE, build_context, evt
from pynetdicom.acse import ACSE
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.events import Event, EventHandlerType
from pynetdicom.pdu_primitives import A_ASSOCIATE, A_P_ABORT, P_DATA
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import AssociationServer, AssociationSocket, RequestHandler

from ich_node.dicom.commitment import PUSH_MODEL
from ich_node.dicom.part10 import DEFLATED_TRANSFER_SYNTAXES
from ich_node.log import logger
from ich_node.network import VERIFICATION, prepare_socket
from ich_node.tls import PeerCertificate

HEADER_BYTES = 6  # of a PDU: type, reserved, length (PS3.8 9.3)
# an A-ASSOCIATE-RQ with 128 contexts of 40 transfer syntaxes each stays below this
LEAST_PDU_LIMIT = 1 << 18
# connections that have not said who they are, beside the associations
WAITING_ROOM = 50
MORE_THAN_EVER = 1 << 20
A_ABORT_PDU = bytes.fromhex("07000000000400000200")  # by the service provider, reason not specified
REJECTED_PERMANENT, BY_SERVICE_USER = 1, 1
TRANSFER_SYNTAXES_NOT_SUPPORTED = 4  # PS3.8 9.3.3.2

REJECTED_TRANSIENT, BY_PRESENTATION, LOCAL_LIMIT_EXCEEDED = 2, 3, 2  # PS3.8 9.3.4

# called title, calling title, address, certificate (None: clear text); the answer is the reason of a
# rejection (PS3.8 9.3.4) or None
Admission = Callable[[str, str, str, PeerCertificate | None], int | None]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one peer may use."""

    associations: int
    pdu_bytes: int
    data_set_bytes: int
    pdu_within_s: float


class PeerOverLimit(OSError):
    """The peer went over a limit; pynetdicom takes it for a broken connection."""


class BoundedSocket(AssociationSocket):
    """Takes over a connection; reads a PDU's header and body each whole, within a time and a length."""

    certificate: PeerCertificate | None = None  # of a peer over TLS

    def __init__(self, plain: AssociationSocket, limits: Limits) -> None:
        self.__dict__.update(plain.__dict__)  # its own __init__ would report the connection a second time
        self._limit_bytes = max(limits.pdu_bytes, LEAST_PDU_LIMIT)
        self._within_s = limits.pdu_within_s

    def recv(self, nr_bytes: int) -> bytearray:
        """Read exactly `nr_bytes`, fewer only where the peer hung up; raises PeerOverLimit."""
        connection = cast("socket", self.socket)
        if nr_bytes > self._limit_bytes:
            self._end(connection, f"PDU longer than {self._limit_bytes} bytes")
        deadline = time.monotonic() + self._within_s
        content = bytearray(nr_bytes)
        view, filled = memoryview(content), 0
        while filled < nr_bytes:
            if (left_s := deadline - time.monotonic()) <= 0:
                self._end(connection, f"PDU not whole within {self._within_s:.0f} s")
            connection.settimeout(left_s)
            read = connection.recv_into(view[filled:])
            if not read:
                break
            filled += read
        connection.settimeout(self._within_s)
        return content[:filled]

    def cut(self) -> None:
        """End the connection under whoever waits for it, from any thread."""
        if self.socket is not None:
            with suppress(OSError):
                socket.shutdown(self.socket, SHUT_RDWR)

    def _shutdown_socket(self) -> None:
        """Close the descriptor too where the peer hung up first: pynetdicom leaves it to the collector."""
        super()._shutdown_socket()
        if self.socket is not None:
            self.socket.close()

    def _end(self, connection: socket, why: str) -> None:
        connection.settimeout(1)
        connection.sendall(A_ABORT_PDU)
        logger().warning("association.over_limit", error=why)
        raise PeerOverLimit(why)


Transport = Callable[[AssociationSocket, Limits], BoundedSocket]


class BoundedMessages(DIMSEServiceProvider):
    """Puts messages together, none longer than the limit; knows when the peer last said something."""

    def __init__(self, association: Association, limit_bytes: int) -> None:
        super().__init__(association)
        self._limit_bytes = limit_bytes
        self._taken_bytes = 0
        self.last_heard = time.monotonic()

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take the fragments of a P-DATA; an endless message ends the association."""
        self.last_heard = time.monotonic()
        self._taken_bytes += sum(len(value[1]) for value in primitive.presentation_data_value_list)
        if self._taken_bytes > self._limit_bytes:
            self.message = None
            self.dul.event_queue.put("Evt19")  # as pynetdicom ends it where a message is invalid
            logger().warning("association.over_limit", error="data set longer than receiver.max_instance_mb")
            return
        super().receive_primitive(primitive)
        if self.message is None:
            self._taken_bytes = 0


class StrictNegotiation(ACSE):
    """Rejects who may not call or is one too many, and never agrees on a deflated data set."""

    def __init__(self, association: Association, admission: Admission, most: int) -> None:
        super().__init__(association)
        self._admission = admission
        self._most = most

    def negotiate_association(self) -> None:
        """Answer an A-ASSOCIATE-RQ; where the connection ended without one, end the thread."""
        request = self.requestor.primitive
        if not isinstance(request, A_ASSOCIATE):
            self.assoc.kill()
            return
        called, calling = request.called_ae_title.strip(), request.calling_ae_title.strip()
        certificate = cast("BoundedSocket", self.assoc.dul.socket).certificate
        reason = self._admission(called, calling, str(self.requestor.address), certificate)
        if reason is not None:
            self.requestor.ae_title = request.calling_ae_title
            self._reject(REJECTED_PERMANENT, BY_SERVICE_USER, reason)
            return
        if self._is_one_too_many():
            self._reject(REJECTED_TRANSIENT, BY_PRESENTATION, LOCAL_LIMIT_EXCEEDED)
            return
        # of a storage context pynetdicom accepts the syntax that is proposed first
        for context in request.presentation_context_definition_list:
            plain = [uid for uid in context.transfer_syntax if not _is_deflated(uid)]
            if plain:
                context.transfer_syntax = cast("list[str | bytes | UID]", plain)
        super().negotiate_association()

    def _reject(self, result: int, source: int, reason: int) -> None:
        self.send_reject(result, source, reason)
        evt.trigger(self.assoc, evt.EVT_REJECTED, {})
        self.assoc.kill()

    def _is_one_too_many(self) -> bool:
        """Count who said its name; pynetdicom counts the silent ones too, which would keep the others out."""
        associations = self.assoc.ae.active_associations
        named = [one for one in associations if one.is_acceptor and one.requestor.primitive is not None]
        return len(named) > self._most

    def send_accept(self) -> None:
        """Accept, but not a context whose only syntaxes are deflated ones."""
        for context in self.assoc.accepted_contexts:
            if _is_deflated(context.transfer_syntax[0]):
                context.result = TRANSFER_SYNTAXES_NOT_SUPPORTED
                del self.assoc._accepted_cx[cast("int", context.context_id)]
                self.assoc._rejected_cx.append(context)
        super().send_accept()


def _commitment_context() -> PresentationContext:
    """Storage Commitment with the roles turned round: the caller is the SCP that answers what we asked."""
    context = build_context(PUSH_MODEL)
    context.scu_role, context.scp_role = False, True
    return context


def _is_deflated(transfer_syntax: str) -> bool:
    return transfer_syntax in DEFLATED_TRANSFER_SYNTAXES


class _Connection(RequestHandler):
    """Starts the association of one accepted connection, with our limits in place."""

    server: "Listener"

    def handle(self) -> None:
        association = self._create_association()
        plain = cast("AssociationSocket", association.dul.socket)
        association.dul.socket = self.server.transport(plain, self.server.limits)
        association.dimse = BoundedMessages(association, self.server.limits.data_set_bytes)
        association.acse = StrictNegotiation(
            association, self.server.admission, self.server.limits.associations
        )
        association.bind(evt.EVT_CONN_CLOSE, _wake)
        association.start()


def _wake(event: Event) -> None:
    """End the wait for an A-ASSOCIATE-RQ that cannot come any more: it would hold a slot."""
    if event.assoc.requestor.primitive is None:
        event.assoc.dul.to_user_queue.put(A_P_ABORT())


class Listener(AssociationServer):
    """Accepts connections; `serve_forever` runs until `stop`."""

    request_queue_size = 64

    def __init__(
        self,
        entity: AE,
        address: tuple[str, int],
        *,
        limits: Limits,
        admission: Admission,
        handlers: list[EventHandlerType],
        transport: Transport = BoundedSocket,
    ) -> None:
        """Bind and listen; raises OSError."""
        self.limits = limits
        self.transport = transport
        self.admission = admission
        entity.maximum_associations = MORE_THAN_EVER  # we count ourselves
        entity.maximum_pdu_size = limits.pdu_bytes
        super().__init__(
            entity,
            address,
            entity.ae_title,
            [build_context(VERIFICATION), _commitment_context()],
            evt_handlers=handlers,
            request_handler=_Connection,
        )

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.server_address[1])

    def get_request(self) -> tuple[socket, tuple[str, int]]:
        """Accept a connection; only that, so that no peer can hold the loop."""
        connection, address = super().get_request()
        connection.settimeout(self.limits.pdu_within_s)
        prepare_socket(connection)
        return connection, address

    def verify_request(self, request: object, client_address: object) -> bool:
        """Take no more connections than associations and waiting ones may be."""
        return len(self.active_associations) < self.limits.associations + WAITING_ROOM

    def handle_error(self, request: object, client_address: object) -> None:
        """Log that a connection could not be started; the next one can."""
        logger().warning("connection.failed")

    def stop(self) -> None:
        """Accept nothing more; associations go on."""
        super(AssociationServer, self).shutdown()
        self.server_close()
