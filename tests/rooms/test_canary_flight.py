"""A canary walks the whole path and is nobody's: counted nowhere, delivered nowhere, gone the day after."""

import threading
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from bench import Room, scan
from builders import ct_series
from reception import Message, count, receiving

from ich_node.canary import KEPT, NOT_SENT, CanaryWatch, remove_old_canaries, sending_child
from ich_node.core.states import StudyState
from ich_node.demo import canary as demo_canary
from ich_node.demo.canary import send_canary
from ich_node.demo.node import write_settings
from ich_node.errors import DeliveryFailed
from ich_node.intake.close import close_complete_studies
from ich_node.settings.tree import load
from ich_node.store import standing
from ich_node.store.canaries import last_success_at, newest_canary
from ich_node.store.database import Database
from ich_node.store.studies import find_study, list_studies
from ich_node.store.tallies import carry_forward, count_instances
from ich_node.worker import work_once
from model.manifest import Thresholds

ALWAYS_POSITIVE = Thresholds(low=0.0, high=0.0)
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
PACS = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 104}


_drawn = cache(demo_canary.head_phantom)  # always the same head; drawing one takes seconds


@pytest.fixture(autouse=True)
def _draw_once(monkeypatch):
    monkeypatch.setattr(demo_canary, "head_phantom", _drawn)


def _room(tmp_path, database, port, **sections):
    own = {"receiver": {"port": port}, "senders": [], **sections}
    room = Room(tmp_path, database, ALWAYS_POSITIVE, **own)
    return room.register()


def _watch(room, send=None):
    """Send from this process, as the child of the scheduler does."""

    def taken(study_uid):
        try:
            send_canary(room.settings, study_uid, now=datetime.now(UTC))
        except DeliveryFailed:
            return False
        return True

    return CanaryWatch(room.database, room.settings, send or taken, running_since=LONG_AGO)


def _last(database, **asked):
    with database.reading() as connection:
        return newest_canary(connection, **asked)


def _study(database, uid):
    with database.reading() as connection:
        return find_study(connection, uid)


def test_a_canary_gets_through_and_is_counted_nowhere(tmp_path, database, free_port):
    room = _room(tmp_path, database, free_port, destinations=[PACS])
    watch = _watch(room)

    with receiving(room.settings):
        watch.look(now=datetime.now(UTC))
    close_complete_studies(database, now=datetime.now(UTC), quiet_s=0, deadline_s=3600)
    uid = _last(database).study_uid
    study, readings, reports, deliveries = room.work(uid)
    watch.look(now=datetime.now(UTC))

    assert study.canary
    assert study.outcome == "positive"
    assert len(readings) == 1
    assert {report.kind for report in reports} == {"SR", "SC"}
    assert deliveries == []
    assert (_last(database, ended=True).study_uid, _last(database).outcome) == (uid, "positive")
    with database.reading() as connection:
        assert last_success_at(connection) is not None
        assert list_studies(connection) == []
        assert standing.ended_studies(connection) == []
        assert set(standing.count_by_state(connection).values()) == {0}
        assert standing.balance(connection).received == 0
        assert standing.last_instance_at(connection) is None
        assert count_instances(connection).count == 0


def test_it_is_delivered_where_that_is_asked_for(tmp_path, sqlite_url, free_port):
    database = Database(sqlite_url)
    testing = {"name": "testing", "ae_title": "TEST", "host": "127.0.0.1", "port": 105, "canary": True}
    room = _room(tmp_path, database, free_port, destinations=[PACS, testing])

    with receiving(room.settings):
        _watch(room).look(now=datetime.now(UTC))
    close_complete_studies(database, now=datetime.now(UTC), quiet_s=0, deadline_s=3600)
    *_, deliveries = room.work(_last(database).study_uid)

    assert {delivery.destination for delivery in deliveries} == {"testing"}
    database.dispose()


