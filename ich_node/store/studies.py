"""Statements about studies and their instances. Take a connection, return frozen records."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    case,
    exists,
    insert,
    literal,
    or_,
    select,
    update,
)

from ich_node.core.states import StudyEvent, StudyState, next_study_state
from ich_node.core.urgency import NORMAL_S
from ich_node.errors import UsageError
from ich_node.store.hints import Topic, tell
from ich_node.store.history import append
from ich_node.store.tables import instances, studies
from ich_node.store.watch_tables import canaries


@dataclass(frozen=True, kw_only=True)
class NewInstance:
    """An instance whose file is already safe on the disk."""

    study_uid: str
    series_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    patient_id: str
    accession_number: str
    sha256: str
    bytes: int
    file: str
    association_id: int | None
    handicap_s: int = NORMAL_S  # how long its study stands back, as far as this instance says
    own_object: bool = False  # says of itself that it is a report of ours
    canary: bool = False  # says of itself that it is a canary's
    adopted: bool = False  # found on the disk without its row


@dataclass(frozen=True, kw_only=True)
class StoredInstance:
    """An instance in the archive; `in_use` is False for a second content under the same UID."""

    study_id: int
    study_uid: str
    sop_instance_uid: str
    series_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    sha256: str
    file: str
    in_use: bool


@dataclass(frozen=True, kw_only=True)
class Study:
    """The row of one study."""

    id: int
    study_uid: str
    patient_id: str
    accession_number: str
    state: StudyState
    outcome: str | None
    reason: str | None
    revision: int
    conflict: bool
    cut_short: bool
    first_instance_at: datetime
    last_instance_at: datetime
    ready_at: datetime | None
    finished_at: datetime | None
    forgotten_at: datetime | None
    attempts: int
    handicap_s: int
    lease_holder: str | None
    lease_until: datetime | None
    canary: bool


# whoever works on the row does so in vain from here on, early or not: its token is void
NOT_HELD: dict[str, Any] = {
    "lease_holder": None,
    "lease_until": None,
    "lease_token": studies.c.lease_token + 1,
    "early_at": None,
}
STUDY_COLUMNS = [studies.c[name] for name in Study.__dataclass_fields__]
_STORED_COLUMNS = [
    (studies if name == "study_uid" else instances).c[name] for name in StoredInstance.__dataclass_fields__
]
# what is done for each instance that comes is put together once: that takes longer than to do it
_STORED = select(*_STORED_COLUMNS).join(studies, studies.c.id == instances.c.study_id)
_STORED_UNDER_UID = _STORED.where(instances.c.sop_instance_uid == bindparam("uid")).order_by(instances.c.id)
_STUDY_LOCKED = select(*STUDY_COLUMNS).where(studies.c.study_uid == bindparam("uid")).with_for_update()
_OF_INSTANCE = [name for name in NewInstance.__dataclass_fields__ if name in instances.c]
_INSERT_INSTANCE = insert(instances).inline()  # nobody asks for its number
# of two that come at once the earlier one may be written last
_LATEST = case(
    (studies.c.last_instance_at > bindparam("at"), studies.c.last_instance_at), else_=bindparam("at")
)
_ONE_MORE = (
    update(studies)
    .where(studies.c.id == bindparam("number"))
    .values(last_instance_at=_LATEST, handicap_s=bindparam("handicap"))
)
# one statement for what otherwise takes four: see `add_another`
_ANOTHER = (
    update(studies)
    .where(
        studies.c.study_uid == bindparam("study"),
        studies.c.state == StudyState.RECEIVING,
        studies.c.forgotten_at.is_(None),
        studies.c.patient_id == bindparam("patient"),
        ~exists().where(instances.c.sop_instance_uid == bindparam("uid")),
    )
    .values(
        last_instance_at=_LATEST,
        handicap_s=case(
            (studies.c.handicap_s < bindparam("handicap"), studies.c.handicap_s), else_=bindparam("handicap")
        ),
    )
    .returning(studies.c.id)
)


def find_instances(connection: Connection, sop_instance_uid: str) -> list[StoredInstance]:
    """All contents that came under one SOP Instance UID, the first one first."""
    rows = connection.execute(_STORED_UNDER_UID, {"uid": sop_instance_uid})
    return [StoredInstance(**row._mapping) for row in rows]


def instances_of(connection: Connection, study_id: int) -> list[StoredInstance]:
    """The instances in use of a study, in a fixed order that is not the order of arrival.

    Where none is in use (all of them contradict instances of other studies) it is all: the study is a
    conflict, and its report needs their headers.
    """
    statement = _STORED.where(instances.c.study_id == study_id).order_by(instances.c.sop_instance_uid)
    everything = [StoredInstance(**row._mapping) for row in connection.execute(statement)]
    return [one for one in everything if one.in_use] or everything


def add_instance(
    connection: Connection, new: NewInstance, *, in_use: bool, now: datetime, conflict: bool = False
) -> int:
    """Add an instance to its study, opening or reopening the study; returns the study's id.

    Patients that differ within one study are a conflict too; nothing is merged by guess. A report of ours
    that comes back, or what a reader made of one, says nothing new about the images: it is kept, and changes
    nothing unless it is in conflict.
    """
    # locked: on PostgreSQL a worker's conclusion and an arrival must see each other
    row = connection.execute(_STUDY_LOCKED, {"uid": new.study_uid}).one_or_none()
    study = None if row is None else study_of(row._mapping)
    study_id = _begin_study(connection, new, now) if study is None else study.id
    _insert_instance(connection, study_id, new, in_use=in_use, now=now)
    if study is not None and new.own_object and not conflict:
        append(connection, study_id, "instance.own", now=now, sop_instance_uid=new.sop_instance_uid)
        return study_id
    if study is not None:
        _continue_study(connection, study, new, now)
        conflict = conflict or (in_use and new.patient_id != study.patient_id)
    if conflict and not (study and study.conflict):
        connection.execute(update(studies).where(studies.c.id == study_id).values(conflict=True))
        append(connection, study_id, "study.conflict", now=now)
    return study_id


def add_another(connection: Connection, new: NewInstance, *, now: datetime) -> int | None:
    """Add an instance in the commonest case of all; returns the study's id, None where it is another case.

    That is an image under a UID that never came, of a study that is being received, for the same patient:
    what `add_instance` does then, at a third of the cost.
    """
    if new.own_object:
        return None
    values = {
        "study": new.study_uid,
        "patient": new.patient_id,
        "uid": new.sop_instance_uid,
        "at": now,
        "handicap": new.handicap_s,
    }
    study_id: int | None = connection.execute(_ANOTHER, values).scalar_one_or_none()
    if study_id is not None:
        _insert_instance(connection, study_id, new, in_use=True, now=now)
    return study_id


def add_other_syntax(connection: Connection, study_id: int, new: NewInstance, *, now: datetime) -> None:
    """Keep an image that is there already in another transfer syntax; what is read stays what it was."""
    _insert_instance(connection, study_id, new, in_use=False, now=now)
    append(
        connection,
        study_id,
        "instance.other_syntax",
        now=now,
        sop_instance_uid=new.sop_instance_uid,
        transfer_syntax_uid=new.transfer_syntax_uid,
    )


def _insert_instance(
    connection: Connection, study_id: int, new: NewInstance, *, in_use: bool, now: datetime
) -> None:
    values = {name: getattr(new, name) for name in _OF_INSTANCE}
    values |= {"study_id": study_id, "in_use": in_use, "received_at": now}
    connection.execute(_INSERT_INSTANCE, values)


def count_adopted(connection: Connection, study_id: int) -> None:
    """Raise a study's revision by one for an instance that was adopted.

    Rows that a restore took away may have had their reports, whose UIDs are made of the revision. The study
    comes by no revision again that it had with fewer images: an archive keeps the first object of a UID.
    """
    one_more = update(studies).where(studies.c.id == study_id).values(revision=studies.c.revision + 1)
    connection.execute(one_more)


def replace_instance(connection: Connection, study_id: int, new: NewInstance) -> None:
    """Take a mended content into use instead of the others under its UID; the study's identifiers follow."""
    same_uid = instances.c.sop_instance_uid == new.sop_instance_uid
    # two statements: never are two contents in use at once, not even within one
    connection.execute(update(instances).where(same_uid, instances.c.in_use).values(in_use=False))
    chosen = and_(same_uid, instances.c.sha256 == new.sha256)
    connection.execute(update(instances).where(chosen).values(in_use=True))
    identifiers = {"patient_id": new.patient_id, "accession_number": new.accession_number}
    connection.execute(update(studies).where(studies.c.id == study_id).values(identifiers))


