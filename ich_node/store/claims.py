"""Statements about who works on a study. Take a connection; a claim that was lost raises LeaseLost."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select, update

from ich_node.core.states import StudyEvent, StudyState, next_study_state
from ich_node.errors import LeaseLost
from ich_node.store.history import append
from ich_node.store.studies import STUDY_COLUMNS, Study, study_of
from ich_node.store.tables import studies

# canaries last; an older version, running beside this one, says nothing of urgency
_DUE_FIRST = (
    studies.c.canary,
    func.coalesce(studies.c.due_at, studies.c.last_instance_at),
    studies.c.id,
)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The right to work on a study until the lease ends; the token fences off whoever held it before."""

    study: Study
    holder: str
    token: int


def study_waits(connection: Connection, *, now: datetime) -> bool:
    """Whether there is a study to take, whole or early; reads only."""
    return bool(connection.execute(select(select(studies.c.id).where(_free(now)).exists())).scalar())


def _free(now: datetime) -> ColumnElement[bool]:
    return and_(or_(_waits(now), _asked()), _unheld(now))


def _waits(now: datetime) -> ColumnElement[bool]:
    return and_(studies.c.state == StudyState.READY, studies.c.next_attempt_at <= now)


def _asked() -> ColumnElement[bool]:
    return and_(studies.c.state == StudyState.RECEIVING, studies.c.early_at.is_not(None))


def _unheld(now: datetime) -> ColumnElement[bool]:
    return or_(studies.c.lease_until.is_(None), studies.c.lease_until < now)


def early_is_due_first(connection: Connection, *, now: datetime) -> bool:
    """Whether, of all that may be taken, one to be read early is due first."""
    first = select(studies.c.state).where(_free(now)).order_by(*_DUE_FIRST).limit(1)
    return connection.execute(first).scalar() == StudyState.RECEIVING


def claim_study(connection: Connection, *, holder: str, lease_s: float, now: datetime) -> Claim | None:
    """Take the whole study that is due first; at most one worker gets it, on both databases."""
    taken = _leased(holder, lease_s, now) | {"attempts": studies.c.attempts + 1}
    return _claim(connection, _waits(now), taken, now)


def claim_early(connection: Connection, *, holder: str, lease_s: float, now: datetime) -> Claim | None:
    """Take the study due first of those to be read while they still arrive; each asking is taken once."""
    taken = _leased(holder, lease_s, now) | {"early_at": None}
    return _claim(connection, _asked(), taken, now)


def _leased(holder: str, lease_s: float, now: datetime) -> dict[str, Any]:
    return {
        "lease_holder": holder,
        "lease_until": now + timedelta(seconds=lease_s),
        "lease_token": studies.c.lease_token + 1,
    }


def _claim(
    connection: Connection,
    waits: ColumnElement[bool],
    taken: dict[str, Any],
    now: datetime,
) -> Claim | None:
    """Write `taken` into the row that is due first, unless somebody holds it; canaries come last."""
    free = and_(waits, _unheld(now))
    # SQLite ignores SKIP LOCKED, but there a writer is alone anyhow (BEGIN IMMEDIATE)
    first = select(studies.c.id).where(free).order_by(*_DUE_FIRST).limit(1)
    first = first.with_for_update(skip_locked=True)
    statement = (
        update(studies)
        .where(studies.c.id == first.scalar_subquery(), free)
        .values(taken)
        .returning(*STUDY_COLUMNS, studies.c.lease_token)
    )
    row = connection.execute(statement).one_or_none()
    if row is None:
        return None
    found = dict(row._mapping)
    token = found.pop("lease_token")
    return Claim(study=study_of(found), holder=taken["lease_holder"], token=token)


def extend_lease(connection: Connection, claim: Claim, *, lease_s: float, now: datetime) -> None:
    """Say that the holder is alive; raises LeaseLost where the row has passed on."""
    _update_claimed(connection, claim, lease_until=now + timedelta(seconds=lease_s))


def postpone_study(connection: Connection, claim: Claim, *, until: datetime, now: datetime) -> None:
    """Give a study back for another attempt; raises LeaseLost where the row has passed on."""
    _update_claimed(connection, claim, lease_holder=None, lease_until=None, next_attempt_at=until)
    append(connection, claim.study.id, "study.postponed", now=now, attempt=claim.study.attempts)


def release_study(connection: Connection, claim: Claim, *, now: datetime) -> None:
    """Give a study back that was not tried to the end; the attempt does not count.

    Raises LeaseLost where the row has passed on.
    """
    attempts = studies.c.attempts - 1
    _update_claimed(connection, claim, lease_holder=None, lease_until=None, attempts=attempts)
    append(connection, claim.study.id, "study.released", now=now)


def conclude_early(
    connection: Connection, claim: Claim, *, outcome: str, reason: str | None, now: datetime
) -> None:
    """Give a study its outcome before it is whole; what comes of the rest is the next revision.

    It stays in `receiving`: images that came during the reading are read too. Raises LeaseLost.
    """
    _update_claimed(
        connection,
        claim,
        outcome=outcome,
        reason=reason,
        revision=studies.c.revision + 1,
        lease_holder=None,
        lease_until=None,
    )
    append(connection, claim.study.id, "study.concluded_early", now=now, outcome=outcome, reason=reason)


def release_early(connection: Connection, claim: Claim, *, now: datetime) -> None:
    """Give an early reading back that was not tried to the end; raises LeaseLost."""
    _update_claimed(connection, claim, lease_holder=None, lease_until=None, early_at=now)
    append(connection, claim.study.id, "study.released", now=now)


def withhold_early(connection: Connection, claim: Claim, *, now: datetime) -> None:
    """Keep nothing of an early reading: all but a positive waits for the proof that the study is whole.

    Raises LeaseLost where the row has passed on.
    """
    _update_claimed(connection, claim, lease_holder=None, lease_until=None)
    append(connection, claim.study.id, "study.early_reading_withheld", now=now)


def finish_study(
    connection: Connection, claim: Claim, *, outcome: str, reason: str | None, now: datetime
) -> None:
    """Give a study its outcome; raises LeaseLost where the row has passed on: nothing is said twice."""
    _update_claimed(
        connection,
        claim,
        state=next_study_state(StudyState.READY, StudyEvent.CONCLUDED),
        outcome=outcome,
        reason=reason,
        finished_at=now,
        lease_holder=None,
        lease_until=None,
    )
    append(connection, claim.study.id, "study.finished", now=now, outcome=outcome, reason=reason)


def _update_claimed(connection: Connection, claim: Claim, **values: object) -> None:
    """Change a row that the claim still holds; raises LeaseLost where it has passed on."""
    ours = and_(
        studies.c.id == claim.study.id,
        studies.c.state == claim.study.state,
        studies.c.lease_holder == claim.holder,
        studies.c.lease_token == claim.token,
    )
    if connection.execute(update(studies).where(ours).values(values)).rowcount != 1:
        raise LeaseLost
