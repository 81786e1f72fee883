"""The audit trail: lines are added to its end, read and counted, never changed."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Row, and_, func, insert, select, update

from ich_node.core.audit import AuditLine, Head, next_line
from ich_node.dicom.audit import AuditEvent, StudyFacts
from ich_node.store.audit_tables import audit_events, audit_head, audit_sent
from ich_node.store.database import installation_uid
from ich_node.store.tables import associations, instances, studies

_COLUMNS = [audit_events.c[name] for name in AuditLine.__dataclass_fields__]
_AT_A_TIME = 1000


@dataclass(frozen=True, kw_only=True)
class Came:
    """What came of one study over one association, and who sent it."""

    calling_ae_title: str
    address: str
    study: StudyFacts


def record(connection: Connection, event: AuditEvent, *, now: datetime) -> None:
    """Add a message to the end of the trail, in the transaction of what it tells.

    As the last statement of it: the end of the trail stays locked until the commit, and who took other
    locks after it could wait for somebody who waits for it.
    """
    # an update, not a lock: SQLite knows no FOR UPDATE, and this is the same on both
    locked = update(audit_head).where(audit_head.c.id == 1).values(last_id=audit_head.c.last_id + 1)
    last = connection.execute(locked.returning(audit_head.c.last_id, audit_head.c.sha256)).one()
    line = next_line(
        Head(id=last.last_id - 1, sha256=last.sha256),
        at=now,
        kind=event.kind.value,
        message=event.xml(at=now, source=installation_uid(connection)),
    )
    connection.execute(insert(audit_events).values(vars(line)))
    connection.execute(update(audit_head).where(audit_head.c.id == 1).values(sha256=line.sha256))


def head(connection: Connection) -> Head:
    """The end of the trail."""
    row = connection.execute(select(audit_head.c.last_id, audit_head.c.sha256)).one()
    return Head(id=row.last_id, sha256=row.sha256)


def lines(connection: Connection) -> Iterator[AuditLine]:
    """All lines, the first one first; few of them in memory."""
    after = -1  # somebody may have put in what has no business there
    while found := lines_after(connection, after, limit=_AT_A_TIME):
        yield from found
        after = found[-1].id


def lines_after(connection: Connection, number: int, *, limit: int) -> list[AuditLine]:
    """The lines that follow a number, in order."""
    statement = select(*_COLUMNS).where(audit_events.c.id > number).order_by(audit_events.c.id).limit(limit)
    return [_line(row) for row in connection.execute(statement)]


def lines_since(connection: Connection, moment: datetime, *, limit: int) -> list[AuditLine]:
    """The newest lines that are not older than a moment, in order."""
    recent = select(*_COLUMNS).where(audit_events.c.at >= moment)
    rows = connection.execute(recent.order_by(audit_events.c.id.desc()).limit(limit)).all()
    return [_line(row) for row in reversed(rows)]


def _line(row: Row[tuple[object, ...]]) -> AuditLine:
    return AuditLine(**row._mapping)


def sent_up_to(connection: Connection) -> int:
    """The number of the last line that the receiver of audit messages has."""
    return int(connection.execute(select(audit_sent.c.last_id)).scalar_one())


def mark_sent_up_to(connection: Connection, number: int, *, before: int) -> bool:
    """Remember that the receiver has the lines up to a number; False where another process got further."""
    ours = and_(audit_sent.c.id == 1, audit_sent.c.last_id == before)
    return connection.execute(update(audit_sent).where(ours).values(last_id=number)).rowcount == 1


def count_unsent(connection: Connection) -> int:
    """How many lines the receiver of audit messages does not have yet."""
    return head(connection).id - sent_up_to(connection)


def oldest_unsent_at(connection: Connection) -> datetime | None:
    """When the first line was written that the receiver does not have."""
    waiting = audit_events.c.id > select(audit_sent.c.last_id).scalar_subquery()
    oldest = select(audit_events.c.at).where(waiting).order_by(audit_events.c.id).limit(1)
    moment: datetime | None = connection.execute(oldest).scalar()
    return moment


def came_over(connection: Connection, association_id: int) -> list[Came]:
    """What came over an association, study by study; canaries are nobody's."""
    statement = (
        select(
            associations.c.calling_ae_title,
            associations.c.address,
            studies.c.study_uid,
            studies.c.patient_id,
            studies.c.accession_number,
            instances.c.sop_class_uid,
            func.count().label("number"),
        )
        .join(instances, instances.c.association_id == associations.c.id)
        .join(studies, studies.c.id == instances.c.study_id)
        .where(associations.c.id == association_id, ~studies.c.canary)
        .group_by(
            associations.c.calling_ae_title,
            associations.c.address,
            studies.c.id,
            studies.c.study_uid,
            studies.c.patient_id,
            studies.c.accession_number,
            instances.c.sop_class_uid,
        )
        .order_by(studies.c.id)
    )
    by_study: dict[str, list[Row[tuple[object, ...]]]] = {}
    for row in connection.execute(statement):
        by_study.setdefault(row.study_uid, []).append(row)
    return [
        Came(
            calling_ae_title=rows[0].calling_ae_title,
            address=rows[0].address,
            study=StudyFacts(
                study_uid=rows[0].study_uid,
                patient_id=rows[0].patient_id,
                accession_number=rows[0].accession_number,
                instances={row.sop_class_uid: row.number for row in rows},
            ),
        )
        for rows in by_study.values()
    ]


def facts_of(connection: Connection, study_id: int) -> StudyFacts | None:
    """What an audit message says of a study; None of a canary, which is nobody's."""
    identity = select(studies.c.study_uid, studies.c.patient_id, studies.c.accession_number)
    row = connection.execute(identity.where(studies.c.id == study_id, ~studies.c.canary)).one_or_none()
    if row is None:
        return None
    counted = (
        select(instances.c.sop_class_uid, func.count())
        .where(instances.c.study_id == study_id)
        .group_by(instances.c.sop_class_uid)
    )
    counts = {found.sop_class_uid: found[1] for found in connection.execute(counted)}
    return StudyFacts(**row._mapping, instances=counts)
