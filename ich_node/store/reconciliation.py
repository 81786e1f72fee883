"""Statements that prove that everything received has its end, and keep what does not."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import Connection, Select, and_, delete, exists, func, insert, or_, select

from ich_node.core.reconciliation import Discrepancy, OpenStudy
from ich_node.core.states import StudyState
from ich_node.store.history import append
from ich_node.store.tables import deliveries, readings, reports, studies
from ich_node.store.watch_tables import discrepancies
from ich_node.vocabulary import Outcome

Found = tuple[Discrepancy, int]  # the second is the study's number


def open_studies(connection: Connection) -> list[OpenStudy]:
    """All studies that wait for their outcome, canaries apart."""
    names = ("state", "first_instance_at", "ready_at", "next_attempt_at", "due_at", "lease_until")
    statement = select(studies.c.id, *(studies.c[name] for name in names)).where(
        ~studies.c.canary, studies.c.state.in_((StudyState.RECEIVING, StudyState.READY))
    )
    return [
        OpenStudy(
            study_id=row.id, **{name: row._mapping[name] for name in names} | {"state": StudyState(row.state)}
        )
        for row in connection.execute(statement)
    ]


def without_outcome(connection: Connection) -> list[int]:
    """Studies that are finished without saying how."""
    statement = select(studies.c.id).where(
        ~studies.c.canary,
        studies.c.state == StudyState.FINISHED,
        or_(studies.c.outcome.is_(None), studies.c.outcome.not_in(list(Outcome))),
    )
    return [row.id for row in connection.execute(statement)]


def without_report(connection: Connection, *, finished_since: datetime) -> list[int]:
    """Studies whose outcome is one that is reported, without a Structured Report.

    Of one that failed an earlier report tells something else, unless its reading says that it is the same.
    """
    report = and_(reports.c.study_id == studies.c.id, reports.c.kind == "SR")
    of_this_revision = and_(report, reports.c.revision == studies.c.revision)
    read = exists().where(readings.c.study_id == studies.c.id, readings.c.revision == studies.c.revision)
    silent = and_(studies.c.outcome == Outcome.FAILED, ~read, ~exists().where(of_this_revision))
    statement = _finished(finished_since).where(
        studies.c.outcome != Outcome.IGNORED, or_(~exists().where(report), silent)
    )
    return [row.id for row in connection.execute(statement)]


def without_delivery(
    connection: Connection, destinations: Sequence[str], *, finished_since: datetime, made_since: datetime
) -> list[int]:
    """Studies with a report, made since then, that has not been put into the outbox of each destination."""
    delivered = (
        select(func.count())
        .select_from(deliveries)
        .where(deliveries.c.report_id == reports.c.id, deliveries.c.destination.in_(destinations))
        .scalar_subquery()
    )
    lacking = exists().where(
        reports.c.study_id == studies.c.id,
        reports.c.created_at >= made_since,
        delivered < len(set(destinations)),
    )
    return [row.id for row in connection.execute(_finished(finished_since).where(lacking))]


def _finished(since: datetime) -> Select[tuple[int]]:
    return select(studies.c.id).where(
        ~studies.c.canary, studies.c.state == StudyState.FINISHED, studies.c.finished_at >= since
    )


def keep_discrepancies(
    connection: Connection, kinds: Collection[Discrepancy], found: Collection[Found], *, now: datetime
) -> list[Found]:
    """Keep what was found of these kinds in place of what was known; returns what is new, each once.

    What is new stands in the study's history too.
    """
    rows = connection.execute(
        select(discrepancies.c.kind, discrepancies.c.study_id).where(discrepancies.c.kind.in_(kinds))
    )
    known = {(Discrepancy(row.kind), row.study_id) for row in rows}
    for kind, study_id in known - set(found):
        same = and_(discrepancies.c.kind == kind, discrepancies.c.study_id == study_id)
        connection.execute(delete(discrepancies).where(same))
    new = [one for one in sorted(set(found) - known) if _still_holds(connection, *one)]
    for kind, study_id in new:
        connection.execute(insert(discrepancies).values(kind=kind, study_id=study_id, found_at=now))
        append(connection, study_id, "study.does_not_add_up", now=now, reason=kind)
    return new


def _still_holds(connection: Connection, kind: Discrepancy, study_id: int) -> bool:
    """Whether it is a finding: not where a canary was removed, or images went as they should, meanwhile."""
    statement = select(studies.c.forgotten_at).where(studies.c.id == study_id, ~studies.c.canary)
    study = connection.execute(statement).first()
    return study is not None and not (kind is Discrepancy.FILE_LOST and study.forgotten_at)


def list_discrepancies(connection: Connection, *, limit: int = 20) -> list[Found]:
    """What does not add up, the oldest first."""
    statement = (
        select(discrepancies.c.kind, discrepancies.c.study_id).order_by(discrepancies.c.id).limit(limit)
    )
    return [(Discrepancy(row.kind), row.study_id) for row in connection.execute(statement)]


def count_discrepancies(connection: Connection) -> dict[Discrepancy, int]:
    """How many studies do not add up, by the way in which they do not."""
    statement = select(discrepancies.c.kind, func.count()).group_by(discrepancies.c.kind)
    there = {Discrepancy(row[0]): row[1] for row in connection.execute(statement)}
    return {kind: there.get(kind, 0) for kind in Discrepancy}
