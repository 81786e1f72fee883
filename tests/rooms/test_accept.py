"""One instance: what is stored, and what the sender is told, on both databases."""

import threading
import zlib
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from builders import ct_series
from peers import PostgresServer
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import ImplicitVRLittleEndian, RLELossless
from reception import DEFLATED, Message, accept, count, encoded

from ich_node.dicom.part10 import split
from ich_node.intake.adopt import count_lost
from ich_node.intake.forget import forget_old_images
from ich_node.settings.sections import Storage
from ich_node.store.database import Database
from ich_node.store.files import Archive
from ich_node.store.quarantine import list_quarantined
from ich_node.store.studies import find_instances, find_study, instances_of
from ich_node.vocabulary import MANUFACTURER, SERIES_DESCRIPTIONS

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
GARBAGE = bytes(range(256)) * 20
SR_CLASS = "1.2.840.10008.5.1.4.1.1.88.33"
# a sequence of undefined length that breaks off within the first tag of an item
CUT_SEQUENCE = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff"


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "storage", reserve_mb=0)


def image(**tags: object) -> Dataset:
    return ct_series(slices=1, rows=16, columns=16, PatientID="P-4711", PatientName="Doe^Jane", **tags)[0]


def other_pixels(dataset: Dataset) -> Message:
    changed = deepcopy(dataset)
    changed.PixelData = bytes(len(dataset.PixelData))
    return Message.of(changed)


def mended(dataset: Dataset, **tags: object) -> Message:
    changed = deepcopy(dataset)
    for keyword, value in tags.items():
        setattr(changed, keyword, value)
    return Message.of(changed)


def status(message: Message, database: Database, archive: Archive, now: datetime = NOW) -> int:
    return accept(message.received(), database=database, archive=archive, now=now).status


