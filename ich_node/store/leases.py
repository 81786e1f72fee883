"""Leases of processes that died on this machine: free at once, not when they end."""

from datetime import datetime

from sqlalchemy import Connection, Table, and_, select, update

from ich_node.core.states import StudyState
from ich_node.errors import Collision, DatabaseAway
from ich_node.log import logger
from ich_node.store.database import Database
from ich_node.store.tables import deliveries, studies
from ich_node.store.writer import Writer


def free_leases_of_the_dead(database: Database, *, now: datetime) -> int:
    """End each lease whose holder lived here and is known to live no more; returns how many.

    Others pass on when they end, and so do all where this cannot be done now. A token fences off the old
    holder.
    """
    try:
        with database.transaction() as connection:
            freed = sum(_free(connection, table, now) for table in (studies, deliveries))
    except (Collision, DatabaseAway):
        return 0
    if freed:
        logger().info("leases.freed", count=freed)
    return freed


def _free(connection: Connection, table: Table, now: datetime) -> int:
    held = table.c.lease_until > now
    holders = connection.execute(select(table.c.lease_holder).where(held).distinct()).scalars()
    dead = [name for name in holders if (who := Writer.from_holder(name)) and who.is_known_to_be_dead()]
    if not dead:
        return 0
    theirs = and_(held, table.c.lease_holder.in_(dead))
    if table is studies:
        # an early reading was asked for once: it is lost with who took it
        early = and_(theirs, studies.c.state == StudyState.RECEIVING)
        connection.execute(update(studies).where(early).values(early_at=now))
    return connection.execute(update(table).where(theirs).values(lease_until=None)).rowcount