def test_it_waits_for_all_patients_and_leaves_nothing_after_a_day(tmp_path, database, free_port):
    room = _room(tmp_path, database, free_port)
    with receiving(room.settings):
        _watch(room).look(now=datetime.now(UTC))
    close_complete_studies(database, now=datetime.now(UTC), quiet_s=0, deadline_s=3600)
    uid = _last(database).study_uid
    room.receive(scan())  # came later

    patient, *_ = room.work()
    assert patient.state is StudyState.FINISHED
    assert _study(database, uid).state is StudyState.READY
    assert work_once(room.bench)
    now = datetime.now(UTC)
    with database.transaction() as connection:
        carry_forward(connection, now=now + timedelta(hours=1))
        counted = count_instances(connection).count

    too_early = remove_old_canaries(database, room.bench.archive, now=now + KEPT / 2)
    in_time = remove_old_canaries(database, room.bench.archive, now=now + KEPT + timedelta(hours=1))

    assert (too_early, in_time) == (0, 1)
    assert _study(database, uid) is None
    assert count(database, "studies") == 1
    assert count(database, "instances") == 14 == counted
    files = list((tmp_path / "storage" / "images").rglob("*.dcm"))
    assert len(files) == 14
    assert room.look()[0].outcome == "positive"


def test_a_child_of_the_scheduler_sends_it_and_ends_with_the_scheduler(tmp_path, sqlite_url, free_port):
    values = {
        "storage.folder": str(tmp_path / "storage"),
        "storage.reserve_mb": 0,
        "database.url": sqlite_url,
        "receiver.port": free_port,
    }
    file, stop, now = tmp_path / "settings.toml", threading.Event(), datetime.now(UTC)
    write_settings(file, values)
    settings, database = load(file), Database(sqlite_url)
    watch = CanaryWatch(database, settings, sending_child(file, stop), running_since=LONG_AGO)

    with receiving(settings):
        watch.look(now=now)
    sent = _last(database)
    stop.set()
    watch.look(now=now + timedelta(hours=1))
    after = _last(database)

    assert sent.ended_at is None
    assert _study(database, sent.study_uid).canary
    assert after.study_uid == sent.study_uid  # one that was not sent as the node ended says nothing
    database.dispose()


def test_one_that_is_not_taken_is_alarmed_about(tmp_path, database, free_port):
    room = _room(tmp_path, database, free_port)

    _watch(room).look(now=datetime.now(UTC))  # nobody receives

    assert _last(database).trouble == NOT_SENT


def test_one_without_an_outcome_in_time_is_alarmed_about_once(tmp_path, database, free_port, capsys):
    room = _room(tmp_path, database, free_port, canary={"within_s": 60, "every_s": 3600})
    watch, now = _watch(room, send=lambda _uid: True), datetime.now(UTC)
    watch.look(now=now)

    for seconds in (59, 61, 62):
        watch.look(now=now + timedelta(seconds=seconds))

    assert _last(database).trouble == "no outcome in time"
    assert capsys.readouterr().out.count("canary.failed") == 1


def test_a_scheduler_that_starts_anew_sends_none_before_its_time(tmp_path, database, free_port):
    room, now = _room(tmp_path, database, free_port), datetime.now(UTC)
    _watch(room, send=lambda _uid: True).look(now=now)

    _watch(room, send=lambda _uid: True).look(now=now + timedelta(minutes=59))
    assert count(database, "canaries") == 1
    _watch(room, send=lambda _uid: True).look(now=now + timedelta(minutes=60))
    assert count(database, "canaries") == 2


@pytest.mark.parametrize(
    ("canary", "host", "admitted"),
    [
        ({"every_s": 0}, "0.0.0.0", []),
        ({}, "0.0.0.0", ["127.0.0.1", "::1"]),
        ({}, "10.0.0.7", ["10.0.0.7"]),
        ({}, "node.hospital", []),
    ],
)
def test_our_own_title_is_let_in_from_this_machine_alone_and_only_for_canaries(
    tmp_path, database, canary, host, admitted
):
    room = Room(tmp_path, database, receiver={"host": host}, canary=canary, senders=[])

    assert [one.address for one in room.settings.admitted] == admitted
    assert {one.ae_title for one in room.settings.admitted} <= {"ICHNODE"}


def test_a_canary_whose_row_an_older_database_does_not_have_is_still_no_patient(
    tmp_path, database, free_port
):
    room = _room(tmp_path, database, free_port)
    (image,) = ct_series(
        study_uid="1.2.3.77",
        slices=1,
        PatientID=demo_canary.PATIENT.patient_id,
        StudyDescription=demo_canary.STUDY_DESCRIPTION,
    )

    room.receive_messages([Message.of(image)])

    assert _study(database, "1.2.3.77").canary
