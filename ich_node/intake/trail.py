"""Writes down in the audit trail what came over an association, and who was not let in."""

import threading
from collections import deque
from datetime import datetime, timedelta

from ich_node.dicom.audit import Party, refused, transferred
from ich_node.store.associations import close_associations_unseen
from ich_node.store.audit import came_over, record
from ich_node.store.database import Connection, Database
from ich_node.store.quarantine import note_refused_caller

GONE_AFTER = timedelta(hours=1)
# a hostile caller invents titles without end: of more than that a receiver tells no more one by one
MOST_ALERTS, ALERTS_WITHIN = 100, timedelta(hours=1)


class Alerts:
    """How many security alerts about callers a receiver may still write."""

    def __init__(self) -> None:
        self._written: deque[datetime] = deque()
        self._lock = threading.Lock()

    def take(self, *, now: datetime) -> int:
        """Take one; returns how many were left, 0 where none is to be written."""
        with self._lock:
            while self._written and abs(now - self._written[0]) >= ALERTS_WITHIN:  # clocks are set back, too
                self._written.popleft()
            if left := max(0, MOST_ALERTS - len(self._written)):
                self._written.append(now)
            return left


def record_arrivals(connection: Connection, association_id: int, *, ours: str, now: datetime) -> None:
    """One message for each study that came over it, not for each instance; `ours` is our AE title."""
    for came in came_over(connection, association_id):
        source = Party.entity(came.calling_ae_title, came.address)
        record(connection, transferred(came.study, source=source, destination=Party.entity(ours)), now=now)


def record_what_gone_receivers_took(database: Database, *, ours: str, now: datetime) -> None:
    """The same for receivers that were killed and never came back: a container does under another name."""
    with database.transaction() as connection:
        for number in close_associations_unseen(connection, since=now - GONE_AFTER, now=now):
            record_arrivals(connection, number, ours=ours, now=now)


def record_refusal(
    connection: Connection,
    *,
    ours: str,
    calling_ae_title: str,
    called_ae_title: str,
    address: str,
    alerts: Alerts,
    now: datetime,
    trouble: str = "",
    **certificate: str,
) -> None:
    """List a caller who was refused for the administrator; where it is news, as a security alert too.

    The last alert that may be written says that there may be more callers.
    """
    is_news = note_refused_caller(
        connection,
        calling_ae_title=calling_ae_title,
        called_ae_title=called_ae_title,
        address=address,
        now=now,
        trouble=trouble,
        **certificate,
    )
    if is_news and (left := alerts.take(now=now)):
        why = trouble or f"not admitted; it called {called_ae_title}"
        if left == 1:
            why += f"; who else is refused now is listed only: {MOST_ALERTS} were within an hour"
        # one whose handshake failed never said its AE title
        caller = Party.entity(calling_ae_title, address) if calling_ae_title else Party(user=address)
        record(connection, refused(caller, ours=ours, why=why), now=now)
