"""Statements about associations: who sends, and whether somebody may still be sending."""

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, insert, update

from ich_node.store.tables import associations

# stands where the receiver's name does: over this one images came that lay in our own archive
ADOPTED = "adopted"


def open_association(
    connection: Connection, *, receiver: str, calling_ae_title: str, address: str, now: datetime
) -> int:
    """Note that an association has begun; returns its number."""
    statement = insert(associations).values(
        receiver=receiver, calling_ae_title=calling_ae_title, address=address, opened_at=now, seen_at=now
    )
    key = connection.execute(statement).inserted_primary_key
    assert key is not None
    return int(key[0])


def keep_associations_open(connection: Connection, receiver: str, *, now: datetime) -> None:
    """Note that a receiver lives and holds the associations that it did not close."""
    held = and_(associations.c.receiver == receiver, associations.c.closed_at.is_(None))
    connection.execute(update(associations).where(held).values(seen_at=now))


def close_association(connection: Connection, association_id: int, *, now: datetime) -> bool:
    """Note that an association has ended, however it ended; False where somebody else had noted it."""
    still_open = and_(associations.c.id == association_id, associations.c.closed_at.is_(None))
    return connection.execute(update(associations).where(still_open).values(closed_at=now)).rowcount == 1


def close_associations_of(connection: Connection, receiver: str, *, now: datetime) -> list[int]:
    """Close what an earlier life of this receiver left open; returns their numbers."""
    return _close(connection, associations.c.receiver == receiver, now)


def close_associations_unseen(connection: Connection, *, since: datetime, now: datetime) -> list[int]:
    """Close what a receiver left open that was not seen since and may never return; their numbers."""
    return _close(connection, associations.c.seen_at < since, now)


def _close(connection: Connection, these: ColumnElement[bool], now: datetime) -> list[int]:
    open_ones = and_(these, associations.c.closed_at.is_(None))
    closed = update(associations).where(open_ones).values(closed_at=now).returning(associations.c.id)
    return sorted(connection.execute(closed).scalars())