def finish_all(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.exec_driver_sql("update studies set state = 'finished', outcome = 'negative'")


def images_in(archive: Archive) -> list[str]:
    return [
        name for names in archive.sweep(written_before=datetime.max.replace(tzinfo=UTC)) for name in names
    ]


def test_an_instance_is_stored_as_the_bytes_that_came(database: Database, archive: Archive) -> None:
    message = Message.of(image())

    answered = status(message, database, archive)

    with database.transaction() as connection:
        (stored,) = find_instances(connection, message.sop_instance_uid)
    meta, dataset = split(archive.read(stored.file))
    assert answered == 0x0000
    assert bytes(dataset) == message.dataset
    assert (meta.sop_instance_uid, meta.transfer_syntax_uid) == (
        message.sop_instance_uid,
        "1.2.840.10008.1.2.1",
    )


def test_a_file_is_named_by_hashes_and_is_for_its_owner_and_group_only(
    database: Database, archive: Archive
) -> None:
    message = Message.of(image())

    status(message, database, archive)

    (name,) = images_in(archive)
    assert message.sop_instance_uid not in name
    assert "4711" not in name
    assert archive.path(name).stat().st_mode & 0o777 == 0o640


def test_the_same_instance_again_changes_nothing(database: Database, archive: Archive) -> None:
    message = Message.of(image())
    status(message, database, archive)
    with database.transaction() as connection:
        before = find_study(connection, image().StudyInstanceUID)

    answered = status(message, database, archive, now=NOW.replace(hour=13))

    with database.transaction() as connection:
        after = find_study(connection, image().StudyInstanceUID)
    assert answered == 0x0000
    assert before == after
    assert count(database, "instances") == len(images_in(archive)) == 1


def test_a_mended_header_is_taken_into_use(database: Database, archive: Archive) -> None:
    original = image()
    corrected = mended(original, PatientID="P-4712", AccessionNumber="A-1")
    status(Message.of(original), database, archive)

    answered = status(corrected, database, archive)

    with database.transaction() as connection:
        study = find_study(connection, original.StudyInstanceUID)
        assert study is not None
        (used,) = instances_of(connection, study.id)
        both = find_instances(connection, original.SOPInstanceUID)
    assert answered == 0x0000
    assert bytes(split(archive.read(used.file))[1]) == corrected.dataset
    assert [one.in_use for one in both] == [False, True]
    assert not study.conflict
    assert (study.patient_id, study.accession_number) == ("P-4712", "A-1")


def test_a_mended_header_is_taken_into_use_though_the_image_holds_no_pixels(
    database: Database, archive: Archive
) -> None:
    original = image()
    original.PixelData = None
    status(Message.of(original), database, archive)

    answered = status(mended(original, PatientID="P-4712"), database, archive)

    with database.transaction() as connection:
        both = find_instances(connection, original.SOPInstanceUID)
    assert answered == 0x0000
    assert [one.in_use for one in both] == [False, True]


def test_pixel_data_that_is_a_sequence_is_no_proof_of_the_same_picture(
    sqlite_url: str, archive: Archive
) -> None:
    database, original = Database(sqlite_url), image()
    del original.PixelData
    original.add(DataElement("PixelData", "SQ", [Dataset()]))
    status(Message.of(original), database, archive)

    answered = status(mended(original, PatientID="P-4712"), database, archive)

    with database.transaction() as connection:
        study = find_study(connection, original.StudyInstanceUID)
    database.dispose()
    assert study is not None
    assert (answered, study.conflict) == (0x0000, True)


def test_a_mended_header_reopens_a_finished_study_as_a_new_revision(
    database: Database, archive: Archive
) -> None:
    original = image()
    status(Message.of(original), database, archive)
    finish_all(database)

    status(mended(original, StudyDescription="mended"), database, archive)

    with database.transaction() as connection:
        study = find_study(connection, original.StudyInstanceUID)
    assert study is not None
    assert (study.state, study.revision) == ("receiving", 2)


OURS: dict[str, object] = {"Manufacturer": MANUFACTURER, "SOPInstanceUID": "2.25.77", "SOPClassUID": SR_CLASS}


@pytest.mark.parametrize(
    "mark",
    [
        OURS,
        OURS | {"Manufacturer": "PACS", "SeriesDescription": next(iter(SERIES_DESCRIPTIONS.values()))},
        OURS | {"PatientID": "4712"},
    ],
    ids=["report", "copy that a PACS made", "report under a corrected patient"],
)
def test_a_report_of_ours_that_comes_back_is_kept_and_changes_nothing_about_its_study(
    database: Database, archive: Archive, mark: dict[str, object]
) -> None:
    original = image()
    status(Message.of(original), database, archive)
    finish_all(database)
    with database.transaction() as connection:
        before = find_study(connection, original.StudyInstanceUID)

    answered = status(mended(original, **mark), database, archive, now=NOW.replace(hour=13))

    with database.transaction() as connection:
        after = find_study(connection, original.StudyInstanceUID)
    assert answered == 0x0000
    assert before == after
    assert count(database, "instances") == 2
    assert count(database, "history", "event = 'instance.own'") == 1


def test_an_image_that_names_us_as_its_maker_reopens_its_study_as_any_image_does(
    database: Database, archive: Archive
) -> None:
    original = image()
    status(Message.of(original), database, archive)
    finish_all(database)

    status(mended(original, Manufacturer=MANUFACTURER, SOPInstanceUID="2.25.80"), database, archive)

    with database.transaction() as connection:
        study = find_study(connection, original.StudyInstanceUID)
    assert study is not None
    assert (study.state, study.revision) == ("receiving", 2)


def test_a_report_of_ours_under_the_uid_of_an_image_is_a_conflict(
    database: Database, archive: Archive
) -> None:
    original = image()
    status(Message.of(original), database, archive)
    other = {**OURS, "SOPInstanceUID": original.SOPInstanceUID, "PixelData": bytes(len(original.PixelData))}

    status(mended(original, **other), database, archive)

    with database.transaction() as connection:
        study = find_study(connection, original.StudyInstanceUID)
    assert study is not None
    assert study.conflict


def test_other_pixels_under_one_uid_are_kept_and_are_a_conflict(database: Database, archive: Archive) -> None:
    original = image()
    status(Message.of(original), database, archive)

    answered = status(other_pixels(original), database, archive)

    with database.transaction() as connection:
        study = find_study(connection, original.StudyInstanceUID)
        both = find_instances(connection, original.SOPInstanceUID)
    assert answered == 0x0000
    assert study is not None
    assert study.conflict
    assert [one.in_use for one in both] == [True, False]
    assert all(archive.exists(one.file) for one in both)


def test_one_uid_in_two_series_is_a_conflict_though_the_pixels_are_the_same(
    database: Database, archive: Archive
) -> None:
    original = image()
    status(Message.of(original), database, archive)

    status(mended(original, SeriesInstanceUID="1.2.3.4"), database, archive)

    with database.transaction() as connection:
        study = find_study(connection, original.StudyInstanceUID)
    assert study is not None
    assert study.conflict


def test_one_uid_in_two_studies_is_a_conflict_and_takes_nothing_from_the_first(
    database: Database, archive: Archive
) -> None:
    original = image()
    status(Message.of(original), database, archive)

    answered = status(mended(original, StudyInstanceUID="1.2.3.4"), database, archive)

    with database.transaction() as connection:
        first = find_study(connection, original.StudyInstanceUID)
        second = find_study(connection, "1.2.3.4")
        both = find_instances(connection, original.SOPInstanceUID)
    assert answered == 0x0000
    assert first is not None
    assert second is not None
    assert (first.conflict, second.conflict) == (False, True)
    assert [(one.study_id, one.in_use) for one in both] == [(first.id, True), (second.id, False)]


def compressed(dataset: Dataset, **tags: object) -> Message:
    """The same image as a PACS sends it that keeps RLE."""
    changed = deepcopy(dataset)
    changed.compress(RLELossless, generate_instance_uid=False)
    for keyword, value in tags.items():
        setattr(changed, keyword, value)
    return replace(Message.of(changed), transfer_syntax_uid=RLELossless)


def implicit(dataset: Dataset) -> Message:
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, True
    write_dataset(buffer, dataset)
    plain = Message.of(dataset)
    return replace(plain, dataset=buffer.getvalue(), transfer_syntax_uid=ImplicitVRLittleEndian)


@pytest.mark.parametrize("encoded_anew", [compressed, implicit])
def test_the_same_image_in_another_transfer_syntax_is_kept_and_changes_nothing(
    database: Database, archive: Archive, encoded_anew: Callable[[Dataset], Message]
) -> None:
    original = image()
    status(Message.of(original), database, archive)
    finish_all(database)

    answers = [status(encoded_anew(original), database, archive) for _ in range(2)]

    with database.transaction() as connection:
        study = find_study(connection, original.StudyInstanceUID)
        both = find_instances(connection, original.SOPInstanceUID)
    assert answers == [0x0000, 0x0000]
    assert study is not None
    assert (study.state, study.revision, study.conflict) == ("finished", 1, False)
    assert [one.in_use for one in both] == [True, False]
    assert all(archive.exists(one.file) for one in both)
    assert count(database, "history", "event = 'instance.other_syntax'") == 1


@pytest.mark.parametrize(
    "tags",
    [
        {"Rows": 8},
        {"BitsStored": 11},
        {"ImagePositionPatient": [1.0, 2.0, 3.0]},
        {"RescaleIntercept": -1000},
        {"PatientID": "P-4712"},
    ],
    ids=lambda tags: next(iter(tags)),
)
def test_another_transfer_syntax_hides_no_other_image_and_no_other_patient(
    sqlite_url: str, archive: Archive, tags: dict[str, object]
) -> None:
    database = Database(sqlite_url)
    original = image()
    status(Message.of(original), database, archive)

    status(compressed(original, **tags), database, archive)

    with database.transaction() as connection:
        study = find_study(connection, original.StudyInstanceUID)
    database.dispose()
    assert study is not None
    assert study.conflict


def test_other_pixels_in_implicit_vr_are_a_conflict(sqlite_url: str, archive: Archive) -> None:
    database = Database(sqlite_url)
    original = image()
    status(Message.of(original), database, archive)
    changed = deepcopy(original)
    changed.PixelData = bytes(len(original.PixelData))

    status(implicit(changed), database, archive)

    assert count(database, "studies", "conflict") == 1
    database.dispose()


def test_two_patients_in_one_study_are_a_conflict(database: Database, archive: Archive) -> None:
    first, second = ct_series(slices=2, rows=16, columns=16)
    status(mended(first, PatientID="P-1"), database, archive)

    status(mended(second, PatientID="P-2"), database, archive)

    with database.transaction() as connection:
        study = find_study(connection, first.StudyInstanceUID)
    assert study is not None
    assert study.conflict


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("content", "reason"),
    [(GARBAGE, "NO_IDENTITY"), (CUT_SEQUENCE, "NOT_DICOM")],
    ids=["garbage", "cut sequence"],
)
def test_what_is_no_dicom_goes_to_quarantine_once(
    database: Database, archive: Archive, content: bytes, reason: str
) -> None:
    message = Message(sop_class_uid="1.2.840.10008.5.1.4.1.1.2", sop_instance_uid="1.2.3", dataset=content)

    answers = [accept(message.received(), database=database, archive=archive, now=NOW) for _ in range(2)]

    with database.transaction() as connection:
        (kept,) = list_quarantined(connection)
    assert [answer.status & 0xF000 for answer in answers] == [0xC000, 0xC000]
    assert 0 < len(answers[0].comment) <= 64
    assert archive.quarantine_path(kept.file).read_bytes().endswith(content)
    assert kept.reason == reason
    assert count(database, "studies") == 0


