"""The archive against the database at start: nothing whole is ever deleted."""

import os
from datetime import UTC, datetime, timedelta
from itertools import chain, repeat
from itertools import count as count_from
from pathlib import Path
from xml.etree.ElementTree import Element

import pytest
from audit_schema import parsed
from builders import ct_series
from reception import NODE, SCANNER, Message, accept, count

from ich_node.dicom.audit import Kind
from ich_node.errors import DatabaseAway
from ich_node.intake import adopt
from ich_node.intake.adopt import count_lost, reconcile
from ich_node.intake.trail import record_what_gone_receivers_took
from ich_node.store.audit import lines
from ich_node.store.database import Database
from ich_node.store.files import Archive
from ich_node.store.images import files_of, mark_forgotten
from ich_node.store.studies import find_study

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
AFTERWARDS = datetime(2100, 1, 1, tzinfo=UTC)
SERIES = ct_series(slices=4, rows=8, columns=8)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "storage", reserve_mb=0)


def store_all(database: Database, archive: Archive) -> None:
    for dataset in SERIES:
        accept(Message.of(dataset).received(), database=database, archive=archive, now=NOW)


def files(archive: Archive) -> list[Path]:
    return sorted(archive.path(name) for names in archive.sweep(written_before=AFTERWARDS) for name in names)


def forget_rows(database: Database) -> None:
    with database.engine.begin() as connection:
        for table in ("instances", "history", "studies"):
            connection.exec_driver_sql(f"delete from {table}")


def transfers(database: Database) -> list[Element]:
    with database.reading() as connection:
        return [parsed(line.message) for line in lines(connection) if line.kind == Kind.TRANSFERRED]


def test_an_older_database_takes_the_newer_files_in(database: Database, archive: Archive) -> None:
    store_all(database, archive)
    forget_rows(database)

    adopted = [reconcile(database, archive, ours=NODE, now=AFTERWARDS) for _ in range(2)]

    assert adopted == [4, 0]
    assert count(database, "instances", "in_use") == 4
    assert count(database, "studies", "state = 'receiving'") == 1
    # never a revision again that had a report: its UID would be the same, and the archive's answer 0x0000
    assert count(database, "studies", "revision > 4") == 1


def test_each_study_that_is_adopted_is_one_message_in_the_audit_trail(
    database: Database, archive: Archive
) -> None:
    other = ct_series(seed=2, slices=2, rows=8, columns=8)
    store_all(database, archive)
    for dataset in other:
        accept(Message.of(dataset).received(), database=database, archive=archive, now=NOW)
    forget_rows(database)

    for _ in range(2):
        reconcile(database, archive, ours=NODE, now=AFTERWARDS)

    told = transfers(database)
    ids = {root.find("ParticipantObjectIdentification").get("ParticipantObjectID"): root for root in told}
    assert len(told) == 2
    assert {uid: root.find(".//SOPClass").get("NumberOfInstances") for uid, root in ids.items()} == {
        SERIES[0].StudyInstanceUID: "4",
        other[0].StudyInstanceUID: "2",
    }
    for root in told:
        assert [one.get("UserID") for one in root.iter("ActiveParticipant")] == [SCANNER, NODE]


def test_what_was_adopted_before_the_database_went_away_is_told_by_the_scheduler(
    database: Database, archive: Archive, monkeypatch
) -> None:
    store_all(database, archive)
    forget_rows(database)
    add, calls = adopt.add_row, count_from(1)

    def _fails_at_the_third(*facts, **others):
        if next(calls) == 3:
            raise DatabaseAway
        return add(*facts, **others)

    monkeypatch.setattr(adopt, "add_row", _fails_at_the_third)
    with pytest.raises(DatabaseAway):
        reconcile(database, archive, ours=NODE, now=AFTERWARDS)
    reconcile(database, archive, ours=NODE, now=AFTERWARDS)
    record_what_gone_receivers_took(database, ours=NODE, now=datetime.now(UTC) + timedelta(minutes=61))

    numbers = [root.find(".//SOPClass").get("NumberOfInstances") for root in transfers(database)]
    assert numbers == ["2", "2"]
    assert count(database, "associations", "closed_at is null") == 0


