"""Writes down in the audit trail what came over an association, and who was not let in."""

from datetime import datetime, timedelta

from ich_node.dicom.audit import Party, refused, transferred
from ich_node.store.associations import close_associations_unseen
from ich_node.store.audit import came_over, record
from ich_node.store.database import Connection, Database
from ich_node.store.quarantine import note_refused_caller

GONE_AFTER = timedelta(hours=1)


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
    now: datetime,
    trouble: str = "",
    **certificate: str,
) -> None:
    """List a caller who was refused for the administrator; where it is news, as a security alert too."""
    is_news = note_refused_caller(
        connection,
        calling_ae_title=calling_ae_title,
        called_ae_title=called_ae_title,
        address=address,
        now=now,
        trouble=trouble,
        **certificate,
    )
    if is_news:
        why = trouble or f"not admitted; it called {called_ae_title}"
        # one whose handshake failed never said its AE title
        caller = Party.entity(calling_ae_title, address) if calling_ae_title else Party(user=address)
        record(connection, refused(caller, ours=ours, why=why), now=now)
