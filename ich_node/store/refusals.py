"""Statements about what was refused or cut off: a scanner to which that happened may wait for a person."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from ich_node.store.watch_tables import refusals
from ich_node.vocabulary import CutOff


@dataclass(frozen=True, kw_only=True)
class Refused:
    """How often instances were refused with one status (hexadecimal), or associations for one `CutOff`."""

    status: str
    count: int
    last_at: datetime  # when it was last counted here: later than it happened where the database was away

    @property
    def is_cut_off(self) -> bool:
        """Whether it is associations that were counted."""
        return self.status in CutOff.__members__


def note_refusals(connection: Connection, counts: Mapping[str, int], *, now: datetime) -> None:
    """Add to the counts, each by its status or `CutOff`."""
    for status, count in sorted(counts.items()):  # in one order: two receivers must not wait for each other
        counted = update(refusals).where(refusals.c.status == status)
        if connection.execute(counted.values(count=refusals.c.count + count, last_at=now)).rowcount == 0:
            connection.execute(insert(refusals).values(status=status, count=count, last_at=now))


def list_refusals(connection: Connection) -> list[Refused]:
    """All that was counted."""
    statement = select(refusals.c.status, refusals.c.count, refusals.c.last_at).order_by(refusals.c.status)
    return [Refused(**row._mapping) for row in connection.execute(statement)]
