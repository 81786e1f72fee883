"""Lets images go whose time is over, so that the disk never fills. Deletes files of finished studies."""

from datetime import datetime

from ich_node.core.retention import to_forget
from ich_node.dicom.audit import deleted
from ich_node.log import logger
from ich_node.settings.sections import Storage
from ich_node.store.audit import facts_of, record
from ich_node.store.database import Database
from ich_node.store.files import Archive
from ich_node.store.images import files_of, kept_studies, mark_forgotten

NEAR_RESERVE = 2.0  # retention starts well before reception must refuse


def forget_old_images(database: Database, archive: Archive, storage: Storage, *, now: datetime) -> int:
    """Delete images that may go; results, reports and history stay. Returns the number of studies."""
    near = archive.free_mb() < NEAR_RESERVE * storage.reserve_mb
    with database.transaction() as connection:
        kept = kept_studies(connection)
    gone = 0
    for study_id in to_forget(kept, now=now, keep_days=storage.keep_days, disk_is_near_reserve=near):
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
        if near and archive.free_mb() >= NEAR_RESERVE * storage.reserve_mb:
            break
    if gone:
        logger().info("study.forgotten", count=gone, free_mb=archive.free_mb())
    return gone
