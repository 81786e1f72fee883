"""Hints that there may be work, so that nobody asks often. Rows are the truth: a hint may be lost.

On PostgreSQL NOTIFY tells, at the commit of what is to be done. On SQLite a counter of all commits
does, which lies in memory that the processes share: looking at it holds up no writer and reads no row.
"""

import threading
from contextlib import suppress
from enum import StrEnum
from time import monotonic
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionLeft

from ich_node.store.database import Database

LISTEN_EVERY_S = 0.05
CONNECT_AGAIN_S = 10.0


class Topic(StrEnum):
    """What there is to do; the names of PostgreSQL's channels."""

    STUDIES = "ich_node_studies"
    REPORTS = "ich_node_reports"


def tell(connection: Connection, topic: Topic) -> None:
    """Wake who waits for this, when the transaction commits; SQLite needs no telling."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_notify(topic.value, "")))


class Hints:
    """What one thread waits with; holds a connection of its own while it can have one."""

    def __init__(self, database: Database, topic: Topic) -> None:
        self._database, self._topic = database, topic
        self._is_sqlite = database.engine.dialect.name == "sqlite"
        self._connection: Any = None
        self._tried_at = float("-inf")
        self._version: object = None
        self._faults = (DBAPIError, NoConnectionLeft, OSError, database.engine.dialect.loaded_dbapi.Error)

    def wait(self, stop: threading.Event, seconds: float) -> None:
        """Wait for `stop`, for a hint, or so many seconds; one that came since the last wait counts."""
        end = monotonic() + seconds
        while (left := end - monotonic()) > 0:
            if stop.wait(min(LISTEN_EVERY_S, left)) or self._heard():
                return

    def close(self) -> None:
        """Give the connection back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*self._faults):  # it may be broken, which is why it is closed
                connection.close()

    def _heard(self) -> bool:
        try:
            if self._connection is None and not self._connect():
                return False
            if self._is_sqlite:
                before, self._version = (
                    self._version,
                    self._connection.execute("PRAGMA data_version").fetchone(),
                )
                return before is not None and before != self._version
            return any(list(self._connection.notifies(timeout=0)))
        except self._faults:  # without hints whoever waits looks in time
            self.close()
            return False

    def _connect(self) -> bool:
        """Connect unless that was tried a moment ago; what was told meanwhile is lost."""
        if monotonic() - self._tried_at < CONNECT_AGAIN_S:
            return False
        self._tried_at = monotonic()
        pooled = self._database.engine.raw_connection()
        driver: Any = pooled.driver_connection
        pooled.detach()  # the pool is for transactions
        if not self._is_sqlite:
            driver.autocommit = True
            driver.execute(f"LISTEN {self._topic.value}")
        self._connection = driver
        return True
