"""Statements about labels: opinions of readers with a history; a later one replaces, nothing is erased."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select

from ich_node.core.consensus import Opinion, Presence
from ich_node.store.history import append
from ich_node.store.tables import labels, studies
from ich_node.vocabulary import Location


@dataclass(frozen=True, kw_only=True)
class Identity:
    """How one received study can be named; for commands and exports, never for logs."""

    study_id: int
    study_uid: str
    accession_number: str
    patient_id: str


@dataclass(frozen=True, kw_only=True)
class Label:
    """One opinion and the study that it is about."""

    identity: Identity
    opinion: Opinion


_IDENTITY = [
    studies.c.id.label("study_id"),
    studies.c.study_uid,
    studies.c.accession_number,
    studies.c.patient_id,
]
_OPINION = [labels.c[name] for name in Opinion.__dataclass_fields__]


def studies_named(
    connection: Connection, *, study_uid: str = "", accession_number: str = "", patient_id: str = ""
) -> list[Identity]:
    """The received studies named by the strongest identifier given: UID, accession number, patient ID."""
    given = {"study_uid": study_uid, "accession_number": accession_number, "patient_id": patient_id}
    strongest = next((name for name, value in given.items() if value), None)
    if strongest is None:
        return []
    statement = select(*_IDENTITY).where(studies.c[strongest] == given[strongest]).order_by(studies.c.id)
    return [Identity(**row._mapping) for row in connection.execute(statement)]


def add_label(connection: Connection, study_id: int, opinion: Opinion, *, now: datetime) -> None:
    """Keep a new opinion about a study."""
    connection.execute(insert(labels).values(study_id=study_id, imported_at=now, **vars(opinion)))
    append(connection, study_id, "label.added", now=now, hemorrhage=opinion.hemorrhage)


def opinions_of(connection: Connection, study_id: int) -> list[Opinion]:
    """The opinions about a study, in the order in which they came."""
    statement = select(*_OPINION).where(labels.c.study_id == study_id).order_by(labels.c.id)
    return [_opinion(row._mapping) for row in connection.execute(statement)]


def all_labels(connection: Connection) -> Sequence[Label]:
    """Every label in the order in which they came."""
    statement = (
        select(*_IDENTITY, *_OPINION).join(studies, studies.c.id == labels.c.study_id).order_by(labels.c.id)
    )
    rows = [row._mapping for row in connection.execute(statement)]
    return [
        Label(
            identity=Identity(**{name: row[name] for name in Identity.__dataclass_fields__}),
            opinion=_opinion({name: row[name] for name in Opinion.__dataclass_fields__}),
        )
        for row in rows
    ]


def _opinion(row: object) -> Opinion:
    values = dict(row)  # type: ignore[call-overload]
    values["hemorrhage"] = Presence(values["hemorrhage"])
    values["location"] = Location(values["location"]) if values["location"] else None
    return Opinion(**values)


def has_labels(connection: Connection) -> bool:
    return connection.execute(select(labels.c.id).limit(1)).first() is not None
