"""One received instance: header read, file durable, row committed, and only then the answer to the sender.

Touches the archive's folder and the database. Nothing of a patient is logged or said in a comment.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from time import monotonic
from typing import TypeVar

from pydicom.dataset import Dataset

from ich_node.core.canary import PATIENT_ID, STUDY_DESCRIPTION
from ich_node.core.urgency import Urgency, handicap_s
from ich_node.dicom.headers import identity, is_own, studied_at
from ich_node.dicom.part10 import read_data_set
from ich_node.dicom.values import quietly, text
from ich_node.errors import Collision, DatabaseAway, StorageFull, UnreadableInstance
from ich_node.intake.standing import Standing, standing_of_files, standing_of_rows
from ich_node.log import logger
from ich_node.network import REPORT_CLASSES
from ich_node.store.database import Connection, Database
from ich_node.store.files import Archive, name_of
from ich_node.store.images import mark_remembered, mark_returned
from ich_node.store.incoming import Incoming
from ich_node.store.quarantine import Quarantined, add_quarantined
from ich_node.store.studies import (
    NewInstance,
    StoredInstance,
    add_another,
    add_instance,
    add_other_syntax,
    count_adopted,
    find_instances,
    instances_of,
    replace_instance,
)

SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
DATA_SET_DOES_NOT_MATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000  # PS3.4 B.2.3

ATTEMPTS = 5  # at rows that another receiver writes at the same moment
LONG_WAIT_S = 1.0  # for the database
LONGEST_TEXT = 255  # characters of an identifier in a column

Written = TypeVar("Written")


@dataclass(frozen=True, kw_only=True)
class Peer:
    """Who sent."""

    ae_title: str
    address: str
    urgency: Urgency = Urgency.NORMAL  # of what it sends, by the settings


@dataclass(frozen=True, kw_only=True)
class Received:
    """What the command said of a data set, and who sent it."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    peer: Peer
    association_id: int | None
    priority: int = 0  # of the C-STORE request (PS3.7 9.3.1.1)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Status and Error Comment (at most 64 characters) of the response."""

    status: int
    comment: str = ""


def accept(
    received: Received, incoming: Incoming, *, database: Database, archive: Archive, now: datetime
) -> Answer:
    """Store one instance; 0x0000 means: file and row are safe (also where they were before).

    `incoming` holds the data set exactly as it came, behind the file meta of `received`. It refuses for the
    disk and for the database only, however many studies wait to be read: images that are safe here are
    better than images that a scanner may not send again.
    """
    try:
        return _accept(received, incoming, database, archive, now)
    except (StorageFull, DatabaseAway) as error:
        return out_of_resources(error)


def out_of_resources(error: StorageFull | DatabaseAway | Collision) -> Answer:
    """Raise the alarm and tell the sender that trying again later makes sense."""
    logger().error("instance.refused", status=f"{OUT_OF_RESOURCES:04X}", error=type(error).__name__)
    return Answer(status=OUT_OF_RESOURCES, comment="Out of resources, try again later")


def _accept(
    received: Received, incoming: Incoming, database: Database, archive: Archive, now: datetime
) -> Answer:
    try:
        with incoming.reading() as file:
            header = read_data_set(file, received.transfer_syntax_uid, begin=incoming.begin)
            new = describe(received, header, sha256=incoming.sha256, size=incoming.bytes)
            new = replace(new, handicap_s=_handicap_s(received, header, now))
    except UnreadableInstance as error:
        listed = Quarantined(
            file=archive.quarantine(incoming),
            reason=error.reason,
            bytes=incoming.bytes,
            calling_ae_title=received.peer.ae_title,
            address=received.peer.address,
            received_at=now,
        )
        _list_quarantined(listed, database)
        return Answer(status=CANNOT_UNDERSTAND, comment=error.reason.meaning[:64])
    said = (received.sop_class_uid, received.sop_instance_uid)
    if (new.sop_class_uid, new.sop_instance_uid) != said:
        logger().warning(
            "instance.refused", status=f"{DATA_SET_DOES_NOT_MATCH:04X}", peer=received.peer.ae_title
        )
        return Answer(
            status=DATA_SET_DOES_NOT_MATCH, comment="SOP Class or Instance UID is not the command's"
        )
    archive.keep(incoming, new.file)
    add_row(new, database=database, archive=archive, now=now)
    if not archive.exists(new.file):
        # retention took the study's files between our write and our row
        archive.keep(incoming, new.file)
    return Answer(status=SUCCESS)


def _handicap_s(received: Received, header: Dataset, now: datetime) -> int:
    site_time = now.astimezone()
    with quietly():
        began = studied_at(header, site_time.tzinfo)
    return handicap_s(received.peer.urgency, priority=received.priority, studied_at=began, now=site_time)


