"""At start: rows for files that have none, alarms for rows whose file is gone. Never deletes an image."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import PurePath

from ich_node.dicom.part10 import read_data_set, split
from ich_node.errors import UnreadableInstance
from ich_node.intake.accept import Peer, Received, add_row, describe
from ich_node.intake.trail import record_arrivals
from ich_node.log import logger
from ich_node.store.associations import (
    ADOPTED,
    close_association,
    keep_associations_open,
    open_association,
)
from ich_node.store.database import Database
from ich_node.store.files import Archive
from ich_node.store.images import kept_files, with_row

PAGE = 1000
LONGEST_META = 1 << 16  # of what we write before a data set
LONGEST_TITLE = 16  # of an application entity (PS3.5 6.2)


def _never() -> bool:
    return False


class _Sources:
    """Those who once sent what is adopted: it is told as what comes over an association, one of each sender.

    What a process that dies leaves open is told later, as of any receiver that is gone.
    """

    def __init__(self, database: Database, ours: str) -> None:
        self._database, self._ours = database, ours
        self._numbers: dict[str, int] = {}

    def number_of(self, ae_title: str) -> int:
        """The association that stands for this sender."""
        if ae_title not in self._numbers:
            with self._database.transaction() as connection:
                self._numbers[ae_title] = open_association(
                    connection,
                    receiver=ADOPTED,
                    calling_ae_title=ae_title,
                    address="",
                    now=datetime.now(UTC),
                )
        return self._numbers[ae_title]

    def keep_open(self) -> None:
        """Say that it goes on."""
        if self._numbers:
            with self._database.transaction() as connection:
                keep_associations_open(connection, ADOPTED, now=datetime.now(UTC))

    def close(self) -> None:
        """Write what was adopted into the audit trail."""
        for number in self._numbers.values():
            with self._database.transaction() as connection:
                now = datetime.now(UTC)
                if close_association(connection, number, now=now):
                    record_arrivals(connection, number, ours=self._ours, now=now)


def reconcile(
    database: Database, archive: Archive, *, ours: str, now: datetime, stopped: Callable[[], bool] = _never
) -> int:
    """Adopt what lay in the archive before `now` without a row, as after a crash or with an older database.

    Returns how many; `ours` is our AE title, for the audit trail. Other receivers may write meanwhile: who
    commits the row first does not matter. Ends between two files where `stopped` says so: the next start
    begins anew. Raises DatabaseAway, Collision.
    """
    adopted = 0
    sources = _Sources(database, ours)
    for name in _without_row(database, archive, sources, now, stopped):
        adopted += _adopt(name, database, archive, sources)
    sources.close()
    if adopted:
        logger().warning("archive.files_adopted", count=adopted)
    if lost := count_lost(database, archive, stopped=stopped):
        logger().error("archive.files_lost", count=lost)
    return adopted


def _without_row(
    database: Database, archive: Archive, sources: _Sources, now: datetime, stopped: Callable[[], bool]
) -> Iterator[str]:
    for names in archive.sweep(written_before=now):
        sources.keep_open()
        with database.transaction() as connection:
            known = with_row(connection, names)
        for name in names:
            if stopped():
                return
            if name not in known:
                yield name


def count_lost(database: Database, archive: Archive, *, stopped: Callable[[], bool] = _never) -> int:
    """Count the rows whose file is gone though nobody forgot it."""
    return sum((find_lost(database, archive, stopped=stopped) or Counter()).values())


def find_lost(
    database: Database, archive: Archive, *, stopped: Callable[[], bool] = _never
) -> Counter[int] | None:
    """Find the studies with files that are gone though nobody forgot them, and how many each lacks.

    None where `stopped` said so before the end.
    """
    lost: Counter[int] = Counter()
    last_id = 0
    while not stopped():
        with database.reading() as connection:
            page = kept_files(connection, after_id=last_id, limit=PAGE)
        if not page:
            return lost
        lost.update(study_id for _, file, study_id in page if not archive.exists(file))
        last_id = page[-1][0]
    return None


def _adopt(name: str, database: Database, archive: Archive, sources: _Sources) -> bool:
    try:
        with archive.path(name).open("rb") as file:
            meta, rest = split(file.read(LONGEST_META))
            begin = file.seek(-len(rest), os.SEEK_CUR)
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell() - begin
            header = read_data_set(file, meta.transfer_syntax_uid, begin=begin)
        received = Received(
            sop_class_uid=meta.sop_class_uid,
            sop_instance_uid=meta.sop_instance_uid,
            transfer_syntax_uid=meta.transfer_syntax_uid,
            peer=Peer(ae_title=meta.source_ae_title, address=""),
            association_id=None,
        )
        new = describe(received, header, sha256=sha256, size=size)
    except (UnreadableInstance, OSError) as error:  # one bad file does not keep the others out
        logger().error("archive.file_unreadable", error=type(error).__name__)
        return False
    # the folders above it may be those of an older version: the row says where it lies
    if PurePath(new.file).name != PurePath(name).name:
        logger().error("archive.file_damaged", error="its content is not what its name says")
        return False
    source = meta.source_ae_title.replace("\x00", "")[:LONGEST_TITLE]
    new = replace(new, file=name, association_id=sources.number_of(source), adopted=True)
    add_row(new, database=database, archive=archive, now=datetime.now(UTC))  # the sweep may take hours
    return True