def test_a_data_set_that_says_of_itself_that_it_is_deflated_is_not_inflated(
    sqlite_url: str, archive: Archive
) -> None:
    """It begins as a file meta does, behind ours; nobody agreed on a deflated syntax."""
    database, message = Database(sqlite_url), Message.of(image())
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = deflater.compress(message.dataset) + deflater.flush()
    meta = b"\x02\x00\x10\x00UI" + len(DEFLATED).to_bytes(2, "little") + DEFLATED.encode()

    answered = status(replace(message, dataset=meta + packed), database, archive)

    with database.transaction() as connection:
        (kept,) = list_quarantined(connection)
    database.dispose()
    assert answered & 0xF000 == 0xC000
    assert kept.reason == "NOT_DICOM"


@pytest.mark.parametrize(
    "keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"]
)
@pytest.mark.parametrize("value", [None, "1." + "2" * 70, "patient 4711"])
@pytest.mark.filterwarnings("ignore")
def test_an_instance_without_identity_goes_to_quarantine(
    sqlite_url: str, archive: Archive, keyword: str, value: str | None
) -> None:
    database = Database(sqlite_url)
    broken = image()
    message = Message.of(broken)
    if value is None:
        delattr(broken, keyword)
    else:
        setattr(broken, keyword, value)

    answered = accept(
        Message(
            sop_class_uid=message.sop_class_uid,
            sop_instance_uid=message.sop_instance_uid,
            dataset=encoded(broken),
        ).received(),
        database=database,
        archive=archive,
        now=NOW,
    )

    with database.transaction() as connection:
        (kept,) = list_quarantined(connection)
    database.dispose()
    assert answered.status == 0xC000
    assert kept.reason == "NO_IDENTITY"
    assert "4711" not in answered.comment + kept.file