def describe(received: Received, header: Dataset, *, sha256: str, size: int) -> NewInstance:
    """Say what the row will say; the hash and the size are the data set's. Raises UnreadableInstance."""
    study_uid, series_uid, sop_instance_uid, sop_class_uid = identity(header)
    with quietly():
        patient_id, accession_number = text(header, "PatientID"), text(header, "AccessionNumber")
        own = sop_class_uid in REPORT_CLASSES and is_own(header)
        canary = patient_id == PATIENT_ID and text(header, "StudyDescription") == STUDY_DESCRIPTION
    return NewInstance(
        study_uid=study_uid,
        series_uid=series_uid,
        sop_instance_uid=sop_instance_uid,
        sop_class_uid=sop_class_uid,
        transfer_syntax_uid=received.transfer_syntax_uid,
        patient_id=_for_column(patient_id),
        accession_number=_for_column(accession_number),
        sha256=sha256,
        bytes=size,
        file=name_of(sop_instance_uid, sha256),
        association_id=received.association_id,
        own_object=own,
        canary=canary,
    )


def _for_column(value: str) -> str:
    return value.replace("\x00", "")[:LONGEST_TEXT]


def add_row(new: NewInstance, *, database: Database, archive: Archive, now: datetime) -> Standing:
    """Commit the row of an instance whose file is durable; raises DatabaseAway."""
    compared: dict[tuple[StoredInstance, ...], Standing] = {}
    begun = monotonic()

    def _add_now(connection: Connection) -> tuple[int, Standing]:
        waited_s = monotonic() - begun
        # its sender was not silent while we waited for the database
        at = now + timedelta(seconds=waited_s) if waited_s > LONG_WAIT_S else now
        return _add_row(connection, new, archive, compared, at)

    def _add() -> tuple[int, Standing]:
        while True:  # once more only after another content came under this UID
            try:
                return database.together(_add_now)
            except _NotCompared as unknown:
                # not in the transaction: others wait for it, and two images may be large
                compared[unknown.stored] = standing_of_files(new, list(unknown.stored), archive)

    study_id, standing = _despite_collisions(_add)
    if standing in (Standing.MENDED, Standing.CONFLICT):
        logger().warning("instance.came_twice", study=study_id, reason=standing.value)
    return standing


class _NotCompared(Exception):
    """The files of these have to be compared before the row can be written."""

    def __init__(self, stored: list[StoredInstance]) -> None:
        super().__init__()
        self.stored = tuple(stored)


def _despite_collisions(write: Callable[[], Written]) -> Written:
    for _ in range(ATTEMPTS):
        try:
            return write()
        except Collision:
            continue  # another receiver wrote the same rows first: now they are seen
    raise DatabaseAway("other receivers keep writing the same rows")


def _add_row(
    connection: Connection,
    new: NewInstance,
    archive: Archive,
    compared: Mapping[tuple[StoredInstance, ...], Standing],
    now: datetime,
) -> tuple[int, Standing]:
    study_id, standing = _add(connection, new, archive, compared, now)
    told_before = standing in (Standing.STORED_BEFORE, Standing.OTHER_SYNTAX)
    if new.adopted and not new.own_object and not told_before:
        count_adopted(connection, study_id)
    return study_id, standing


def _add(
    connection: Connection,
    new: NewInstance,
    archive: Archive,
    compared: Mapping[tuple[StoredInstance, ...], Standing],
    now: datetime,
) -> tuple[int, Standing]:
    if (another := add_another(connection, new, now=now)) is not None:
        return another, Standing.NEW
    stored = find_instances(connection, new.sop_instance_uid)
    standing = standing_of_rows(new, stored) or compared.get(tuple(stored))
    if standing is None:
        raise _NotCompared(stored)
    study_id = _write(connection, new, stored, standing, now)
    came_back = mark_returned(connection, study_id, new.file, now=now)
    if came_back and all(archive.exists(one.file) for one in reversed(instances_of(connection, study_id))):
        mark_remembered(connection, study_id, now=now)
    return study_id, standing


def _write(
    connection: Connection, new: NewInstance, stored: list[StoredInstance], standing: Standing, now: datetime
) -> int:
    """Write what follows from how the content stands; returns the number of its study."""
    if standing is Standing.STORED_BEFORE:
        return next(one.study_id for one in stored if one.sha256 == new.sha256)
    if standing is Standing.OTHER_SYNTAX:
        study_id = next(one.study_id for one in stored if one.study_uid == new.study_uid)
        add_other_syntax(connection, study_id, new, now=now)
        return study_id
    study_id = add_instance(
        connection,
        new,
        in_use=standing is Standing.NEW,
        conflict=standing is Standing.CONFLICT,
        now=now,
    )
    if standing is Standing.MENDED and not new.own_object:
        replace_instance(connection, study_id, new)
    return study_id


def _list_quarantined(listed: Quarantined, database: Database) -> None:
    def _list() -> None:
        with database.transaction() as connection:
            add_quarantined(connection, listed)

    _despite_collisions(_list)
    logger().warning("instance.quarantined", reason=listed.reason, peer=listed.calling_ae_title)
