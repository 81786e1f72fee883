"""One received instance: header read, file durable, row committed, and only then the answer to the sender.

Touches the archive's folder and the database. Nothing of a patient is logged or said in a comment.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ich_node.dicom.headers import identity
from ich_node.dicom.part10 import FileMeta, encode_file_meta, pixels_of, read_header
from ich_node.dicom.values import quietly, text
from ich_node.errors import Collision, DatabaseAway, StorageFull, UnreadableInstance
from ich_node.log import logger
from ich_node.store.database import Database
from ich_node.store.files import Archive, name_of
from ich_node.store.images import mark_remembered
from ich_node.store.quarantine import Quarantined, add_quarantined
from ich_node.store.studies import (
    NewInstance,
    StoredInstance,
    add_instance,
    find_instances,
    replace_instance,
)
from ich_node.vocabulary import Reason

SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
DATA_SET_DOES_NOT_MATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000  # PS3.4 B.2.3

ATTEMPTS = 5  # at rows that another receiver writes at the same moment
LONGEST_TEXT = 255  # characters of an identifier in a column


@dataclass(frozen=True, kw_only=True)
class Peer:
    """Who sent."""

    ae_title: str
    address: str


@dataclass(frozen=True, kw_only=True)
class Received:
    """A data set exactly as it came, and what the command said of it."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    dataset: bytes
    peer: Peer
    association_id: int | None

    @property
    def file_meta(self) -> bytes:
        """The file meta information to write before the data set."""
        return encode_file_meta(
            FileMeta(
                sop_class_uid=self.sop_class_uid,
                sop_instance_uid=self.sop_instance_uid,
                transfer_syntax_uid=self.transfer_syntax_uid,
                source_ae_title=self.peer.ae_title,
            )
        )


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Status and Error Comment (at most 64 characters) of the response."""

    status: int
    comment: str = ""


class Standing(StrEnum):
    """How a content stands to what is stored under its UID already."""

    NEW = "new"
    STORED_BEFORE = "stored before"
    MENDED = "mended"  # the same pixels under another header
    CONFLICT = "conflict"


def accept(received: Received, *, database: Database, archive: Archive, now: datetime) -> Answer:
    """Store one instance; 0x0000 means: file and row are safe (also where they were before)."""
    digest = hashlib.sha256(received.dataset).hexdigest()
    try:
        return _accept(received, digest, database, archive, now)
    except (StorageFull, DatabaseAway) as error:
        return out_of_resources(error)


def out_of_resources(error: StorageFull | DatabaseAway) -> Answer:
    """Raise the alarm and tell the sender that trying again later makes sense."""
    logger().error("instance.refused", status=f"{OUT_OF_RESOURCES:04X}", error=type(error).__name__)
    return Answer(status=OUT_OF_RESOURCES, comment="Out of resources, try again later")


def _accept(received: Received, digest: str, database: Database, archive: Archive, now: datetime) -> Answer:
    try:
        new = describe(received, digest)
    except UnreadableInstance as error:
        file = archive.quarantine(digest, (received.file_meta, received.dataset))
        _list_quarantined(received, file, error.reason, database, now)
        return Answer(status=CANNOT_UNDERSTAND, comment=error.reason.meaning[:64])
    said = (received.sop_class_uid, received.sop_instance_uid)
    if (new.sop_class_uid, new.sop_instance_uid) != said:
        logger().warning(
            "instance.refused", status=f"{DATA_SET_DOES_NOT_MATCH:04X}", peer=received.peer.ae_title
        )
        return Answer(
            status=DATA_SET_DOES_NOT_MATCH, comment="SOP Class or Instance UID is not the command's"
        )
    archive.write(new.file, (received.file_meta, received.dataset))
    add_row(new, database=database, archive=archive, now=now)
    if not archive.exists(new.file):
        # retention took the study's files between our write and our row
        archive.write(new.file, (received.file_meta, received.dataset))
    return Answer(status=SUCCESS)


def describe(received: Received, digest: str) -> NewInstance:
    """Read from the header what the row will say; raises UnreadableInstance."""
    header = read_header(received.file_meta + received.dataset)
    study_uid, series_uid, sop_instance_uid, sop_class_uid = identity(header)
    with quietly():
        patient_id, accession_number = text(header, "PatientID"), text(header, "AccessionNumber")
    return NewInstance(
        study_uid=study_uid,
        series_uid=series_uid,
        sop_instance_uid=sop_instance_uid,
        sop_class_uid=sop_class_uid,
        transfer_syntax_uid=received.transfer_syntax_uid,
        patient_id=_for_column(patient_id),
        accession_number=_for_column(accession_number),
        sha256=digest,
        bytes=len(received.dataset),
        file=name_of(sop_instance_uid, digest),
        association_id=received.association_id,
    )


def _for_column(value: str) -> str:
    return value.replace("\x00", "")[:LONGEST_TEXT]


def add_row(new: NewInstance, *, database: Database, archive: Archive, now: datetime) -> Standing:
    """Commit the row of an instance whose file is durable; raises DatabaseAway."""
    for _ in range(ATTEMPTS):
        try:
            return _add_row(new, database, archive, now)
        except Collision:
            continue  # another receiver wrote the same study or instance first: now its row is seen
    raise DatabaseAway("other receivers keep writing the same rows")


def _add_row(new: NewInstance, database: Database, archive: Archive, now: datetime) -> Standing:
    with database.transaction() as connection:
        stored = find_instances(connection, new.sop_instance_uid)
        standing = _standing(new, stored, archive)
        if standing is Standing.STORED_BEFORE:
            mark_remembered(connection, new.file)
            return standing
        study_id = add_instance(
            connection,
            new,
            in_use=standing is Standing.NEW,
            conflict=standing is Standing.CONFLICT,
            now=now,
        )
        if standing is Standing.MENDED:
            replace_instance(connection, study_id, new)
    if standing is not Standing.NEW:
        logger().warning("instance.came_twice", study=study_id, reason=standing.value)
    return standing


def _standing(new: NewInstance, stored: list[StoredInstance], archive: Archive) -> Standing:
    if not stored:
        return Standing.NEW
    if any(one.sha256 == new.sha256 for one in stored):
        return Standing.STORED_BEFORE
    first = next((one for one in stored if one.in_use), stored[0])
    same_place = (first.series_uid, first.sop_class_uid) == (new.series_uid, new.sop_class_uid)
    return Standing.MENDED if same_place and _same_pixels(first, new, archive) else Standing.CONFLICT


def _same_pixels(first: StoredInstance, new: NewInstance, archive: Archive) -> bool:
    """Whether both hold the same encoded pixels; a forgotten file leaves nothing to contradict."""
    try:
        return pixels_of(archive.read(first.file)) == pixels_of(archive.read(new.file))
    except FileNotFoundError:
        return True
    except UnreadableInstance:
        return False


def _list_quarantined(
    received: Received, file: str, reason: Reason, database: Database, now: datetime
) -> None:
    with database.transaction() as connection:
        add_quarantined(
            connection,
            Quarantined(
                file=file,
                reason=reason,
                bytes=len(received.dataset),
                calling_ae_title=received.peer.ae_title,
                address=received.peer.address,
                received_at=now,
            ),
        )
    logger().warning("instance.quarantined", reason=reason, peer=received.peer.ae_title)