@pytest.mark.parametrize(
    ("sop_class_uid", "sop_instance_uid"),
    [("1.2.840.10008.5.1.4.1.1.4", None), (None, "1.2.826.0.1.3680043.8.498.1")],
)
def test_a_data_set_that_is_not_what_the_command_says_is_refused(
    sqlite_url: str, archive: Archive, sop_class_uid: str | None, sop_instance_uid: str | None
) -> None:
    database = Database(sqlite_url)
    right = Message.of(image())
    wrong = Message(
        sop_class_uid=sop_class_uid or right.sop_class_uid,
        sop_instance_uid=sop_instance_uid or right.sop_instance_uid,
        dataset=right.dataset,
    )

    answered = status(wrong, database, archive)

    assert answered == 0xA900
    assert count(database, "instances") == 0
    assert images_in(archive) == []
    database.dispose()


def test_below_the_disk_reserve_nothing_is_taken(database: Database, tmp_path: Path) -> None:
    full = Archive(tmp_path / "storage", reserve_mb=1 << 40)

    answered = status(Message.of(image()), database, full)

    assert answered == 0xA700
    assert count(database, "instances") == 0
    assert images_in(full) == []


@pytest.mark.peer
def test_while_the_database_is_away_the_sender_may_try_again(
    postgres: PostgresServer, tmp_path: Path, archive: Archive
) -> None:
    url = postgres.create("stopped", template="migrated")
    database = Database(url)
    message = Message.of(image())
    status(Message.of(ct_series(seed=9, slices=1)[0]), database, archive)  # a connection is in the pool
    postgres.stop()
    try:
        away = status(message, database, archive)
    finally:
        postgres.start()

    back = status(message, database, archive)

    assert (away, back) == (0xA700, 0x0000)
    assert count(database, "instances") == 2
    database.dispose()


