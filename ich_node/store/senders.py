"""Statements about who may send beside those of the settings: let in, and sent away, by an administrator."""

from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address, ip_network

from sqlalchemy import Connection, and_, delete, insert, select

from ich_node.settings.sections import Sender
from ich_node.store.tables import allowed_senders, refused_callers


@dataclass(frozen=True, kw_only=True)
class AllowedSender:
    """A sender, and since when it may send."""

    sender: Sender
    allowed_at: datetime


def allow_sender(connection: Connection, sender: Sender, *, now: datetime) -> None:
    """Let a sender in from its next association on; what was said of the same way in before is replaced.

    With a certificate and without one are two ways: a sender that changes over may have both. Its refusals
    are forgotten: the list of them is what an administrator has yet to look at.
    """
    remove_senders(
        connection, ae_title=sender.ae_title, address=sender.address, certificate=sender.certificate
    )
    connection.execute(insert(allowed_senders).values(**sender.model_dump(), allowed_at=now))
    _forget_refusals(connection, sender)


def _forget_refusals(connection: Connection, sender: Sender) -> None:
    network = ip_network(sender.address, strict=False)
    of_title = select(refused_callers.c.id, refused_callers.c.address).where(
        refused_callers.c.calling_ae_title == sender.ae_title
    )
    within = [row.id for row in connection.execute(of_title) if ip_address(row.address) in network]
    connection.execute(delete(refused_callers).where(refused_callers.c.id.in_(within)))


def remove_senders(
    connection: Connection, *, ae_title: str, address: str, certificate: str | None = None
) -> int:
    """Let a sender in no more, with any certificate or none where that is None; returns how many ways in."""
    same = and_(allowed_senders.c.ae_title == ae_title, allowed_senders.c.address == address)
    if certificate is not None:
        same = and_(same, allowed_senders.c.certificate == certificate)
    return connection.execute(delete(allowed_senders).where(same)).rowcount


def list_allowed(connection: Connection) -> list[AllowedSender]:
    """All that were let in, in the order of their titles."""
    rows = connection.execute(
        select(allowed_senders).order_by(
            allowed_senders.c.ae_title, allowed_senders.c.address, allowed_senders.c.certificate
        )
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
