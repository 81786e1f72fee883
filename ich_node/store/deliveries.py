"""The outbox: one row for each report and destination, from pending to its visible end."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, case, exists, func, insert, or_, select, update

from ich_node.core.states import DeliveryEvent, DeliveryState, next_delivery_state
from ich_node.errors import LeaseLost
from ich_node.store.hints import Topic, tell
from ich_node.store.history import append
from ich_node.store.tables import deliveries, reports, studies
from ich_node.vocabulary import Outcome

SUPERSEDED = "a newer report of the study went there first"


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """A report under way to a destination, held under a lease."""

    delivery_id: int
    report_id: int
    study_id: int
    study_uid: str
    destination: str
    sop_class_uid: str
    sop_instance_uid: str
    content: bytes
    queued_at: datetime
    attempts: int
    holder: str
    token: int


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """Where one report for one destination stands."""

    delivery_id: int
    destination: str
    kind: str
    revision: int
    state: DeliveryState
    attempts: int
    next_attempt_at: datetime | None
    last_error: str | None
    sent_at: datetime | None
    queued_at: datetime | None
    confirm_by: datetime | None
    alarmed_at: datetime | None


def add_deliveries(
    connection: Connection, report_id: int, destinations: Iterable[str], *, now: datetime
) -> None:
    """Put a report into the outbox of each destination."""
    for destination in destinations:
        connection.execute(
            insert(deliveries).values(
                report_id=report_id,
                destination=destination,
                state=DeliveryState.PENDING,
                next_attempt_at=now,
                queued_at=now,
            )
        )
    tell(connection, Topic.REPORTS)


def delivery_waits(connection: Connection, destination: str, *, now: datetime) -> bool:
    """Whether there is a delivery to take; reads only."""
    return bool(
        connection.execute(
            select(select(deliveries.c.id).where(_is_free(destination, now)).exists())
        ).scalar()
    )


def _is_free(destination: str, now: datetime) -> ColumnElement[bool]:
    return and_(
        deliveries.c.state == DeliveryState.PENDING,
        deliveries.c.destination == destination,
        ~_older_goes_first(now),
        deliveries.c.next_attempt_at <= now,
        or_(deliveries.c.lease_until.is_(None), deliveries.c.lease_until < now),
    )


def claim_delivery(
    connection: Connection, destination: str, *, holder: str, lease_s: float, now: datetime
) -> Parcel | None:
    """Take the delivery of one destination that goes first; at most one process gets it.

    After an outage many wait: those of positive studies go first, then those that have waited longest.
    """
    free = _is_free(destination, now)
    order = case((_is_of_a_positive(), 0), else_=1), deliveries.c.next_attempt_at, deliveries.c.id
    first = select(deliveries.c.id).where(free).order_by(*order).limit(1).with_for_update(skip_locked=True)
    taken = connection.execute(
        update(deliveries)
        .where(deliveries.c.id == first.scalar_subquery(), free)
        .values(
            lease_holder=holder,
            lease_until=now + timedelta(seconds=lease_s),
            lease_token=deliveries.c.lease_token + 1,
            attempts=deliveries.c.attempts + 1,
        )
        .returning(
            deliveries.c.id,
            deliveries.c.report_id,
            deliveries.c.attempts,
            deliveries.c.lease_token,
            deliveries.c.queued_at,
        )
    ).one_or_none()
    if taken is None:
        return None
    report = connection.execute(
        select(reports, studies.c.study_uid)
        .join(studies, studies.c.id == reports.c.study_id)
        .where(reports.c.id == taken.report_id)
    ).one()
    return Parcel(
        delivery_id=taken.id,
        report_id=taken.report_id,
        study_id=report.study_id,
        study_uid=report.study_uid,
        destination=destination,
        sop_class_uid=report.sop_class_uid,
        sop_instance_uid=report.sop_instance_uid,
        content=report.content,
        queued_at=taken.queued_at or report.created_at,  # null in rows of an older version
        attempts=taken.attempts,
        holder=holder,
        token=taken.lease_token,
    )


def _is_of_a_positive() -> ColumnElement[bool]:
    """Whether the study that it is about is positive now."""
    return exists().where(
        reports.c.id == deliveries.c.report_id,
        studies.c.id == reports.c.study_id,
        studies.c.outcome == Outcome.POSITIVE,
    )


def _older_goes_first(now: datetime) -> ColumnElement[bool]:
    """Whether an earlier revision of the study goes to the same destination first.

    A bleed waits for one that could go now or is on its way, but not for one that was refused or awaits its
    images: that one is then superseded (`mark_sent`).
    """
    own, older_report, older = reports.alias(), reports.alias(), deliveries.alias()
    waits = exists().where(
        own.c.id == deliveries.c.report_id,
        older_report.c.study_id == own.c.study_id,
        older_report.c.revision < own.c.revision,
        older.c.report_id == older_report.c.id,
        older.c.destination == deliveries.c.destination,
        older.c.state == DeliveryState.PENDING,
    )
    goes = waits.where(or_(older.c.next_attempt_at <= now, older.c.lease_until >= now))
    return or_(goes, and_(waits, ~_is_of_a_positive()))


def mark_sent(
    connection: Connection,
    parcel: Parcel,
    *,
    confirm_at: datetime | None = None,
    confirm_by: datetime | None = None,
    sent_as: tuple[str, str] | None = None,
    now: datetime,
) -> None:
    """The destination answered with success; where a proof is wanted it is asked for at `confirm_at`.

    `sent_as` is the SOP class and instance that went out, where they are not the report's own.

    Raises LeaseLost where the row has passed on.
    """
    _update_claimed(
        connection,
        parcel,
        state=next_delivery_state(DeliveryState.PENDING, DeliveryEvent.ACCEPTED),
        sent_at=now,
        last_error=None,
        next_attempt_at=None,
        confirm_at=confirm_at,
        confirm_by=confirm_by,
        sent_class_uid=sent_as[0] if sent_as else None,
        sent_instance_uid=sent_as[1] if sent_as else None,
        looks=0,
        alarmed_at=None,
    )
    append(connection, parcel.study_id, "report.sent", now=now, destination=parcel.destination)
    _end_older(connection, parcel, now)


def _end_older(connection: Connection, parcel: Parcel, now: datetime) -> None:
    """End what an earlier revision says there, if it still waits: it would come behind the newer one."""
    own, older = reports.alias(), reports.alias()
    earlier = (
        select(older.c.id)
        .join(own, and_(own.c.study_id == older.c.study_id, own.c.kind == older.c.kind))
        .where(own.c.id == parcel.report_id, older.c.revision < own.c.revision)
    )
    waiting = and_(
        deliveries.c.report_id.in_(earlier),
        deliveries.c.destination == parcel.destination,
        deliveries.c.state == DeliveryState.PENDING,
    )
    state = next_delivery_state(DeliveryState.PENDING, DeliveryEvent.GIVEN_UP)
    ended = update(deliveries).where(waiting)
    if connection.execute(ended.values(state=state, last_error=SUPERSEDED, next_attempt_at=None)).rowcount:
        _tell_not_sent(connection, parcel, SUPERSEDED, now)


def put_back(connection: Connection, parcel: Parcel, *, error: str, until: datetime | None = None) -> None:
    """No attempt at this report was made; the next one is at `until`, else when the destination is back.

    Raises LeaseLost where the row has passed on.
    """
    later = {} if until is None else {"next_attempt_at": until}
    _update_claimed(connection, parcel, attempts=parcel.attempts - 1, last_error=error[:255], **later)


def postpone_delivery(connection: Connection, parcel: Parcel, *, error: str, until: datetime) -> None:
    """Wait for the next attempt; raises LeaseLost where the row has passed on."""
    state = next_delivery_state(DeliveryState.PENDING, DeliveryEvent.POSTPONED)
    _update_claimed(connection, parcel, state=state, last_error=error[:255], next_attempt_at=until)


def give_up_delivery(connection: Connection, parcel: Parcel, *, error: str, now: datetime) -> None:
    """End a delivery without success, visibly; raises LeaseLost where the row has passed on."""
    state = next_delivery_state(DeliveryState.PENDING, DeliveryEvent.GIVEN_UP)
    _update_claimed(connection, parcel, state=state, last_error=error[:255], next_attempt_at=None)
    _tell_not_sent(connection, parcel, error[:255], now)


def _tell_not_sent(connection: Connection, parcel: Parcel, error: str, now: datetime) -> None:
    about = {"destination": parcel.destination, "error": error}
    append(connection, parcel.study_id, "report.not_sent", now=now, **about)


def end_deliveries_elsewhere(
    connection: Connection, destinations: Sequence[str], *, older_than: datetime, error: str, now: datetime
) -> int:
    """End, visibly, what has waited since `older_than` for destinations other than these; returns how many.

    Not at once: another process may know a destination already that this one will only learn at its restart.
    """
    old = select(reports.c.id).where(reports.c.created_at < older_than)
    waits = and_(
        deliveries.c.state == DeliveryState.PENDING,
        deliveries.c.report_id.in_(old),
        deliveries.c.destination.not_in(destinations),
        or_(deliveries.c.lease_until.is_(None), deliveries.c.lease_until < now),
    )
    ended = connection.execute(
        update(deliveries)
        .where(waits)
        .values(
            state=next_delivery_state(DeliveryState.PENDING, DeliveryEvent.GIVEN_UP),
            last_error=error[:255],
            next_attempt_at=None,
            lease_holder=None,
            lease_until=None,
        )
        .returning(deliveries.c.report_id, deliveries.c.destination)
    ).all()
    for row in ended:
        study_id = connection.execute(
            select(reports.c.study_id).where(reports.c.id == row.report_id)
        ).scalar_one()
        append(
            connection,
            study_id,
            "report.not_sent",
            now=now,
            destination=row.destination,
            error=error[:255],
        )
    return len(ended)


def send_again(connection: Connection, study_id: int, *, destinations: Sequence[str], now: datetime) -> int:
    """Put the newest reports of a study into the outbox of each of these destinations; returns how many.

    What waits for its next attempt there waits no longer; a destination that never had a report gets it now.
    """
    names = list(dict.fromkeys(destinations))
    queued = 0
    for report_id in _newest_reports(connection, study_id):
        stands = _states(connection, report_id)
        absent = [name for name in names if name not in stands]
        add_deliveries(connection, report_id, absent, now=now)
        for name in (name for name in names if name in stands):
            _queue_again(connection, report_id, name, stands[name], now)
        queued += len(names)
    if queued:
        append(connection, study_id, "report.sent_again", now=now, count=queued)
    return queued


def has_delivery_everywhere(connection: Connection, study_id: int, destinations: Sequence[str]) -> bool:
    """Whether each newest report has, or had, a delivery to each destination; so too where there is none."""
    reports_there = _newest_reports(connection, study_id)
    there = connection.execute(
        select(func.count())
        .select_from(deliveries)
        .where(deliveries.c.report_id.in_(reports_there), deliveries.c.destination.in_(destinations))
    ).scalar_one()
    return there == len(reports_there) * len(set(destinations))


def _newest_reports(connection: Connection, study_id: int) -> list[int]:
    newest = select(func.max(reports.c.revision)).where(reports.c.study_id == study_id).scalar_subquery()
    these = select(reports.c.id).where(reports.c.study_id == study_id, reports.c.revision == newest)
    return list(connection.execute(these.order_by(reports.c.id)).scalars())


def _states(connection: Connection, report_id: int) -> dict[str, DeliveryState]:
    """Where a report stands, by destination."""
    these = select(deliveries.c.destination, deliveries.c.state).where(deliveries.c.report_id == report_id)
    return {row.destination: DeliveryState(row.state) for row in connection.execute(these)}


def _queue_again(
    connection: Connection, report_id: int, destination: str, state: DeliveryState, now: datetime
) -> None:
    connection.execute(
        update(deliveries)
        .where(deliveries.c.report_id == report_id, deliveries.c.destination == destination)
        .values(
            state=next_delivery_state(state, DeliveryEvent.SENT_AGAIN),
            attempts=0,
            next_attempt_at=now,
            last_error=None,
            queued_at=now,
            confirm_at=None,
            confirm_by=None,
            confirmed_at=None,
            alarmed_at=None,
            resends=0,
            # a pending one may be under way to its destination; of a sent one only a look is
            **({} if state is DeliveryState.PENDING else {"lease_holder": None, "lease_until": None}),
        )
    )


def deliveries_of(connection: Connection, study_id: int) -> list[Delivery]:
    """Where the reports of a study stand, the newest revision first."""
    rows = connection.execute(
        select(
            deliveries.c.id.label("delivery_id"),
            deliveries.c.destination,
            reports.c.kind,
            reports.c.revision,
            deliveries.c.state,
            deliveries.c.attempts,
            deliveries.c.next_attempt_at,
            deliveries.c.last_error,
            deliveries.c.sent_at,
            deliveries.c.queued_at,
            deliveries.c.confirm_by,
            deliveries.c.alarmed_at,
        )
        .join(reports, reports.c.id == deliveries.c.report_id)
        .where(reports.c.study_id == study_id)
        .order_by(reports.c.revision.desc(), deliveries.c.id)
    )
    return [Delivery(**{**row._mapping, "state": DeliveryState(row.state)}) for row in rows]


def _update_claimed(connection: Connection, parcel: Parcel, **values: object) -> None:
    ours = and_(
        deliveries.c.id == parcel.delivery_id,
        deliveries.c.state == DeliveryState.PENDING,
        deliveries.c.lease_holder == parcel.holder,
        deliveries.c.lease_token == parcel.token,
    )
    freed = {**values, "lease_holder": None, "lease_until": None}
    if connection.execute(update(deliveries).where(ours).values(freed)).rowcount != 1:
        raise LeaseLost