def _is_written_down(study_uid: str) -> ColumnElement[bool]:
    """Whether a canary of this UID was sent on its way."""
    return select(canaries.c.id).where(canaries.c.study_uid == study_uid).exists()


def _begin_study(connection: Connection, new: NewInstance, now: datetime) -> int:
    key = connection.execute(
        insert(studies).values(
            study_uid=new.study_uid,
            patient_id=new.patient_id,
            accession_number=new.accession_number,
            state=StudyState.RECEIVING,
            first_instance_at=now,
            last_instance_at=now,
            handicap_s=new.handicap_s,
            canary=or_(_is_written_down(new.study_uid), literal(new.canary)),
        )
    ).inserted_primary_key
    assert key is not None
    append(connection, int(key[0]), "study.begun", now=now)
    return int(key[0])


def _continue_study(connection: Connection, study: Study, new: NewInstance, now: datetime) -> None:
    handicap_s = min(study.handicap_s, new.handicap_s)  # its most urgent instance speaks for it
    if study.state is StudyState.RECEIVING:
        connection.execute(_ONE_MORE, {"number": study.id, "at": now, "handicap": handicap_s})
        return
    values: dict[str, object] = {
        "state": next_study_state(study.state, StudyEvent.INSTANCE_STORED),
        "last_instance_at": now,
        "handicap_s": handicap_s,
        # the deadline begins anew: else a study that waited long would be taken at this one image
        "first_instance_at": now,
        # whoever works on it works on too little: the lease ends here and its token is void
        **NOT_HELD,
    }
    if study.state is StudyState.FINISHED:
        values |= {"revision": study.revision + 1, "attempts": 0}
        append(connection, study.id, "study.reopened", now=now, revision=study.revision + 1)
    connection.execute(update(studies).where(studies.c.id == study.id).values(values))