def test_receivers_that_store_the_same_instance_at_once_all_succeed(
    database: Database, archive: Archive
) -> None:
    message = Message.of(image())

    answers = _at_once([message] * 6, database, archive)

    assert answers == [0x0000] * 6
    assert count(database, "instances") == count(database, "studies") == 1


def test_of_contents_that_race_under_one_uid_exactly_one_is_in_use(
    database: Database, archive: Archive
) -> None:
    original = image()
    contents = [mended(original, PixelData=bytes([number]) * len(original.PixelData)) for number in range(6)]

    answers = _at_once(contents, database, archive)

    assert answers == [0x0000] * 6
    assert count(database, "instances") == 6
    assert count(database, "instances", "in_use") == 1


def test_slices_of_a_finished_study_that_come_at_once_open_one_revision(
    database: Database, archive: Archive
) -> None:
    first, *late = ct_series(slices=7, rows=16, columns=16)
    status(Message.of(first), database, archive)
    finish_all(database)

    _at_once([Message.of(dataset) for dataset in late], database, archive)

    with database.transaction() as connection:
        study = find_study(connection, first.StudyInstanceUID)
    assert study is not None
    assert study.revision == 2
    assert count(database, "history", "event = 'study.reopened'") == 1


def _at_once(messages: list[Message], database: Database, archive: Archive) -> list[int]:
    barrier = threading.Barrier(len(messages))
    answers: list[int] = []

    def _one(message: Message) -> None:
        barrier.wait()
        answers.append(status(message, database, archive))

    threads = [threading.Thread(target=_one, args=(message,)) for message in messages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def forgotten_study(database: Database, archive: Archive) -> list[Message]:
    """Three images of a finished study that retention took; as messages that bring them back."""
    messages = [Message.of(one) for one in ct_series(slices=3, rows=16, columns=16)]
    for message in messages:
        status(message, database, archive)
    with database.engine.begin() as connection:
        connection.exec_driver_sql(
            "update studies set state = 'finished', outcome = 'negative', finished_at = last_instance_at"
        )
    assert forget(database, archive, days=40) == 1
    assert images_in(archive) == []
    return messages


def forget(database: Database, archive: Archive, *, days: float) -> int:
    return forget_old_images(
        database, archive, Storage(reserve_mb=0, keep_days=30), now=NOW + timedelta(days=days)
    )


def test_a_forgotten_study_of_which_one_image_comes_again_stays_forgotten_and_is_forgotten_again(
    database: Database, archive: Archive
) -> None:
    message = forgotten_study(database, archive)[1]

    answered = status(message, database, archive, now=NOW + timedelta(days=50))

    assert answered == 0x0000
    assert len(images_in(archive)) == 1
    assert count(database, "studies", "forgotten_at is not null") == 1
    assert count_lost(database, archive) == 0
    assert [forget(database, archive, days=days) for days in (60, 81, 200)] == [0, 1, 0]
    assert images_in(archive) == []


def test_a_forgotten_study_of_which_all_images_came_again_can_be_read_again(
    database: Database, archive: Archive
) -> None:
    messages = forgotten_study(database, archive)

    for message in messages:
        status(message, database, archive, now=NOW + timedelta(days=50))

    assert len(images_in(archive)) == 3
    assert count(database, "studies", "forgotten_at is null and state = 'finished'") == 1


def test_a_late_slice_of_a_forgotten_study_reopens_it_but_brings_nothing_else_back(
    database: Database, archive: Archive
) -> None:
    forgotten_study(database, archive)
    late = ct_series(slices=4, rows=16, columns=16)[3]

    status(Message.of(late), database, archive, now=NOW + timedelta(days=50))

    assert count(database, "studies", "revision = 2 and forgotten_at is not null") == 1
    assert count_lost(database, archive) == 0


def test_an_image_that_comes_back_while_the_clock_runs_behind_is_found_by_retention(
    sqlite_url: str, archive: Archive
) -> None:
    database = Database(sqlite_url)
    message = forgotten_study(database, archive)[0]

    status(message, database, archive, now=NOW + timedelta(days=39))

    assert forget(database, archive, days=200) == 1
    assert images_in(archive) == []
    database.dispose()


@pytest.mark.filterwarnings("ignore")
def test_the_same_garbage_to_two_receivers_at_once_is_listed_once_and_refused_by_both(
    database: Database, archive: Archive
) -> None:
    message = Message(sop_class_uid="1.2.840.10008.5.1.4.1.1.2", sop_instance_uid="1.2.3", dataset=GARBAGE)

    answers = [code for _ in range(3) for code in _at_once([message] * 6, database, archive)]

    assert [code & 0xF000 for code in answers] == [0xC000] * 18
    assert count(database, "quarantine") == 1


def test_a_header_longer_than_the_columns_is_stored(database: Database, archive: Archive) -> None:
    message = mended(image(), AccessionNumber="A" * 16)
    long = Message(
        sop_class_uid=message.sop_class_uid,
        sop_instance_uid=message.sop_instance_uid,
        dataset=message.dataset.replace(b"LO\x06\x00P-4711", b"LO\x90\x01" + b"P" * 0x190),
    )
    assert long.dataset != message.dataset

    answered = status(long, database, archive)

    assert answered == 0x0000


@pytest.mark.filterwarnings("ignore")
def test_nothing_of_a_patient_is_logged(
    sqlite_url: str, archive: Archive, capfd: pytest.CaptureFixture[str]
) -> None:
    database = Database(sqlite_url)
    original = image()
    no_identity = image()
    del no_identity.StudyInstanceUID
    messages = [
        Message.of(original),
        other_pixels(original),
        mended(original, PatientID="P-4711-B"),
        Message(sop_class_uid="1.2", sop_instance_uid="1.2", dataset=encoded(original)),
        Message(sop_class_uid="1.2", sop_instance_uid="1.2", dataset=encoded(no_identity)),
        Message(sop_class_uid="1.2", sop_instance_uid="1.2", dataset=encoded(original)[:-900]),
    ]

    for message in messages:
        status(message, database, archive)

    written = "".join(capfd.readouterr())
    database.dispose()
    assert "4711" not in written
    assert "Doe" not in written
