"""The signs of life of one process, written by its loops themselves: a loop that hangs falls silent."""

import os
import threading
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import psutil

from ich_node.core.rooms import Sign
from ich_node.dicom.audit import activity
from ich_node.errors import Collision, DatabaseAway
from ich_node.store.audit import record
from ich_node.store.clock import server_time
from ich_node.store.database import Connection, Database
from ich_node.store.rooms import end_signs, forget_signs, give_sign, list_signs
from ich_node.store.writer import this_process
from ich_node.user import current_user

EVERY_S = 10.0
AGAIN_S = 2.0  # after a failure: a receiver ticks ten times a second, and a dead host costs seconds
WITHIN_S = 60.0  # longer than SQLite may make a writer wait
LONGEST_WORDS = 64
CLOCK_S = 5.0  # well below what a sender may be silent for, and what a lease lasts


@dataclass(frozen=True, kw_only=True)
class _Beat:
    seen_at: datetime
    due_at: datetime
    doing: str
    trouble: str | None


class Pulse:
    """Of all loops of a process; any may write, and what is written is about the one that is due first.

    So a loop that hangs is seen although the others go on. No thread of its own: that would say that all is
    well whatever the others do. The first sign and the end stand in the audit trail.
    """

    def __init__(self, database: Database, room: str) -> None:
        self._database, self._room = database, room
        self._host = this_process().host
        self._process = f"{self._host}:{os.getpid()}"
        self._begun_at = datetime.now(UTC)
        self._lock = threading.Lock()
        self._loops: dict[str, _Beat] = {}
        self._until: dict[str, float] = {}  # by the clock that nobody sets
        self._written_at = self._failed_at = float("-inf")
        self._written: _Beat | None = None
        self._audited = False

    def beat(
        self, doing: str, *, loop: str = "main", within_s: float = WITHIN_S, trouble: str | None = None
    ) -> None:
        """Say what a loop of this process does, and that it will speak again within so many seconds.

        Written at most every ten seconds unless more time or trouble is to be told. A database that is away
        hears nothing.
        """
        now = datetime.now(UTC)
        beat = _Beat(
            seen_at=now,
            due_at=now + timedelta(seconds=within_s),
            doing=doing[:LONGEST_WORDS],
            trouble=None if trouble is None else trouble[:LONGEST_WORDS],
        )
        with self._lock:
            self._loops[loop], self._until[loop] = beat, time.monotonic() + within_s
            first = self._most_urgent()
            if not self._is_news(first):
                return
            self._written, self._written_at = first, time.monotonic()
        self._write(first)

    def is_late(self, loop: str = "main") -> bool:
        """Whether a loop has not spoken for longer than it said: it may hang."""
        return time.monotonic() > self._until.get(loop, float("inf"))

    def end_loop(self, loop: str) -> None:
        """A loop ended as it should; nothing is expected of it."""
        with self._lock:
            self._loops.pop(loop, None)
            self._until.pop(loop, None)

    def end(self) -> None:
        """The process ends as it should: nobody is to miss it."""
        try:
            with self._database.transaction() as connection:
                end_signs(connection, self._room, self._process)
                if self._audited:
                    self._audit(connection, starts=False)
        except (Collision, DatabaseAway):
            return  # it will count as silent until another one begins here

    def _most_urgent(self) -> _Beat:
        troubled = [beat for beat in self._loops.values() if beat.trouble]
        overdue = [beat for beat in self._loops.values() if beat.due_at < datetime.now(UTC)]
        return min(overdue or troubled or self._loops.values(), key=lambda beat: beat.due_at)

    def _is_news(self, beat: _Beat) -> bool:
        before = self._written
        if time.monotonic() - self._failed_at < AGAIN_S:
            return False
        if before is None or time.monotonic() - self._written_at >= EVERY_S:
            return True
        # seconds apart: a loop that always asks for the same time is not news each time
        return beat.trouble != before.trouble or beat.due_at - before.due_at > timedelta(seconds=2 * EVERY_S)

    def _write(self, beat: _Beat) -> None:
        with self._lock:
            starts, self._audited = not self._audited, True
        try:
            with self._database.transaction() as connection:
                beat = replace(beat, trouble=beat.trouble or _clock_trouble(connection))
                sign = Sign(room=self._room, process=self._process, begun_at=self._begun_at, **vars(beat))
                give_sign(connection, sign)
                forget_signs(connection, now=sign.seen_at)
                gone = [one.process for one in list_signs(connection) if self._is_gone(one)]
                end_signs(connection, self._room, *gone)
                if starts:
                    self._audit(connection, starts=True)
        except (Collision, DatabaseAway):
            with self._lock:
                self._written, self._failed_at = None, time.monotonic()
                self._audited = self._audited and not starts

    def _audit(self, connection: Connection, *, starts: bool) -> None:
        event = activity(f"{self._room} {self._process}", starts=starts, launcher=current_user())
        record(connection, event, now=datetime.now(UTC))

    def _is_gone(self, sign: Sign) -> bool:
        """Whether it is of an earlier life of this room on this machine, of which only the row is left."""
        host, _, pid = sign.process.rpartition(":")
        if sign.room != self._room or host != self._host or sign.process == self._process:
            return False
        if sign.begun_at < datetime.fromtimestamp(psutil.boot_time(), UTC):
            return True  # another process bears its number now
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False


def _clock_trouble(connection: Connection) -> str | None:
    """What is wrong with the clock of this machine: leases and senders count by several machines' clocks."""
    said = server_time(connection)
    apart_s = 0.0 if said is None else (datetime.now(UTC) - said).total_seconds()
    return f"the clock differs from the database's by {apart_s:.0f} s" if abs(apart_s) > CLOCK_S else None
