"""A disk that is filled all the time: reception never has to refuse, and nothing goes before it may."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from builders import ct_series
from reception import Message, accept, count

from ich_node.intake.forget import forget_old_images, make_room
from ich_node.settings.sections import Storage
from ich_node.store.database import Database
from ich_node.store.deliveries import add_deliveries
from ich_node.store.files import Archive
from ich_node.store.incoming import Space
from ich_node.store.quarantine import list_quarantined
from ich_node.store.readings import Report, add_report
from ich_node.store.studies import find_study

NOW = datetime(2026, 11, 2, tzinfo=UTC)
DISK_GB, DAY_GB, DAYS = 50, 20, 30
OBJECT_MB, OBJECTS = 250, 2  # a study of two enhanced multi-frame images
RUBBISH_A_DAY = 4
AWAY = range(9, 10)  # the days on which the PACS takes nothing
STORAGE = Storage(reserve_mb=2048, keep_days=30)


class CountedSpace(Space):
    """A disk of 50 GB on which every file counts as one object."""

    def __init__(self, folder):
        super().__init__(folder, STORAGE.reserve_mb * 1_000_000)
        self._top = folder
        self.least_free_mb = DISK_GB * 1000

    def require(self, size):
        super().require(OBJECT_MB * 1_000_000)

    def free_bytes(self):
        files = sum(path.is_file() for path in self._top.glob("*/*/*"))
        free_mb = DISK_GB * 1000 - files * OBJECT_MB
        self.least_free_mb = min(self.least_free_mb, free_mb)
        return free_mb * 1_000_000


class Hospital:
    """Sends, reads and delivers by an injected clock; counts what was refused."""

    def __init__(self, folder, database, seed):
        self.space = CountedSpace(folder)
        self.archive = Archive(folder, reserve_mb=STORAGE.reserve_mb, space=self.space)
        self.database, self._draw = database, random.Random(seed)
        self.refused, self._number = [], 0
        self._made_room_at = NOW

    def live(self, day):
        """A day: studies come at any hour, most of them by day; one in four is none of ours."""
        studies = DAY_GB * 1000 // (OBJECT_MB * OBJECTS)
        hours = sorted(min(23.9, max(0.0, self._draw.gauss(12, 4))) for _ in range(studies))
        rubbish = set(self._draw.sample(range(studies), RUBBISH_A_DAY))
        for place, hour in enumerate(hours):
            now = NOW + timedelta(days=day, hours=hour)
            if place in rubbish:
                self._send(
                    Message(sop_class_uid="1.2", sop_instance_uid="1.3", dataset=b"x%d" % place), now, False
                )
            self._study(now, delivered=day not in AWAY)
        if day - 1 in AWAY:
            self._update("deliveries set state = 'sent'")
        forget_old_images(self.database, self.archive, STORAGE, now=NOW + timedelta(days=day + 1))

    def _study(self, now, *, delivered):
        self._number += 1
        outcome = self._draw.choice(("negative", "negative", "positive", "ignored"))
        images = ct_series(slices=OBJECTS, rows=4, columns=4, seed=self._number)
        for image in images:
            self._send(Message.of(image), now)
        self._update(
            f"studies set state = 'finished', outcome = '{outcome}', finished_at = last_instance_at "
            "where state = 'receiving'"
        )
        if not delivered and outcome != "ignored":
            self._leave_undelivered(images[0].StudyInstanceUID, now)

    def _send(self, message, now, stored=True):
        if now - self._made_room_at >= timedelta(seconds=15):  # as the scheduler does
            make_room(self.database, self.archive, STORAGE, now=now)
            self._made_room_at = now
        answer = accept(message.received(), database=self.database, archive=self.archive, now=now)
        if answer.status == 0xA700 or (stored and answer.status != 0):
            self.refused.append(now)

    def _leave_undelivered(self, study_uid, now):
        with self.database.transaction() as connection:
            report = Report(
                kind="SR",
                study_id=find_study(connection, study_uid).id,
                revision=1,
                sop_class_uid="1.2",
                sop_instance_uid=f"{study_uid}.1",
                series_uid="1.2",
                content=b"report",
                created_at=now,
            )
            add_deliveries(connection, add_report(connection, report), ["pacs"], now=now)

    def _update(self, what):
        with self.database.engine.begin() as connection:
            connection.exec_driver_sql(f"update {what}")


@pytest.mark.timeout(600)
def test_a_month_of_20_gb_a_day_on_a_disk_of_50_gb_never_ends_in_a_refusal(tmp_path, sqlite_url, seed):
    database = Database(sqlite_url)
    hospital = Hospital(tmp_path, database, seed)
    for day in range(DAYS):
        hospital.live(day)

        pending = count(database, "deliveries", "state = 'pending'")
        gone_undelivered = count(
            database,
            "studies s join reports r on r.study_id = s.id join deliveries d on d.report_id = r.id",
            "d.state = 'pending' and s.forgotten_at is not null",
        )
        assert gone_undelivered == 0
        assert (pending > 0) is (day in AWAY)

    received = count(database, "instances")
    assert hospital.refused == []
    assert received == DAYS * DAY_GB * 1000 // OBJECT_MB
    assert STORAGE.reserve_mb < hospital.space.least_free_mb < 2 * STORAGE.reserve_mb
    assert count(database, "studies", "forgotten_at is null") > 60  # no more went than had to


def test_what_is_in_quarantine_goes_after_its_days_and_stays_listed(tmp_path, sqlite_url):
    database, archive = Database(sqlite_url), Archive(tmp_path, reserve_mb=0)
    message = Message(sop_class_uid="1.2", sop_instance_uid="1.3", dataset=b"no DICOM")
    accept(message.received(), database=database, archive=archive, now=NOW)
    storage = Storage(reserve_mb=0, keep_days=30)

    def listed():
        with database.transaction() as connection:
            (row,) = list_quarantined(connection)
        return row, archive.quarantine_path(row.file).exists()

    forget_old_images(database, archive, storage, now=NOW + timedelta(days=29))
    before = listed()
    forget_old_images(database, archive, storage, now=NOW + timedelta(days=31))
    after = listed()
    accept(message.received(), database=database, archive=archive, now=NOW + timedelta(days=32))

    assert (before[0].gone_at, before[1]) == (None, True)
    assert (after[0].gone_at, after[1]) == (NOW + timedelta(days=31), False)
    assert listed() == before
