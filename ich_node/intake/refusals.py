"""What the receiver refused or cut off: counted in memory, written into the database by its loop."""

import threading
import time
from collections import Counter
from datetime import UTC, datetime

from ich_node.errors import Collision, DatabaseAway
from ich_node.store.database import Database
from ich_node.store.refusals import note_refusals

WRITE_EVERY_S = 5.0  # a hostile peer is refused thousands of times in that time


class Refusals:
    """Counts without waiting for the database, which may be away; what a process that dies counted is lost.

    It stays small however much is refused: its codes are the statuses that we answer, and those of `CutOff`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._tried_at = float("-inf")

    def count(self, code: str) -> None:
        """Count one that was refused, from any thread."""
        with self._lock:
            self._counts[code] += 1

    def write(self, *, at_once: bool = False) -> None:
        """Write now and then what was counted since; what cannot be written now is written later."""
        if not at_once and time.monotonic() - self._tried_at < WRITE_EVERY_S:
            return
        with self._lock:
            counts, self._counts = self._counts, Counter()
        if not counts:
            return
        self._tried_at = time.monotonic()
        try:
            with self._database.transaction() as connection:
                note_refusals(connection, counts, now=datetime.now(UTC))
        except (Collision, DatabaseAway):
            with self._lock:
                self._counts.update(counts)
