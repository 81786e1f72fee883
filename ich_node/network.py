"""DICOM application entities and associations: who we are, who may call, how we call. Uses sockets."""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from ipaddress import IPv6Address, ip_address, ip_network
from socket import (
    IPPROTO_TCP,
    SHUT_RDWR,
    SO_KEEPALIVE,
    SOL_SOCKET,
    TCP_NODELAY,
    create_connection,
    socket,
)

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, _config, build_context, evt
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_primitives import C_CANCEL, DimsePrimitiveType, DimseServiceType
from pynetdicom.events import Event, EventHandlerType
from pynetdicom.presentation import PresentationContext

from ich_node.dicom.ladder import LADDER
from ich_node.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from ich_node.dicom.query import PENDING
from ich_node.errors import DeliveryFailed, DeliveryRefused, DestinationAway, FetchFailed, UsageError
from ich_node.settings.sections import RemoteEntity, Sender
from ich_node.tls import Credentials, PeerCertificate, trouble_with

VERIFICATION = "1.2.840.10008.1.1"
# Study Root Query/Retrieve Information Model - FIND (PS3.4 C.6.2)
FIND = "1.2.840.10008.5.1.4.1.2.2.1"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
# what our reports may be
REPORT_CLASSES = (*LADDER, SECONDARY_CAPTURE, "1.2.840.10008.5.1.4.1.1.7.4")
SUCCESS = 0x0000
LONGEST_UID = 64

_REJECTIONS: dict[tuple[int | None, ...], str] = {
    (1, 1, 3): "it does not know our AE title, address or certificate",
    (1, 1, 7): "it does not have the AE title that we called",
    (2, 3, 1): "it is congested",
    (2, 3, 2): "it has no association left",
}

_CONNECT_WITHIN_S = 2.0

_Message = tuple[int, DimseServiceType] | tuple[None, None]  # with the number of its context


def adjust_pynetdicom() -> None:
    """Set what pynetdicom keeps for the whole process; called once when a process of ours starts."""
    # it logs what it sees; patient data must not come out that way
    _config.LOG_HANDLER_LEVEL = "none"
    # private and unknown storage classes too: the sender is known, the archive keeps what it gets
    _config.UNRESTRICTED_STORAGE_SERVICE = True
    # a report goes out as the bytes that were stored, read from a file, never encoded anew
    _config.STORE_SEND_CHUNKED_DATASET = True
    # a malformed UID in a command must not abort the association: the study's other images follow
    _config.VALIDATORS["UI"] = _any_uid


def _any_uid(value: object) -> tuple[bool, str]:
    return isinstance(value, str), "a UID is text"


def application_entity(ae_title: str) -> AE:
    """An application entity that says who made it."""
    entity = AE(ae_title=ae_title)
    entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    return entity


def plain_address(address: str) -> str:
    """An address as entries name it: of IPv4 where it is one in IPv6's clothes, and without an interface."""
    plain = ip_address(address.partition("%")[0])
    if isinstance(plain, IPv6Address) and plain.ipv4_mapped:
        return str(plain.ipv4_mapped)
    return str(plain)


def entries_of(senders: Sequence[Sender], ae_title: str, address: str) -> list[Sender]:
    """The entries for an AE title at an address."""
    caller = ip_address(plain_address(address))
    return [
        sender
        for sender in senders
        if sender.ae_title == ae_title and caller in ip_network(sender.address, strict=False)
    ]


def is_known(
    senders: Sequence[Sender], ae_title: str, address: str, certificate: PeerCertificate | None
) -> bool:
    """Whether this AE title may call from this address with this certificate; None: in clear text."""
    entries = entries_of(senders, ae_title, address)
    if certificate is None:
        return any(not entry.certificate for entry in entries)
    return any(entry.certificate and certificate.is_meant_by(entry.certificate) for entry in entries)


def prepare_socket(connection: socket) -> None:
    """Send at once (no Nagle: it costs 40 ms an image) and notice a peer that is gone."""
    connection.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
    connection.setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1)


