"""Opens the ports of reception, in clear text and over TLS, and closes them. Uses the network."""

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol, cast

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import Event, EventHandlerType

from ich_node.errors import UsageError
from ich_node.intake.listener import BoundedSocket, Limits, Listener, Places, Rejection, Transport
from ich_node.intake.messages import StreamedMessages
from ich_node.intake.secured import SecuredSocket
from ich_node.network import application_entity
from ich_node.settings.tree import Settings
from ich_node.store.incoming import Incoming
from ich_node.tls import Credentials, PeerCertificate
from ich_node.vocabulary import CutOff

TICK_S = 0.1
PDU_WITHIN_S = 30.0
DRAIN_S, DRAIN_IDLE_S = 10.0, 1.0  # at the end: for all associations, for one that is silent


class Handling(Protocol):
    """What is done with callers and with what they send."""

    def admit(
        self, called: str, calling: str, address: str, certificate: PeerCertificate | None
    ) -> Rejection | None: ...
    def refuse_handshake(self, address: str, why: str) -> None: ...
    def cut_off(self, why: CutOff) -> None: ...
    def begin(self, association: Association, request: C_STORE) -> Incoming: ...
    def store(self, event: Event) -> Dataset | int: ...
    def commit(self, event: Event) -> tuple[int, None]: ...


def listen(settings: Settings, handling: Handling) -> list[Listener]:
    """Listen in clear text, over TLS, or both; raises UsageError."""
    facts = settings.receiver
    entity = application_entity(facts.ae_title)
    entity.network_timeout = facts.idle_timeout_s
    entity.acse_timeout = min(PDU_WITHIN_S, facts.idle_timeout_s)
    limits = Limits(
        associations=facts.max_associations,
        associations_per_address=facts.max_associations_per_address,
        pdu_bytes=facts.max_pdu_bytes,
        data_set_bytes=facts.max_instance_mb * 1_000_000,
        pdu_within_s=min(PDU_WITHIN_S, facts.idle_timeout_s),
        cut_off=handling.cut_off,
    )
    transports: dict[int, Transport] = {facts.port: BoundedSocket} if facts.port else {}
    if facts.tls_port:
        credentials = Credentials(settings.tls)
        credentials.accepting()  # wrong files are said now
        transports[facts.tls_port] = partial(
            SecuredSocket, credentials=credentials, refused=handling.refuse_handshake
        )
    handlers: list[EventHandlerType] = [
        (evt.EVT_C_STORE, handling.store),
        (evt.EVT_N_EVENT_REPORT, handling.commit),
    ]
    places = Places(limits)
    listeners: list[Listener] = []
    for port, transport in transports.items():
        try:
            listener = Listener(
                entity,
                (facts.host, port),
                limits=limits,
                places=places,
                admission=handling.admit,
                begin=handling.begin,
                handlers=handlers,
                transport=transport,
            )
        except OSError as error:
            for bound in listeners:
                bound.server_close()
            raise UsageError(f"cannot listen on {facts.host}:{port} ({error.strerror})") from error
        listeners.append(listener)
    for one in listeners:
        threading.Thread(target=one.serve_forever, kwargs={"poll_interval": TICK_S}, daemon=True).start()
    return listeners


def drain(listeners: list[Listener], is_busy: Callable[[Association], bool]) -> None:
    """Let associations end by themselves; end those that are silent, and after a while all."""
    end = time.monotonic() + DRAIN_S
    while time.monotonic() < end + DRAIN_S:
        associations = [one for listener in listeners for one in listener.active_associations]
        if not associations:
            return
        for association in associations:
            if association.requestor.primitive is None:
                cast("BoundedSocket", association.dul.socket).cut()  # it never said who it is
                continue
            silent_s = time.monotonic() - cast("StreamedMessages", association.dimse).last_heard
            idle = silent_s > DRAIN_IDLE_S and not is_busy(association)
            if idle or time.monotonic() > end:
                association.acse_timeout = 1  # how long we wait for the peer to hang up
                association.abort(block=False)
        time.sleep(TICK_S)
