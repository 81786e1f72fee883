"""Statements about who may send beside those of the settings: let in, and sent away, by an administrator."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, select

from ich_node.settings.sections import Sender
from ich_node.store.tables import allowed_senders, refused_callers


@dataclass(frozen=True, kw_only=True)
class AllowedSender:
    """A sender, and since when it may send."""

    sender: Sender
    allowed_at: datetime


def allow_sender(connection: Connection, sender: Sender, *, now: datetime) -> None:
    """Let a sender in from its next association on; what was said of the same one before is replaced.

    Its refusals are forgotten: the list of them is what an administrator has yet to look at.
    """
    remove_sender(connection, ae_title=sender.ae_title, address=sender.address)
    connection.execute(insert(allowed_senders).values(**sender.model_dump(), allowed_at=now))
    refused = and_(
        refused_callers.c.calling_ae_title == sender.ae_title, refused_callers.c.address == sender.address
    )
    connection.execute(delete(refused_callers).where(refused))


def remove_sender(connection: Connection, *, ae_title: str, address: str) -> bool:
    """Let a sender in no more; returns whether it was let in here."""
    return connection.execute(delete(allowed_senders).where(_is(ae_title, address))).rowcount > 0


def list_allowed(connection: Connection) -> list[AllowedSender]:
    """All that were let in, in the order of their titles."""
    rows = connection.execute(
        select(allowed_senders).order_by(allowed_senders.c.ae_title, allowed_senders.c.address)
    )
    return [
        AllowedSender(
            sender=Sender(
                ae_title=row.ae_title, address=row.address, certificate=row.certificate, urgency=row.urgency
            ),
            allowed_at=row.allowed_at,
        )
        for row in rows
    ]


def _is(ae_title: str, address: str) -> ColumnElement[bool]:
    return and_(allowed_senders.c.ae_title == ae_title, allowed_senders.c.address == address)