def test_files_in_the_folders_of_an_older_version_are_adopted_where_they_lie(
    database: Database, archive: Archive
) -> None:
    store_all(database, archive)
    for path in files(archive):
        deeper = path.parent / path.name[2:4]
        deeper.mkdir(exist_ok=True)
        path.rename(deeper / path.name)
    forget_rows(database)

    adopted = [reconcile(database, archive, ours=NODE, now=AFTERWARDS) for _ in range(2)]

    assert adopted == [4, 0]
    assert count_lost(database, archive) == 0


def test_a_file_that_is_being_received_is_left_to_its_receiver(database: Database, archive: Archive) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    store_all(database, archive)
    forget_rows(database)

    adopted = reconcile(database, archive, ours=NODE, now=before)

    assert adopted == 0


def test_a_damaged_file_is_neither_adopted_nor_deleted(database: Database, archive: Archive) -> None:
    store_all(database, archive)
    damaged, cut, *_ = files(archive)
    damaged.write_bytes(damaged.read_bytes()[:-2] + b"\x01\x02")
    cut.write_bytes(cut.read_bytes()[:100])
    forget_rows(database)

    adopted = reconcile(database, archive, ours=NODE, now=AFTERWARDS)

    assert adopted == 2
    assert len(files(archive)) == 4


def test_one_bad_file_does_not_keep_the_others_out(sqlite_url: str, archive: Archive) -> None:
    database = Database(sqlite_url)
    store_all(database, archive)
    forget_rows(database)
    folder, dangling, *_ = files(archive)
    for path in (folder, dangling):
        path.unlink()
    folder.mkdir()
    dangling.symlink_to("nowhere")

    adopted = reconcile(database, archive, ours=NODE, now=AFTERWARDS)

    database.dispose()
    assert adopted == 2


def test_it_ends_between_two_files_when_the_process_stops(sqlite_url: str, archive: Archive) -> None:
    database = Database(sqlite_url)
    store_all(database, archive)
    forget_rows(database)
    answers = chain([False, False], repeat(True))

    adopted = reconcile(database, archive, ours=NODE, now=AFTERWARDS, stopped=lambda: next(answers))

    database.dispose()
    assert adopted == 2


def test_rows_without_a_file_are_counted_unless_the_study_was_forgotten(
    database: Database, archive: Archive
) -> None:
    store_all(database, archive)
    files(archive)[0].unlink()

    lost = count_lost(database, archive)

    with database.transaction() as connection:
        study = find_study(connection, SERIES[0].StudyInstanceUID)
        assert study is not None
        connection.exec_driver_sql("update studies set state = 'finished'")
        archive.delete(files_of(connection, study.id))
        mark_forgotten(connection, study.id, now=NOW)
    assert (lost, count_lost(database, archive)) == (1, 0)


def test_only_dead_writers_half_written_files_go(sqlite_url: str, archive: Archive) -> None:
    database = Database(sqlite_url)
    store_all(database, archive)
    folder = files(archive)[0].parent
    own = _temporary_names(folder)
    for path in own:
        path.write_bytes(b"half")
    os.utime(own[4], (0, 0))
    foreign = folder / "somebody's notes.txt"
    foreign.write_text("not ours")

    reconcile(database, archive, ours=NODE, now=AFTERWARDS)

    left = sorted(path.name for path in folder.iterdir() if path.suffix != ".dcm")
    database.dispose()
    assert left == sorted([own[0].name, own[3].name, foreign.name])


def _temporary_names(folder: Path) -> list[Path]:
    """Of: this process, a dead one, one before the last boot, one on another host, an old one there."""
    from dataclasses import replace

    from ich_node.store.writer import this_process

    here = this_process()
    writers = [
        here,
        replace(here, started=here.started + 1),
        replace(here, boot="00000000-0000-0000-0000-000000000000"),
        replace(here, host="elsewhere"),
        replace(here, host="long-ago"),
    ]
    return [folder / writer.new_name() for writer in writers]
