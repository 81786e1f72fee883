"""Statements that say how the node stands, for its metrics: read from the rows, canaries apart."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select

from ich_node.core.reconciliation import Balance
from ich_node.core.states import StudyState
from ich_node.store.tables import deliveries, instances, quarantine, readings, refused_callers, studies

MOST_READINGS = 500  # whose times are looked at: enough for a quantile, little to read
_REAL = ~studies.c.canary


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How many studies have one outcome for one reason."""

    outcome: str
    reason: str
    count: int


def ended_studies(connection: Connection) -> list[Ended]:
    """All finished studies, counted by outcome and reason."""
    columns = (studies.c.outcome, studies.c.reason)  # as the index has them
    statement = (
        select(*columns, func.count())
        .where(_REAL, studies.c.state == StudyState.FINISHED, studies.c.outcome.is_not(None))
        .group_by(*columns)
        .order_by(*columns)
    )
    return [Ended(outcome=row[0], reason=row[1] or "", count=row[2]) for row in connection.execute(statement)]


def count_by_state(connection: Connection) -> dict[StudyState, int]:
    """How many studies are in each state."""
    statement = select(studies.c.state, func.count()).where(_REAL).group_by(studies.c.state)
    there = {StudyState(row[0]): row[1] for row in connection.execute(statement)}
    return {state: there.get(state, 0) for state in StudyState}


def balance(connection: Connection) -> Balance:
    """Whether every study that was received is open or has an outcome; the counts are taken apart."""
    received = connection.execute(select(func.count()).select_from(studies).where(_REAL)).scalar_one()
    outcomes: dict[str, int] = {}
    for one in ended_studies(connection):
        outcomes[one.outcome] = outcomes.get(one.outcome, 0) + one.count
    by_state = count_by_state(connection)
    still_open = by_state[StudyState.RECEIVING] + by_state[StudyState.READY]
    return Balance(received=received, outcomes=outcomes, still_open=still_open)


def oldest_waiting(connection: Connection) -> dict[StudyState, datetime]:
    """Since when the oldest study waits in each state but the last; a state without one is left out.

    One that stands back for more urgent ones waits from the moment at which it is due.
    """
    due_at = func.coalesce(studies.c.due_at, studies.c.ready_at)
    since = {StudyState.RECEIVING: studies.c.first_instance_at, StudyState.READY: due_at}
    found = {
        state: connection.execute(select(func.min(column)).where(_REAL, studies.c.state == state)).scalar()
        for state, column in since.items()
    }
    return {state: at for state, at in found.items() if at is not None}


def outcomes_since(connection: Connection, moment: datetime) -> dict[str, int]:
    """How many studies ended since then, by outcome."""
    statement = (
        select(studies.c.outcome, func.count())
        .where(studies.c.finished_at >= moment, _REAL, studies.c.outcome.is_not(None))
        .group_by(studies.c.outcome)
    )
    return {row[0]: row[1] for row in connection.execute(statement)}


def last_instance_at(connection: Connection) -> datetime | None:
    """When the newest instance came that is no canary's."""
    statement = (
        select(instances.c.received_at)
        .join(studies, studies.c.id == instances.c.study_id)
        .where(_REAL)
        .order_by(instances.c.id.desc())
        .limit(1)
    )
    found: datetime | None = connection.execute(statement).scalar()
    return found


def count_quarantined(connection: Connection) -> dict[str, int]:
    """How many data sets lie in quarantine, by reason."""
    statement = select(quarantine.c.reason, func.count()).group_by(quarantine.c.reason)
    return {row[0]: row[1] for row in connection.execute(statement)}


def count_refused_callers(connection: Connection) -> int:
    """How many associations were refused because nobody knows their caller."""
    return int(connection.execute(select(func.coalesce(func.sum(refused_callers.c.count), 0))).scalar_one())


def count_deliveries(connection: Connection) -> dict[tuple[str, str], int]:
    """How many deliveries there are, by destination and state."""
    columns = (deliveries.c.destination, deliveries.c.state)
    statement = select(*columns, func.count()).group_by(*columns)
    return {(row[0], row[1]): row[2] for row in connection.execute(statement)}


def seconds_of_readings(connection: Connection, *, since: datetime) -> list[dict[str, Any]]:
    """Seconds by stage of the newest leading readings, canaries' too: the machine is the same."""
    newest = (
        select(readings.c.result["seconds"].label("seconds"), readings.c.read_at, readings.c.leading)
        .order_by(readings.c.id.desc())
        .limit(MOST_READINGS)
        .subquery()
    )
    rows = connection.execute(select(newest.c.seconds).where(newest.c.read_at >= since, newest.c.leading))
    return [row[0] for row in rows if row[0]]


def seconds_to_outcome(connection: Connection, *, since: datetime) -> list[float]:
    """Seconds from the first instance to the outcome of the studies that ended since then, newest first."""
    statement = (
        select(studies.c.first_instance_at, studies.c.finished_at)
        .where(studies.c.finished_at >= since, _REAL, studies.c.state == StudyState.FINISHED)
        .where(studies.c.revision == 1)  # what was read again waited for a person
        .order_by(studies.c.finished_at.desc())
        .limit(MOST_READINGS)
    )
    return [(row[1] - row[0]) / timedelta(seconds=1) for row in connection.execute(statement)]
