"""The listening side of pynetdicom, with limits on connections, PDUs, data sets, time, callers and syntaxes.

Nothing a peer does may hold or fill the process: an association over a limit ends, the others go on.
"""

import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from select import POLLIN, poll
from socket import SHUT_RDWR, socket
from ssl import SSLSocket
from typing import NoReturn, cast

from pydicom.uid import UID
from pynetdicom import AE, build_context, evt
from pynetdicom.acse import ACSE
from pynetdicom.association import Association
from pynetdicom.events import Event, EventHandlerType
from pynetdicom.pdu_primitives import A_ASSOCIATE, A_P_ABORT
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import AssociationServer, AssociationSocket, RequestHandler

from ich_node.dicom.commitment import PUSH_MODEL
from ich_node.dicom.part10 import DEFLATED_TRANSFER_SYNTAXES
from ich_node.intake.messages import Begin, StreamedMessages
from ich_node.intake.upper_layer import OneThreadAssociation, OneThreadLayer
from ich_node.log import logger
from ich_node.network import VERIFICATION, prepare_socket
from ich_node.tls import PeerCertificate
from ich_node.vocabulary import CutOff

HEADER_BYTES = 6  # of a PDU: type, reserved, length (PS3.8 9.3)
# an A-ASSOCIATE-RQ with 128 contexts of 40 transfer syntaxes each stays below this
LEAST_PDU_LIMIT = 1 << 18
# connections that have not said who they are, beside the associations: of all peers, and of one address
WAITING_ROOM, WAITING_ROOM_PER_ADDRESS = 50, 10
_PROMPT_S = 0.1  # a PDU that comes as fast as that needs no time limits set anew
A_ABORT_PDU = bytes.fromhex("07000000000400000200")  # by the service provider, reason not specified
LOCAL_LIMIT_EXCEEDED = (2, 3, 2)  # transient, by the service provider's presentation part
TRANSFER_SYNTAXES_NOT_SUPPORTED = 4  # PS3.8 9.3.3.2

Rejection = tuple[int, int, int]  # result, source, reason (PS3.8 9.3.4)
# called title, calling title, address, certificate (None: clear text); the answer is None for who may come in
Admission = Callable[[str, str, str, PeerCertificate | None], Rejection | None]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one peer may use; `cut_off` hears of each association that ends, or does not begin, for that."""

    associations: int
    associations_per_address: int
    pdu_bytes: int
    data_set_bytes: int
    pdu_within_s: float
    cut_off: Callable[[CutOff], None]


class PeerOverLimit(OSError):
    """The peer went over a limit; pynetdicom takes it for a broken connection."""


class BoundedSocket(AssociationSocket):
    """Takes over a connection; reads a PDU's header and body each whole, within a time and a length."""

    certificate: PeerCertificate | None = None  # of a peer over TLS
    _begun: bytes | bytearray = b""  # of what comes next

    def __init__(self, plain: AssociationSocket, limits: Limits) -> None:
        self.__dict__.update(plain.__dict__)  # its own __init__ would report the connection a second time
        self._limit_bytes = max(limits.pdu_bytes, LEAST_PDU_LIMIT)
        self._within_s = limits.pdu_within_s
        self._cut_off = limits.cut_off

    def recv(self, nr_bytes: int) -> bytearray:
        """Read exactly `nr_bytes`, fewer only where the peer hung up; raises PeerOverLimit."""
        connection = cast("socket", self.socket)
        if nr_bytes > self._limit_bytes:
            self._end(connection, CutOff.PDU_TOO_LONG, f"PDU longer than {self._limit_bytes} bytes")
        content = bytearray(nr_bytes)
        begun, self._begun = self._begun, b""
        content[: len(begun)] = begun
        with memoryview(content) as view:
            filled = self._fill(connection, view, len(begun))
        del content[filled:]
        return content

    def _fill(self, connection: socket, view: memoryview, filled: int) -> int:
        deadline, slow = time.monotonic() + self._within_s, False
        while filled < len(view):
            try:
                read = connection.recv_into(view[filled:])
            except TimeoutError:
                self._end_slow(connection)
            filled += read
            left_s = deadline - time.monotonic()
            if not read or filled == len(view):
                break
            if left_s <= 0:
                self._end_slow(connection)
            if slow := slow or left_s < self._within_s - _PROMPT_S:
                connection.settimeout(left_s)
        if slow:
            connection.settimeout(self._within_s)
        return filled

    def give_back(self, begun: bytes | bytearray) -> None:
        """Let the next `recv` begin with what the last one read."""
        self._begun = begun

    @property
    def ready(self) -> bool:
        """Whether something can be read at once, of any descriptor: `select` ends at 1023."""
        return self.wait(0)

    def wait(self, seconds: float) -> bool:
        """Wait until something can be read or the connection ends, at most so long; whether it is so."""
        connection = self.socket
        if connection is None or not self._is_connected:
            time.sleep(seconds)
            return False
        if isinstance(connection, SSLSocket) and connection.pending():
            return True
        poller = poll()
        try:
            poller.register(connection, POLLIN)
        except (OSError, ValueError):
            self.event_queue.put("Evt17")  # closed under our hands
            return False
        return bool(poller.poll(1000 * seconds))

    def cut(self) -> None:
        """End the connection under whoever waits for it, from any thread."""
        if (connection := self.socket) is not None:  # its own thread may let go of it
            with suppress(OSError):
                socket.shutdown(connection, SHUT_RDWR)

    def _shutdown_socket(self) -> None:
        """Close the descriptor too where the peer hung up first: pynetdicom leaves it to the collector."""
        super()._shutdown_socket()
        if self.socket is not None:
            self.socket.close()

    def _end_slow(self, connection: socket) -> NoReturn:
        self._end(connection, CutOff.PDU_TOO_SLOW, f"PDU not whole within {self._within_s:.0f} s")

    def _end(self, connection: socket, why: CutOff, words: str) -> NoReturn:
        self._cut_off(why)
        logger().warning("association.over_limit", error=words, address=str(self.assoc.requestor.address))
        connection.settimeout(1)
        connection.sendall(A_ABORT_PDU)
        raise PeerOverLimit(words)


