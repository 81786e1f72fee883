"""Reports whose destination took them and has yet to prove that it keeps them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Select, and_, func, insert, or_, select, update

from ich_node.core.confirmation import Consequence, Standing
from ich_node.core.states import DeliveryEvent, DeliveryState, next_delivery_state
from ich_node.dicom.commitment import Commitment
from ich_node.store.history import append
from ich_node.store.tables import commitments, deliveries, reports, studies

_SENT_UID = func.coalesce(deliveries.c.sent_instance_uid, reports.c.sop_instance_uid)


@dataclass(frozen=True, kw_only=True)
class Unproven:
    """A report that a destination took at `sent_at`; `looks` counts the one that is under way."""

    delivery_id: int
    study_id: int
    study_uid: str
    series_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    destination: str
    sent_at: datetime
    confirm_by: datetime
    looks: int
    resends: int

    @property
    def standing(self) -> Standing:
        """What the rules ask about it."""
        return Standing(looks=self.looks, resends=self.resends, confirm_by=self.confirm_by)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a destination said about one report by Storage Commitment."""

    commitment_id: int
    about: Unproven
    kept: bool
    reason: int | None


def has_unproven(connection: Connection, destination: str, *, now: datetime) -> bool:
    """Whether a report of this destination is to be asked about."""
    due = select(deliveries.c.id).where(_due(destination, now)).limit(1)
    return connection.execute(due).first() is not None


def claim_unproven(
    connection: Connection, destination: str, *, holder: str, lease_s: float, most: int, now: datetime
) -> list[Unproven]:
    """Take the reports of one destination that are to be asked about now, each for one process."""
    free = _due(destination, now)
    first = select(deliveries.c.id).where(free).order_by(deliveries.c.confirm_at, deliveries.c.id).limit(most)
    taken = connection.execute(
        update(deliveries)
        .where(deliveries.c.id.in_(first.with_for_update(skip_locked=True)), free)
        .values(
            lease_holder=holder,
            lease_until=now + timedelta(seconds=lease_s),
            lease_token=deliveries.c.lease_token + 1,
            looks=deliveries.c.looks + 1,
        )
        .returning(deliveries.c.id)
    ).scalars()
    rows = connection.execute(_unproven().where(deliveries.c.id.in_(list(taken))).order_by(deliveries.c.id))
    return [Unproven(**row._mapping) for row in rows]


def _due(destination: str, now: datetime) -> ColumnElement[bool]:
    return and_(
        deliveries.c.state == DeliveryState.SENT,
        deliveries.c.destination == destination,
        deliveries.c.confirm_at <= now,
        or_(deliveries.c.lease_until.is_(None), deliveries.c.lease_until < now),
    )


def _unproven() -> Select[tuple[object, ...]]:
    return (
        select(
            deliveries.c.id.label("delivery_id"),
            reports.c.study_id,
            studies.c.study_uid,
            reports.c.series_uid,
            func.coalesce(deliveries.c.sent_class_uid, reports.c.sop_class_uid).label("sop_class_uid"),
            _SENT_UID.label("sop_instance_uid"),
            deliveries.c.destination,
            deliveries.c.sent_at,
            deliveries.c.confirm_by,
            deliveries.c.looks,
            deliveries.c.resends,
        )
        .join(reports, reports.c.id == deliveries.c.report_id)
        .join(studies, studies.c.id == reports.c.study_id)
    )


def not_looked(connection: Connection, claimed: Sequence[Unproven]) -> None:
    """Put back what could not be asked about because the destination is away: the look does not count."""
    for one in claimed:
        connection.execute(
            update(deliveries)
            .where(_still(one))
            .values(looks=deliveries.c.looks - 1, lease_holder=None, lease_until=None)
        )


