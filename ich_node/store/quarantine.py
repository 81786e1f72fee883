"""Statements about what was refused: bytes that belong to no study, and callers that nobody knows."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, delete, insert, select, update

from ich_node.store.tables import quarantine, refused_callers

# a hostile caller invents titles without end; what an administrator has to look at has one
MOST_REFUSED_CALLERS = 1000
LONGEST_NAME = 255
NEWS_AGAIN_AFTER = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class Quarantined:
    """Bytes kept apart, and who sent them."""

    file: str  # below the quarantine's folder
    reason: str
    bytes: int
    calling_ae_title: str
    address: str
    received_at: datetime
    gone_at: datetime | None = None  # when retention took the bytes


@dataclass(frozen=True, kw_only=True)
class RefusedCaller:
    """A caller whose associations were rejected."""

    calling_ae_title: str
    called_ae_title: str
    address: str
    count: int
    last_at: datetime
    trouble: str  # why its TLS handshake failed; then it said no AE title
    certificate_name: str  # of the verified certificate that it showed; both empty: it called in clear text
    certificate_sha256: str


def add_quarantined(connection: Connection, new: Quarantined) -> None:
    """List bytes in quarantine; the same ones again change nothing but that they are there."""
    again = update(quarantine).where(quarantine.c.file == new.file).values(gone_at=None)
    if not connection.execute(again).rowcount:
        connection.execute(insert(quarantine).values(vars(new)))


def oldest_quarantined(connection: Connection, *, received_before: datetime, limit: int) -> list[str]:
    """Files of the quarantine that are still there and came before that moment, the oldest first."""
    there = and_(quarantine.c.gone_at.is_(None), quarantine.c.received_at < received_before)
    statement = select(quarantine.c.file).where(there).order_by(quarantine.c.received_at).limit(limit)
    return list(connection.execute(statement).scalars())


def mark_gone(connection: Connection, file: str, *, now: datetime) -> None:
    """Note that retention takes a file of the quarantine."""
    connection.execute(update(quarantine).where(quarantine.c.file == file).values(gone_at=now))


def list_quarantined(connection: Connection, *, limit: int = 50) -> list[Quarantined]:
    """The newest first."""
    columns = [quarantine.c[name] for name in Quarantined.__dataclass_fields__]
    statement = select(*columns).order_by(quarantine.c.id.desc()).limit(limit)
    return [Quarantined(**row._mapping) for row in connection.execute(statement)]


def note_refused_caller(
    connection: Connection,
    *,
    calling_ae_title: str,
    called_ae_title: str,
    address: str,
    now: datetime,
    trouble: str = "",
    certificate_name: str = "",
    certificate_sha256: str = "",
) -> bool:
    """Count a rejected association for the administrator, who may let the caller in; the last one's facts.

    Returns whether it is news: the first of this caller, as far as it is still listed, or the first for an
    hour.
    """
    same = and_(
        refused_callers.c.calling_ae_title == calling_ae_title,
        refused_callers.c.called_ae_title == called_ae_title,
        refused_callers.c.address == address,
    )
    last = {
        "last_at": now,
        "trouble": trouble,
        "certificate_name": certificate_name[:LONGEST_NAME],
        "certificate_sha256": certificate_sha256,
    }
    before = connection.execute(select(refused_callers.c.last_at).where(same)).scalar()
    counted = update(refused_callers).where(same).values(count=refused_callers.c.count + 1, **last)
    if connection.execute(counted).rowcount:
        return before is None or now - before >= NEWS_AGAIN_AFTER
    newest = select(refused_callers.c.id).order_by(
        refused_callers.c.last_at.desc(), refused_callers.c.id.desc()
    )
    beyond = newest.offset(MOST_REFUSED_CALLERS - 1)
    old = list(connection.execute(beyond.limit(MOST_REFUSED_CALLERS)).scalars())
    if old:
        connection.execute(delete(refused_callers).where(refused_callers.c.id.in_(old)))
    connection.execute(
        insert(refused_callers).values(
            calling_ae_title=calling_ae_title,
            called_ae_title=called_ae_title,
            address=address,
            **last,
        )
    )
    return True


def list_refused_callers(connection: Connection) -> list[RefusedCaller]:
    """Who was turned away, the latest first."""
    columns = [refused_callers.c[name] for name in RefusedCaller.__dataclass_fields__]
    statement = select(*columns).order_by(refused_callers.c.last_at.desc())
    return [RefusedCaller(**row._mapping) for row in connection.execute(statement)]