def prepare_connection(event: Event) -> None:
    """Prepare the socket of an association that has just been connected (EVT_CONN_OPEN)."""
    transport = event.assoc.dul.socket
    if transport is not None and transport.socket is not None:
        prepare_socket(transport.socket)


def report_contexts() -> list[PresentationContext]:
    """What we propose to a destination: one context for each class and transfer syntax."""
    return [
        build_context(sop_class, syntax)
        for sop_class in REPORT_CLASSES
        for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
    ]


@contextmanager
def association_with(
    remote: RemoteEntity,
    contexts: Sequence[PresentationContext],
    *,
    calling_ae_title: str,
    timeout_s: float,
    credentials: Credentials | None = None,
    handlers: Sequence[EventHandlerType] = (),
) -> Iterator[Association]:
    """Hold an association; every wait in it ends after `timeout_s`. With `remote.tls` it needs credentials.

    Raises DestinationAway where none comes about, DeliveryRefused where the peer takes none of the contexts.
    """
    secured = _credentials_for(remote, credentials)
    association = _associate(remote, contexts, calling_ae_title, timeout_s, handlers, credentials=secured)
    if not association.is_established:
        raise _why_not(remote, association, secured, timeout_s)
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


@contextmanager
def within(association: Association, seconds: float) -> Iterator[None]:
    """Cut the connection where what is done takes longer: a peer may read a byte a second for ever."""
    transport = association.dul.socket
    connection = transport.socket if transport is not None else None

    def cut() -> None:
        with suppress(OSError):
            if connection is not None:
                # of the plain socket: that of TLS would first forget TLS, under a thread that still sends
                socket.shutdown(connection, SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def find(association: Association, identifier: Dataset) -> list[Dataset]:
    """All answers to a C-FIND (Study Root); raises FetchFailed unless it ends with success."""
    found: list[Dataset] = []
    try:
        for response, answer in association.send_c_find(identifier, FIND):
            if "Status" not in response:
                break
            if response.Status not in PENDING:
                if response.Status == SUCCESS:
                    return found
                raise FetchFailed(f"it did not answer the C-FIND (status {response.Status:04X})")
            if answer is not None:
                found.append(answer)
    except RuntimeError as error:
        raise FetchFailed("the association ended before the C-FIND") from error
    raise FetchFailed("it hung up or was silent in the middle of a C-FIND")


def own_address(association: Association) -> str:
    """The address of this machine that the peer sees."""
    transport = association.dul.socket
    if transport is None or transport.socket is None:
        return ""
    return str(transport.socket.getsockname()[0])


def listens(host: str, port: int) -> bool:
    """Whether somebody takes connections there."""
    try:
        create_connection((host, port), timeout=_CONNECT_WITHIN_S).close()
    except OSError:
        return False
    return True


def leave_answers_to_askers(association: Association) -> None:
    """Let whoever asks over an association of ours have the answer; to be called before the first request.

    pynetdicom pauses its reactor for a request, but under load the reactor can be past its checkpoint while
    it still looks paused; it would take the answer off the queue then, and the request wait in vain.
    """
    # pynetdicom makes it itself, and nothing was asked yet: here it becomes ours
    association.dimse.__class__ = _AskersMessages


class _AskersMessages(DIMSEServiceProvider):
    """Gives the thread of the association requests of the peer, and whoever asks the answer to what he asked.

    An answer to something else, one that came twice or late, is nobody's.
    """

    _asked = 0

    def send_msg(self, primitive: DimsePrimitiveType, context_id: int) -> None:
        """Send a message; a request bears a number that the one before it did not."""
        if isinstance(primitive, C_CANCEL):
            primitive.MessageIDBeingRespondedTo = self._asked
        elif primitive.MessageIDBeingRespondedTo is None:
            self._asked = self._asked % 0xFFFF + 1
            primitive.MessageID = self._asked
        super().send_msg(primitive, context_id)

    def get_msg(self, block: bool = False) -> _Message:
        """The next message for the thread that calls, (None, None) where there is none."""
        if threading.current_thread() is not self.assoc:
            found = super().get_msg(block)
            while found[1] is not None and found[1].MessageIDBeingRespondedTo not in (None, self._asked):
                found = super().get_msg(block)
            return found
        with self.msg_queue.mutex:
            waiting: deque[_Message] = self.msg_queue.queue
            while waiting and not self._is_awaited(waiting[0]):
                found = waiting.popleft()
                if found[1] is not None and found[1].MessageIDBeingRespondedTo is None:
                    return found
            return None, None

    def _is_awaited(self, found: _Message) -> bool:
        return found[1] is not None and found[1].MessageIDBeingRespondedTo == self._asked


def echo(
    remote: RemoteEntity, *, calling_ae_title: str, timeout_s: float, credentials: Credentials | None = None
) -> bool:
    """Ask whether the peer answers (C-ECHO)."""
    trouble = echo_trouble(
        remote, calling_ae_title=calling_ae_title, timeout_s=timeout_s, credentials=credentials
    )
    return trouble is None


def echo_trouble(
    remote: RemoteEntity, *, calling_ae_title: str, timeout_s: float, credentials: Credentials | None = None
) -> str | None:
    """Why the peer does not answer (C-ECHO), None where it does."""
    contexts = [build_context(VERIFICATION)]
    try:
        with association_with(
            remote,
            contexts,
            calling_ae_title=calling_ae_title,
            timeout_s=timeout_s,
            credentials=credentials,
        ) as association:
            status = association.send_c_echo().get("Status")
            return None if status == SUCCESS else f"{remote.name} gave no answer"
    except (DeliveryFailed, DeliveryRefused) as error:
        return str(error)


def _credentials_for(remote: RemoteEntity, credentials: Credentials | None) -> Credentials | None:
    if not remote.tls:
        return None
    if credentials is None:
        raise DestinationAway(
            f"{remote.name} is called with TLS, and the settings name no certificate of ours"
        )
    return credentials


def _associate(
    remote: RemoteEntity,
    contexts: Sequence[PresentationContext],
    calling_ae_title: str,
    timeout_s: float,
    handlers: Sequence[EventHandlerType],
    *,
    credentials: Credentials | None,
) -> Association:
    entity = application_entity(calling_ae_title)
    entity.connection_timeout = timeout_s
    entity.acse_timeout = timeout_s
    entity.dimse_timeout = timeout_s
    entity.network_timeout = timeout_s

    def bound_the_socket(event: Event) -> None:
        transport = event.assoc.dul.socket
        if transport is not None and transport.socket is not None:
            prepare_socket(transport.socket)
            transport.socket.settimeout(timeout_s)  # a peer that reads nothing must not hold us

    try:
        association = entity.associate(
            remote.host,
            remote.port,
            contexts=list(contexts),
            ae_title=remote.ae_title,
            evt_handlers=[(evt.EVT_CONN_OPEN, bound_the_socket), *handlers],
            tls_args=None if credentials is None else (credentials.calling(), remote.tls_host),
        )
    except UsageError as error:
        raise DestinationAway(f"no TLS with {remote.name}: {error}") from error
    except OSError as error:
        raise DestinationAway(f"the host name of {remote.name} cannot be resolved") from error
    leave_answers_to_askers(association)
    return association


def _why_not(
    remote: RemoteEntity, association: Association, credentials: Credentials | None, timeout_s: float
) -> DestinationAway | DeliveryRefused:
    if association.is_rejected:
        answer = association.acceptor.primitive
        said = (answer.result, answer.result_source, answer.diagnostic) if answer else (0, 0, 0)
        because = _REJECTIONS.get(said, f"reason {said[0]}/{said[1]}/{said[2]}")
        return DestinationAway(f"{remote.name} rejected the association: {because}")
    if association.rejected_contexts:
        return DeliveryRefused(f"{remote.name} takes none of the SOP classes that we propose")
    trouble = trouble_with(remote, credentials, timeout_s=timeout_s) if credentials else None
    return DestinationAway(trouble or f"{remote.name} does not answer at {remote.host}:{remote.port}")
