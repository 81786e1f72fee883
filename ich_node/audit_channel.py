"""Sends the audit trail to its receiver: syslog over TLS (RFC 5425), as PS3.15 A.6 asks. Uses the network.

In order, each line at least once: what was sent counts only when the receiver has closed in answer to our
closing, for syslog itself answers nothing. By number and time of each a receiver knows what it got twice.
"""

import fcntl
import os
import socket
import ssl
import sys
import termios
import time
from datetime import datetime

from ich_node.core.retry import pause
from ich_node.core.syslog import Speaker, frame
from ich_node.errors import UsageError
from ich_node.log import logger
from ich_node.settings.sections import Audit, Tls
from ich_node.store.audit import lines_after, mark_sent_up_to, oldest_unsent_at, sent_up_to
from ich_node.store.database import Database
from ich_node.tls import Credentials, handshake_words

AT_A_TIME, TIMES = 200, 50  # lines over one connection, connections in one turn
FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 60.0
TIMEOUT_S = 20.0
_PROGRAM = "ich-node"
_LOST = "the receiver of audit messages did not confirm by closing"


class AuditChannel:
    """Brings the receiver of audit messages up to date; after a failure it waits, longer each time."""

    def __init__(self, database: Database, settings: Audit, tls: Tls) -> None:
        self._database, self._settings = database, settings
        self._credentials = Credentials(tls)
        self._speaker = Speaker(host=socket.gethostname(), program=_PROGRAM, pid=os.getpid())
        self._failures = 0
        self._not_before = float("-inf")
        self._alarmed = False

    def look(self, *, now: datetime) -> None:
        """Send all that waits, unless it failed a moment ago; raises DatabaseAway, Collision."""
        if time.monotonic() < self._not_before:
            return
        try:
            any(not self.send_some() for _ in range(TIMES))
        except (OSError, UsageError) as error:
            words = str(error) if isinstance(error, UsageError) else _words(error)
            self._failed(words, now)
        else:
            self._reached()

    def send_some(self) -> bool:
        """Send the lines that come next; returns whether there were any. Raises OSError, UsageError."""
        with self._database.reading() as connection:
            before = sent_up_to(connection)
            waiting = lines_after(connection, before, limit=AT_A_TIME)
        if not waiting:
            return False
        self._send(
            b"".join(
                frame(line.message, number=line.id, at=line.at, speaker=self._speaker) for line in waiting
            )
        )
        with self._database.transaction() as connection:
            mark_sent_up_to(connection, waiting[-1].id, before=before)
        return True

    def _send(self, frames: bytes) -> None:
        """Over a connection of their own, to its end; raises OSError, UsageError."""
        facts = self._settings
        context = self._credentials.calling()
        with (
            socket.create_connection((facts.host, facts.port), timeout=TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=facts.tls_name or facts.host) as secured,
        ):
            secured.sendall(frames)
            _require_open(secured)
            _close(secured)

    def _failed(self, words: str, now: datetime) -> None:
        self._failures += 1
        waits = pause(FIRST_PAUSE_S, LONGEST_PAUSE_S, doublings=self._failures - 1)
        self._not_before = time.monotonic() + waits.total_seconds()
        with self._database.reading() as connection:
            oldest = oldest_unsent_at(connection)
        late_s = 0.0 if oldest is None else (now - oldest).total_seconds()
        log = logger().bind(host=self._settings.host, port=self._settings.port, error=words)
        if late_s > self._settings.alarm_after_s and not self._alarmed:
            self._alarmed = True
            log.error("audit.not_sent", seconds=round(late_s), attempts=self._failures)
        elif self._failures == 1:
            log.warning("audit.not_reached")

    def _reached(self) -> None:
        if self._failures:
            logger().info("audit.back", host=self._settings.host, attempts=self._failures)
        self._failures, self._alarmed = 0, False


def _require_open(secured: ssl.SSLSocket) -> None:
    """Raises OSError where the receiver closed before we did: its closing would confirm nothing."""
    secured.settimeout(0)
    try:
        if not secured.recv(1):
            raise ConnectionError(_LOST)
    except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return
    finally:
        secured.settimeout(TIMEOUT_S)


def _close(secured: ssl.SSLSocket) -> None:
    """Close, and wait until the receiver has read all that came before; raises OSError where it has not.

    It must answer our close_notify with its own (RFC 5425 4.4). rsyslog just hangs up: that says the same
    where its machine has taken all that we sent, as hanging up on what was not read is a reset.
    """
    try:
        secured.unwrap()
    except ssl.SSLEOFError:
        if _unacknowledged_bytes(secured):
            raise ConnectionError(_LOST) from None


def _unacknowledged_bytes(connection: socket.socket) -> int:
    answer = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
    return int.from_bytes(answer, sys.byteorder)


def _words(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return handshake_words(error)
    return str(error) if str(error) == _LOST else f"it cannot be reached ({type(error).__name__})"
