"""Lets images go whose time is over, so that the disk never fills. Deletes files of finished studies."""

from datetime import datetime, timedelta

from ich_node.core.retention import to_forget
from ich_node.dicom.audit import deleted
from ich_node.log import logger
from ich_node.settings.sections import Storage
from ich_node.store.audit import facts_of, record
from ich_node.store.database import Database
from ich_node.store.files import Archive
from ich_node.store.images import files_of, kept_studies, mark_forgotten
from ich_node.store.quarantine import mark_gone, oldest_quarantined

NEAR_RESERVE = 2.0  # retention starts well before reception must refuse
QUARANTINE_AT_ONCE = 1000


def forget_old_images(database: Database, archive: Archive, storage: Storage, *, now: datetime) -> int:
    """Delete images whose days are over; results, reports and history stay. Returns the number of studies."""
    _empty_quarantine(database, archive, received_before=now - timedelta(days=storage.keep_days), now=now)
    return _forget(database, archive, storage, near=False, now=now)


def make_room(database: Database, archive: Archive, storage: Storage, *, now: datetime) -> int:
    """Where the disk reserve is near, delete images before their time until it is not, no more than needed.

    What belongs to no study goes first, but never on the day it came: somebody may look at it still.
    """
    if not _is_near(archive, storage):
        return 0
    _empty_quarantine(database, archive, received_before=now - timedelta(days=1), now=now)
    gone = _forget(database, archive, storage, near=True, now=now)
    if _is_near(archive, storage):
        logger().error("archive.no_room", free_mb=archive.free_mb())
    return gone


def _is_near(archive: Archive, storage: Storage) -> bool:
    return archive.free_mb() < NEAR_RESERVE * storage.reserve_mb


def _forget(database: Database, archive: Archive, storage: Storage, *, near: bool, now: datetime) -> int:
    with database.reading() as connection:
        kept = kept_studies(connection)
    gone = 0
    for study_id in to_forget(kept, now=now, keep_days=storage.keep_days, disk_is_near_reserve=near):
        if near and not _is_near(archive, storage):
            break
        with database.transaction() as connection:
            if not mark_forgotten(connection, study_id, now=now):
                continue
            # while the row is locked: a resend that comes now writes its file after us, not before
            archive.delete(files_of(connection, study_id))
            if (study := facts_of(connection, study_id)) is not None:
                record(
                    connection,
                    deleted(study, why="its time is over, or the disk is near its reserve"),
                    now=now,
                )
        gone += 1
    if gone:
        logger().info("study.forgotten", count=gone, free_mb=archive.free_mb())
    return gone


def _empty_quarantine(
    database: Database, archive: Archive, *, received_before: datetime, now: datetime
) -> None:
    with database.reading() as connection:
        files = oldest_quarantined(connection, received_before=received_before, limit=QUARANTINE_AT_ONCE)
    for file in files:
        with database.transaction() as connection:
            mark_gone(connection, file, now=now)
            archive.delete_quarantined(file)
    if files:
        logger().info("quarantine.emptied", count=len(files), free_mb=archive.free_mb())
