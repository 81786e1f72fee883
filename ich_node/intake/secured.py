"""The transport of a caller over TLS: the handshake, in its own thread and within a time. Uses its socket."""

import time
from collections.abc import Callable
from socket import MSG_PEEK, socket
from ssl import SSLSocket, SSLWantReadError, SSLWantWriteError
from typing import cast

from pynetdicom.transport import AssociationSocket

from ich_node.intake.listener import BoundedSocket, Limits
from ich_node.tls import Credentials, PeerCertificate, handshake_words

HANDSHAKE_WITHIN_S = 10.0

Refused = Callable[[str, str], None]  # hears the address of a caller, and why its handshake failed


class SecuredSocket(BoundedSocket):
    """Shakes hands before anything else; what cannot do that in time ends, and nobody else waits for it.

    It is first used by the thread that serves the connection: the handshake takes place there.
    """

    def __init__(
        self, plain: AssociationSocket, limits: Limits, *, credentials: Credentials, refused: Refused
    ) -> None:
        super().__init__(plain, limits)
        self._credentials = credentials
        self._refused = refused
        self._greeted = self._ended = False

    @property
    def ready(self) -> bool:
        """Whether there is something to read; the first time, after the handshake."""
        if self._ended or self._begun:
            return not self._ended
        try:
            if not self._greeted:
                self._greeted = True
                self._shake_hands()
            return super().ready and self._data_has_come()
        except OSError:
            self._ended = True  # what follows a failed handshake is not read: it would pass for clear text
            self.event_queue.put("Evt17")  # as where select says it
            return False

    def _data_has_come(self) -> bool:
        """Whether reading gives data, or the end; raises OSError.

        A connection over TLS is readable for less: new keys, a part of a record. A reader that waits for
        the rest of it cannot send meanwhile the answer that the peer waits for.
        """
        connection = cast("SSLSocket", self.socket)
        connection.settimeout(0)
        try:
            self.give_back(connection.recv(1))
        except (SSLWantReadError, SSLWantWriteError):
            return False
        finally:
            connection.settimeout(self._within_s)
        return True

    def _shake_hands(self) -> None:
        """Raises OSError where the peer does not get through it."""
        connection = cast("socket", self.socket)
        within_s = min(HANDSHAKE_WITHIN_S, self._within_s)
        end = time.monotonic() + within_s
        try:
            connection.settimeout(within_s)
            if not connection.recv(1, MSG_PEEK):
                raise _SaidNothing  # a look whether we listen, as load balancers take it: nothing to report
            secured = self._credentials.accepting().wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
            self.socket = secured
            secured.settimeout(max(0.001, end - time.monotonic()))
            secured.do_handshake()
            self.certificate = PeerCertificate.of(secured)
        except _SaidNothing:
            raise
        except OSError as error:
            self._refused(str(self.assoc.requestor.address), handshake_words(error))
            raise
        secured.settimeout(self._within_s)


class _SaidNothing(OSError):
    """The peer hung up without a word."""