def find_study(connection: Connection, study_uid: str) -> Study | None:
    return _one_study(connection, studies.c.study_uid == study_uid)


def get_study(connection: Connection, study_id: int, *, lock: bool = False) -> Study | None:
    return _one_study(connection, studies.c.id == study_id, lock=lock)


def list_studies(connection: Connection, *, limit: int = 50) -> list[Study]:
    """The newest studies first; canaries are none."""
    statement = select(*STUDY_COLUMNS).where(~studies.c.canary).order_by(studies.c.id.desc()).limit(limit)
    return [study_of(row._mapping) for row in connection.execute(statement)]


def _one_study(connection: Connection, condition: ColumnElement[bool], *, lock: bool = False) -> Study | None:
    statement = select(*STUDY_COLUMNS).where(condition)
    row = connection.execute(statement.with_for_update() if lock else statement).one_or_none()
    return None if row is None else study_of(row._mapping)


def study_of(row: object) -> Study:
    """Make a study of a row of STUDY_COLUMNS."""
    values = dict(row)  # type: ignore[call-overload]
    return Study(**{**values, "state": StudyState(values["state"])})


def mark_ready(
    connection: Connection,
    study_id: int,
    *,
    quiet_since: datetime,
    by_deadline: bool,
    cut_short: bool = False,
    now: datetime,
) -> bool:
    """Queue a study unless another instance came after `quiet_since`; returns whether it was queued.

    One that is just being read early is left until that is done: what it finds is not thrown away.
    """
    still = and_(
        studies.c.id == study_id,
        studies.c.state == StudyState.RECEIVING,
        or_(studies.c.lease_until.is_(None), studies.c.lease_until < now),
        or_(studies.c.last_instance_at == quiet_since, by_deadline),  # type: ignore[arg-type]
    )
    values = {
        "state": next_study_state(StudyState.RECEIVING, StudyEvent.COMPLETED),
        "ready_at": now,
        "next_attempt_at": now,
        "due_at": due_at(connection, study_id, now=now),
        "attempts": 0,
        "cut_short": cut_short,
        **NOT_HELD,
    }
    done = connection.execute(update(studies).where(still).values(values)).rowcount == 1
    if done:
        append(connection, study_id, "study.completed", now=now, by_deadline=by_deadline)
        tell(connection, Topic.STUDIES)
    return done


def due_at(connection: Connection, study_id: int, *, now: datetime) -> datetime:
    """When a study that waits from now on is due, see `core.urgency`."""
    handicap = connection.execute(select(studies.c.handicap_s).where(studies.c.id == study_id)).scalar_one()
    return now + timedelta(seconds=handicap)


def ask_again(connection: Connection, study: Study, *, now: datetime) -> None:
    """Queue a study for another reading, as a new revision where it had its outcome.

    Raises UsageError where the study moved on since it was looked at.
    """
    unchanged = and_(
        studies.c.id == study.id, studies.c.state == study.state, studies.c.revision == study.revision
    )
    queued = connection.execute(
        update(studies)
        .where(unchanged)
        .values(
            state=next_study_state(study.state, StudyEvent.ASKED_AGAIN),
            revision=study.revision + (study.state is StudyState.FINISHED),
            ready_at=now,
            next_attempt_at=now,
            due_at=now,  # somebody waits for it
            attempts=0,
            # nothing proves that one which still arrives is whole: it may be positive, and not negative
            cut_short=or_(studies.c.cut_short, studies.c.state == StudyState.RECEIVING),
            **NOT_HELD,
        )
    )
    if queued.rowcount != 1:
        raise UsageError(f"study {study.id} is changing just now; look at it and ask again")
    append(connection, study.id, "study.asked_again", now=now)
    tell(connection, Topic.STUDIES)
