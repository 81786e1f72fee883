"""At start: rows for files that have none, alarms for rows whose file is gone. Never deletes an image."""

import hashlib
from datetime import datetime

from ich_node.dicom.part10 import split
from ich_node.errors import UnreadableInstance
from ich_node.intake.accept import Peer, Received, add_row, describe
from ich_node.log import logger
from ich_node.store.database import Database
from ich_node.store.files import Archive
from ich_node.store.images import kept_files, with_row

PAGE = 1000


def reconcile(database: Database, archive: Archive, *, now: datetime) -> int:
    """Adopt what lay in the archive before `now` without a row, as after a crash or with an older database.

    Returns how many. Other receivers may write meanwhile: who commits the row first does not matter.
    """
    adopted = 0
    for names in archive.sweep(written_before=now):
        with database.transaction() as connection:
            known = with_row(connection, names)
        adopted += sum(_adopt(name, database, archive, now) for name in names if name not in known)
    if adopted:
        logger().warning("archive.files_adopted", count=adopted)
    if lost := count_lost(database, archive):
        logger().error("archive.files_lost", count=lost)
    return adopted


def count_lost(database: Database, archive: Archive) -> int:
    """Count the rows whose file is gone though nobody forgot it."""
    lost = last_id = 0
    while True:
        with database.transaction() as connection:
            page = kept_files(connection, after_id=last_id, limit=PAGE)
        if not page:
            return lost
        lost += sum(not archive.exists(file) for _, file in page)
        last_id = page[-1][0]


def _adopt(name: str, database: Database, archive: Archive, now: datetime) -> bool:
    try:
        meta, dataset = split(archive.read(name))
        received = Received(
            sop_class_uid=meta.sop_class_uid,
            sop_instance_uid=meta.sop_instance_uid,
            transfer_syntax_uid=meta.transfer_syntax_uid,
            dataset=bytes(dataset),
            peer=Peer(ae_title=meta.source_ae_title, address=""),
            association_id=None,
        )
        new = describe(received, hashlib.sha256(dataset).hexdigest())
    except (UnreadableInstance, FileNotFoundError) as error:
        logger().error("archive.file_unreadable", error=type(error).__name__)
        return False
    if new.file != name:
        logger().error("archive.file_damaged", error="its content is not what its name says")
        return False
    add_row(new, database=database, archive=archive, now=now)
    return True
