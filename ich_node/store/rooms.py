"""Statements about the signs of life that the node's processes give."""

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, select, update

from ich_node.core.rooms import FORGOTTEN_AFTER, Sign
from ich_node.store.watch_tables import signs_of_life

_COLUMNS = [signs_of_life.c[name] for name in Sign.__dataclass_fields__]


def give_sign(connection: Connection, sign: Sign) -> None:
    """Write down the sign of a process in place of its last one."""
    values = {name: value for name, value in vars(sign).items() if name != "begun_at"}
    same = _of(sign.room, sign.process)
    if connection.execute(update(signs_of_life).where(same).values(values)).rowcount == 0:
        connection.execute(insert(signs_of_life).values(vars(sign)))


def end_signs(connection: Connection, room: str, *processes: str) -> None:
    """Forget processes that ended; the room is not silent for that."""
    for process in processes:
        connection.execute(delete(signs_of_life).where(_of(room, process)))


def list_signs(connection: Connection) -> list[Sign]:
    """The last sign of every process that did not say that it ends."""
    statement = select(*_COLUMNS).order_by(signs_of_life.c.room, signs_of_life.c.process)
    return [Sign(**row._mapping) for row in connection.execute(statement)]


def forget_signs(connection: Connection, *, now: datetime) -> None:
    """Forget processes that are silent for long, where their room has one that is not."""
    alive = signs_of_life.alias()
    replaced = select(alive.c.id).where(alive.c.room == signs_of_life.c.room, alive.c.due_at >= now).exists()
    gone = signs_of_life.c.due_at < now - FORGOTTEN_AFTER
    connection.execute(delete(signs_of_life).where(gone, replaced))


def _of(room: str, process: str) -> ColumnElement[bool]:
    return and_(signs_of_life.c.room == room, signs_of_life.c.process == process)