def conclude_look(
    connection: Connection,
    one: Unproven,
    consequence: Consequence,
    words: str,
    *,
    again_at: datetime,
    now: datetime,
) -> bool:
    """Write down what follows from a look; what is missing is sent again at `again_at`.

    False where the report was sent again meanwhile, or somebody else concluded.
    """
    values: dict[str, object] = {"confirm_at": consequence.look_at, "lease_holder": None, "lease_until": None}
    event = consequence.event
    if event is not None:
        values |= {
            "state": next_delivery_state(DeliveryState.SENT, event),
            **_ended(event, words, again_at, now),
        }
    else:
        values |= {"last_error": words[:255]}
    if event is DeliveryEvent.MISSED:
        values["resends"] = one.resends + 1
    if connection.execute(update(deliveries).where(_still(one)).values(values)).rowcount != 1:
        return False
    for line in _LINES.get(event, ()):
        detail = {} if event is DeliveryEvent.PROVEN else {"error": words[:255]}
        append(connection, one.study_id, line, now=now, destination=one.destination, **detail)
    return True


_LINES: dict[DeliveryEvent | None, tuple[str, ...]] = {
    DeliveryEvent.PROVEN: ("report.confirmed",),
    DeliveryEvent.MISSED: ("report.missing",),
    DeliveryEvent.GIVEN_UP: ("report.missing", "report.not_sent"),
}


def _ended(event: DeliveryEvent, words: str, again_at: datetime, now: datetime) -> dict[str, object]:
    if event is DeliveryEvent.PROVEN:
        return {"confirmed_at": now, "last_error": None, "alarmed_at": None}
    again = {"attempts": 0, "looks": 0, "next_attempt_at": again_at, "queued_at": now}
    return {"last_error": words[:255], "confirm_by": None, **(again if event is DeliveryEvent.MISSED else {})}


def _still(one: Unproven) -> ColumnElement[bool]:
    return and_(
        deliveries.c.id == one.delivery_id,
        deliveries.c.state == DeliveryState.SENT,
        deliveries.c.sent_at == one.sent_at,
    )


def begin_commitment(
    connection: Connection, transaction_uid: str, asked: Sequence[Unproven], *, now: datetime
) -> None:
    """Write a transaction down before it is asked for: its answer may come at once, and from elsewhere."""
    for one in asked:
        connection.execute(
            insert(commitments).values(
                delivery_id=one.delivery_id, transaction_uid=transaction_uid, asked_at=now
            )
        )


def keep_commitment(connection: Connection, commitment: Commitment, *, now: datetime) -> int:
    """Write down what a destination answered; returns how many of our reports it was about."""
    ours = connection.execute(
        select(commitments.c.id, _SENT_UID.label("sop_instance_uid"))
        .join(deliveries, deliveries.c.id == commitments.c.delivery_id)
        .join(reports, reports.c.id == deliveries.c.report_id)
        .where(commitments.c.transaction_uid == commitment.transaction_uid)
    ).all()
    told = [row for row in ours if row.sop_instance_uid in commitment.instances]
    for row in told:
        reason = commitment.instances[row.sop_instance_uid]
        connection.execute(
            update(commitments)
            .where(commitments.c.id == row.id)
            .values(answered_at=now, kept=reason is None, reason=reason, settled=False)
        )
    return len(told)


def answers(connection: Connection, destination: str) -> list[Answer]:
    """What one destination answered and nobody has drawn the consequence of, about what is still unproven."""
    rows = connection.execute(
        _unproven()
        .add_columns(commitments.c.id.label("commitment_id"), commitments.c.kept, commitments.c.reason)
        .join(commitments, commitments.c.delivery_id == deliveries.c.id)
        .where(
            commitments.c.answered_at.is_not(None),
            commitments.c.settled.is_(False),
            deliveries.c.destination == destination,
            deliveries.c.state == DeliveryState.SENT,
            commitments.c.asked_at >= deliveries.c.sent_at,
        )
        .order_by(commitments.c.id)
    )
    found = []
    for row in rows:
        values = dict(row._mapping)
        facts = {name: values.pop(name) for name in ("commitment_id", "kept", "reason")}
        found.append(Answer(about=Unproven(**values), **facts))
    return found


def settle(connection: Connection, answer: Answer) -> None:
    """The consequence of an answer is drawn."""
    connection.execute(
        update(commitments).where(commitments.c.id == answer.commitment_id).values(settled=True)
    )