Transport = Callable[[AssociationSocket, Limits], BoundedSocket]


class Places:
    """Who is associated: pynetdicom counts connections, also those that never say a word."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._taken: list[tuple[Association, str]] = []
        self._lock = threading.Lock()
        self.listeners: list[Listener] = []  # all that lead to these places

    def take(self, association: Association, address: str) -> bool:
        """Take a place for an association, until it is over; False where its address, or all, have enough."""
        with self._lock:
            self._taken = [one for one in self._taken if one[0].is_alive() and not one[0]._kill]
            of_address = sum(taken == address for _, taken in self._taken)
            if (
                len(self._taken) >= self._limits.associations
                or of_address >= self._limits.associations_per_address
            ):
                self._limits.cut_off(CutOff.NO_PLACE_LEFT)
                return False
            self._taken.append((association, address))
            return True


class StrictNegotiation(ACSE):
    """Rejects who may not call or calls too often, and never agrees on a deflated data set."""

    def __init__(self, association: Association, admission: Admission, places: "Places") -> None:
        super().__init__(association)
        self._admission = admission
        self._places = places

    def negotiate_association(self) -> None:
        """Answer an A-ASSOCIATE-RQ; where the connection ended without one, end the thread."""
        request = self.requestor.primitive
        if not isinstance(request, A_ASSOCIATE):
            self.assoc.kill()
            return
        called, calling = request.called_ae_title.strip(), request.calling_ae_title.strip()
        address = str(self.requestor.address)
        certificate = cast("BoundedSocket", self.assoc.dul.socket).certificate
        rejection = self._admission(called, calling, address, certificate)
        if rejection is not None:
            self.requestor.ae_title = request.calling_ae_title
            self._reject(*rejection)
            return
        if not self._places.take(self.assoc, address):
            words = "receiver.max_associations or per address"
            logger().warning("association.over_limit", error=words, ae_title=calling, address=address)
            self._reject(*LOCAL_LIMIT_EXCEEDED)
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
        # pynetdicom makes both itself, and has started neither yet: here they become ours
        association.__class__, association.dul.__class__ = OneThreadAssociation, OneThreadLayer
        plain = cast("AssociationSocket", association.dul.socket)
        association.dul.socket = self.server.transport(plain, self.server.limits)
        association.dimse = StreamedMessages(
            association, self.server.limits.data_set_bytes, self.server.begin, self.server.limits.cut_off
        )
        association.acse = StrictNegotiation(association, self.server.admission, self.server.places)
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
        places: "Places",
        admission: Admission,
        begin: Begin,
        handlers: list[EventHandlerType],
        transport: Transport = BoundedSocket,
    ) -> None:
        """Bind and listen; raises OSError."""
        self.limits = limits
        self.transport = transport
        self.admission = admission
        self.begin = begin
        self.places = places
        places.listeners.append(self)
        entity.maximum_associations = sys.maxsize  # pynetdicom counts who waits too; `places` does not
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
        """Take no more connections than associations and waiting ones may be, here and of one address.

        Who fills the waiting room of one port leaves that of the other to its callers.
        """
        address = cast("tuple[str, int]", client_address)[0]
        of_port = {listener: listener.active_associations for listener in self.places.listeners}
        of_address = sum(
            str(one.requestor.address) == address for connections in of_port.values() for one in connections
        )
        if (
            len(of_port[self]) < self.limits.associations + WAITING_ROOM
            and of_address < self.limits.associations_per_address + WAITING_ROOM_PER_ADDRESS
        ):
            return True
        self.limits.cut_off(CutOff.NO_PLACE_LEFT)
        return False

    def handle_error(self, request: object, client_address: object) -> None:
        """Log that a connection could not be started; the next one can."""
        logger().warning("connection.failed")

    def stop(self) -> None:
        """Accept nothing more; associations go on."""
        super(AssociationServer, self).shutdown()
        self.server_close()
