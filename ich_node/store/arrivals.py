"""Statements about studies that are being received: what came, whether more may come, what looks whole.

A study read early stays in `receiving`: what arrives does not end that reading. Only a positive is kept.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, case, exists, func, or_, select, update

from ich_node.core.completion import GONE_AFTER_S, Arrival, SourceSays
from ich_node.core.states import StudyState
from ich_node.core.urgency import EARLY_FIRST_S
from ich_node.store.associations import ADOPTED
from ich_node.store.hints import Topic, tell
from ich_node.store.history import append
from ich_node.store.studies import due_at
from ich_node.store.tables import associations, instances, studies
from ich_node.vocabulary import Outcome


def arrivals(connection: Connection, *, now: datetime) -> list[tuple[int, Arrival]]:
    """What is known of every study that is being received, for the decision whether it is whole."""
    open_per_study = (
        select(instances.c.study_id, func.count(func.distinct(associations.c.id)).label("open"))
        .join(associations, associations.c.id == instances.c.association_id)
        .where(_is_open(now))
        .group_by(instances.c.study_id)
        .subquery()
    )
    statement = (
        select(
            studies.c.id,
            studies.c.first_instance_at,
            studies.c.last_instance_at,
            func.coalesce(open_per_study.c.open, 0),
            case((studies.c.compared_at == studies.c.last_instance_at, studies.c.source_says)),
        )
        .outerjoin(open_per_study, open_per_study.c.study_id == studies.c.id)
        .where(studies.c.state == StudyState.RECEIVING)
    )
    return [
        (
            row[0],
            Arrival(
                first_instance_at=row[1],
                last_instance_at=row[2],
                open_associations=row[3],
                source_says=SourceSays(row[4]) if row[4] else None,
            ),
        )
        for row in connection.execute(statement)
    ]


def _is_open(now: datetime) -> ColumnElement[bool]:
    """Whether a sender is connected, as far as a receiver says so that lives.

    One that died for good, with its host or its container, closes nothing: its studies would wait for the
    deadline.
    """
    alive_since = now - timedelta(seconds=GONE_AFTER_S)
    alive = or_(associations.c.seen_at.is_(None), associations.c.seen_at >= alive_since)
    adopted = associations.c.receiver == ADOPTED  # nobody sends: no study waits for the end of it
    return and_(associations.c.closed_at.is_(None), alive, ~adopted)


@dataclass(frozen=True, kw_only=True)
class Uncompared:
    """A study that is being received, nobody sends of it any more, and no source was asked since."""

    study_id: int
    study_uid: str
    last_instance_at: datetime


def uncompared_studies(connection: Connection, *, settled_since: datetime, now: datetime) -> list[Uncompared]:
    """The studies to ask sources about, of which nothing came since then."""
    sending = (
        exists()
        .where(associations.c.id == instances.c.association_id, _is_open(now))
        .where(instances.c.study_id == studies.c.id)
    )
    statement = select(studies.c.id.label("study_id"), studies.c.study_uid, studies.c.last_instance_at).where(
        studies.c.state == StudyState.RECEIVING,
        studies.c.last_instance_at <= settled_since,
        or_(studies.c.compared_at.is_(None), studies.c.compared_at != studies.c.last_instance_at),
        ~sending,
        ~studies.c.canary,  # no PACS knows it
    )
    return [Uncompared(**row._mapping) for row in connection.execute(statement.order_by(studies.c.id))]


def note_comparison(
    connection: Connection, asked: Uncompared, says: SourceSays | None, *, source: str | None, now: datetime
) -> None:
    """Keep what a source says of a study as it was when it was asked; None: no source proves anything."""
    values = {"compared_at": asked.last_instance_at, "source_says": says}
    connection.execute(update(studies).where(studies.c.id == asked.study_id).values(values))
    if says is not None:
        append(connection, asked.study_id, "study.compared", now=now, source=source, says=says)


@dataclass(frozen=True, kw_only=True)
class Arriving:
    """A series of a study that is being received: how many images are in use, and when the last one came."""

    study_id: int
    series_uid: str
    images: int
    last_image_at: datetime
    early_key: str | None  # of the study: names what was last asked to be read early


def arriving_series(connection: Connection) -> list[Arriving]:
    """All series of all studies that are being received; a canary's are in no hurry and left out."""
    statement = (
        select(
            instances.c.study_id,
            instances.c.series_uid,
            func.count().label("images"),
            func.max(instances.c.received_at).label("last_image_at"),
            studies.c.early_key,
        )
        .join(studies, studies.c.id == instances.c.study_id)
        .where(studies.c.state == StudyState.RECEIVING, instances.c.in_use, ~studies.c.canary)
        .group_by(instances.c.study_id, instances.c.series_uid, studies.c.early_key)
        .order_by(instances.c.study_id, instances.c.series_uid)
    )
    return [Arriving(**row._mapping) for row in connection.execute(statement)]


def files_of_series(connection: Connection, study_id: int, series_uid: str) -> list[tuple[str, str]]:
    """File and transfer syntax of each image in use of a series."""
    statement = select(instances.c.file, instances.c.transfer_syntax_uid).where(
        instances.c.study_id == study_id, instances.c.series_uid == series_uid, instances.c.in_use
    )
    return [(row[0], row[1]) for row in connection.execute(statement.order_by(instances.c.file))]


def ask_early(
    connection: Connection, study_id: int, key: str, *, evidence: list[dict[str, object]], now: datetime
) -> bool:
    """Ask for an early reading of a study that is being received; returns whether that makes sense.

    It does not where it ended as positive before: there is nothing more urgent to say.
    """
    receiving = and_(
        studies.c.id == study_id,
        studies.c.state == StudyState.RECEIVING,
        or_(studies.c.outcome.is_(None), studies.c.outcome != Outcome.POSITIVE),
    )
    due = due_at(connection, study_id, now=now) - timedelta(seconds=EARLY_FIRST_S)
    values = {"early_at": now, "early_key": key, "due_at": due}
    asked = connection.execute(update(studies).where(receiving).values(values)).rowcount == 1
    if asked:
        append(connection, study_id, "study.looks_whole", now=now, heads=evidence)
        tell(connection, Topic.STUDIES)
    return asked
