"""What the rooms and the commands write into the audit trail, each message as the Standard wants it."""

import re
import sqlite3
import subprocess
import sys
from datetime import timedelta

import pytest
from audit_schema import parsed
from builders import ct_series
from outbox import NOW, peer, put_into_outbox, report, sending
from prometheus_client import CollectorRegistry, generate_latest
from reception import (
    EXPLICIT,
    NODE,
    SCANNER,
    Message,
    archive_of,
    associate,
    eventually,
    receiving,
    send_messages,
    settings_for,
)

from ich_node.core.states import StudyState
from ich_node.delivery.send import deliver_due
from ich_node.demo.node import write_settings
from ich_node.dicom.audit import Kind
from ich_node.intake import trail
from ich_node.intake.forget import forget_old_images
from ich_node.intake.trail import (
    Alerts,
    record_arrivals,
    record_refusal,
    record_what_gone_receivers_took,
)
from ich_node.store import quarantine
from ich_node.store.associations import close_association, close_associations_of, open_association
from ich_node.store.audit import lines
from ich_node.store.canaries import begin_canary
from ich_node.store.database import Database
from ich_node.store.pulse import Pulse
from ich_node.web.metrics import NodeMetrics

CT = "1.2.840.10008.5.1.4.1.1.2"


def _messages(database, kind=None):
    """The trail, each message valid by the schema."""
    with database.reading() as connection:
        found = [(line.kind, parsed(line.message)) for line in lines(connection)]
    return [root for of, root in found if kind in (None, of)]


def _ids(root):
    return [one.get("ParticipantObjectID") for one in root.iter("ParticipantObjectIdentification")]


def _users(root):
    return [one.get("UserID") for one in root.iter("ActiveParticipant")]


def _outcome(root):
    return root.find("EventIdentification").get("EventOutcomeIndicator")


def test_a_study_that_came_is_one_message_for_each_association_not_for_each_image(
    database: Database, tmp_path, free_port
) -> None:
    settings = settings_for(tmp_path, database.url, free_port)
    first, second = (ct_series(seed=seed, slices=4) for seed in (1, 2))
    both = [Message.of(image) for image in (*first, *second)]

    with receiving(settings):
        send_messages(free_port, both[:6], tmp_path)
        send_messages(free_port, both[6:], tmp_path)
        eventually(lambda: len(_messages(database, Kind.TRANSFERRED)) == 3)

    told = _messages(database, Kind.TRANSFERRED)
    assert [root.find(".//SOPClass").get("NumberOfInstances") for root in told] == ["4", "2", "2"]
    assert _ids(told[0]) == [first[0].StudyInstanceUID, first[0].PatientID]
    assert _ids(told[1]) == _ids(told[2]) == [second[0].StudyInstanceUID, second[0].PatientID]
    assert {tuple(_users(root)) for root in told} == {(SCANNER, NODE)}


def test_a_canary_is_nobody_of_whom_anybody_must_hear(sqlite_url, tmp_path, free_port):
    database = Database(sqlite_url)
    with database.transaction() as connection:
        begin_canary(connection, "1.2.77", now=NOW)
    images = ct_series(slices=2, study_uid="1.2.77") + ct_series(slices=2, study_uid="1.2.78")

    with receiving(settings_for(tmp_path, database.url, free_port)):
        send_messages(free_port, [Message.of(image) for image in images], tmp_path)
        eventually(lambda: _messages(database, Kind.TRANSFERRED))

    assert [_ids(root)[0] for root in _messages(database, Kind.TRANSFERRED)] == ["1.2.78"]
    database.dispose()


def _leave_open(database):
    """An association with a study of which nobody noted that it ended."""
    put_into_outbox(database)
    with database.transaction() as connection:
        facts = {"receiver": "here:104", "calling_ae_title": "CT", "address": "10.1.1.1"}
        number = open_association(connection, **facts, now=NOW)
        connection.exec_driver_sql(f"update instances set association_id = {number}")
    return number


def test_what_came_over_an_association_of_a_receiver_that_was_killed_is_told_by_the_next_one(
    database: Database,
) -> None:
    _leave_open(database)

    with database.transaction() as connection:
        for number in close_associations_of(connection, "here:104", now=NOW):
            record_arrivals(connection, number, ours=NODE, now=NOW)

    (root,) = _messages(database, Kind.TRANSFERRED)
    assert _users(root) == ["CT", NODE]
    assert _ids(root) == ["1.2.3", "P-4711"]


def test_what_a_receiver_took_that_never_came_back_is_told_once(database: Database) -> None:
    number = _leave_open(database)

    record_what_gone_receivers_took(database, ours=NODE, now=NOW + timedelta(minutes=59))
    told_too_early = _messages(database)
    for _ in range(2):
        record_what_gone_receivers_took(database, ours=NODE, now=NOW + timedelta(minutes=61))

    assert told_too_early == []
    assert len(_messages(database, Kind.TRANSFERRED)) == 1
    with database.transaction() as connection:
        assert not close_association(connection, number, now=NOW), (
            "the receiver that woke up has nothing to tell"
        )


def test_a_caller_who_is_refused_again_and_again_is_one_alert(sqlite_url, tmp_path, free_port):
    database = Database(sqlite_url)

    with receiving(settings_for(tmp_path, database.url, free_port)):
        for title in ("NOBODY", "NOBODY", "OTHER", "NOBODY"):
            associate(free_port, [(CT, [EXPLICIT])], calling=title)

    alerts = _messages(database, Kind.ALERT)
    assert [_users(root) for root in alerts] == [[NODE, "NOBODY"], [NODE, "OTHER"]]
    assert {_outcome(root) for root in alerts} == {"4"}
    database.dispose()


def _refuse(database, alerts, title, *, now=NOW):
    with database.transaction() as connection:
        facts = {"calling_ae_title": title, "called_ae_title": NODE, "address": "10.0.0.1"}
        record_refusal(connection, ours=NODE, alerts=alerts, now=now, **facts)


def test_a_new_caller_is_an_alert_however_many_were_refused_before(database: Database, monkeypatch) -> None:
    monkeypatch.setattr(quarantine, "MOST_REFUSED_CALLERS", 5)
    alerts = Alerts()

    for number in range(12):
        _refuse(database, alerts, f"NOBODY{number}")

    assert len(_messages(database, Kind.ALERT)) == 12


def test_alerts_about_callers_have_a_limit_that_ends_with_the_hour(sqlite_url, monkeypatch):
    database, alerts = Database(sqlite_url), Alerts()
    monkeypatch.setattr(trail, "MOST_ALERTS", 3)

    for number in range(8):
        _refuse(database, alerts, f"FLOOD{number}", now=NOW + timedelta(minutes=number))
    _refuse(database, alerts, "LATER", now=NOW + timedelta(minutes=60))
    _refuse(database, alerts, "STILL", now=NOW + timedelta(minutes=60))
    _refuse(database, alerts, "SETBACK", now=NOW - timedelta(days=1))

    told = _messages(database, Kind.ALERT)
    says_more = ["listed only" in root.findtext(".//EventOutcomeDescription") for root in told]
    assert [_users(root)[1] for root in told] == ["FLOOD0", "FLOOD1", "FLOOD2", "LATER", "SETBACK"]
    assert says_more == [False, False, True, True, False]
    with database.reading() as connection:
        assert len(quarantine.list_refused_callers(connection)) == 11
    database.dispose()


def test_images_that_are_erased_are_a_study_deleted(sqlite_url, tmp_path):
    database = Database(sqlite_url)
    study = put_into_outbox(database)
    with database.transaction() as connection:
        connection.exec_driver_sql(
            f"update studies set state = '{StudyState.FINISHED}', outcome = 'negative', "
            f"finished_at = '2026-01-01 00:00:00' where id = {study}"
        )
    settings = settings_for(tmp_path, database.url, 11112)

    forget_old_images(database, archive_of(settings), settings.storage, now=NOW)

    (root,) = _messages(database)
    assert root.find("EventIdentification/EventID").get("originalText") == "DICOM Study Deleted"
    assert _ids(root) == ["1.2.3", "P-4711"]
    database.dispose()


@pytest.mark.parametrize(("status", "outcome"), [(0x0000, "0"), (0xA900, "8")])
def test_a_report_that_went_out_or_never_will_is_a_message(sqlite_url, free_port, status, outcome):
    database = Database(sqlite_url)
    put_into_outbox(database, report())

    with peer(free_port, ["1.2.840.10008.5.1.4.1.1.88.33"], lambda _event: status):
        deliver_due(database, sending(free_port))

    (root,) = _messages(database, Kind.TRANSFERRED)
    assert _outcome(root) == outcome
    assert _users(root) == [NODE, "PACS"]
    assert _ids(root) == ["1.2.3", "P-4711"]
    database.dispose()


def test_a_process_says_when_it_starts_and_when_it_ends(database: Database) -> None:
    pulse = Pulse(database, "work")
    for _ in range(3):
        pulse.beat("waits")
    pulse.end()

    started, stopped = _messages(database)
    types = [
        root.find("EventIdentification/EventTypeCode").get("originalText") for root in (started, stopped)
    ]
    assert types == ["Application Start", "Application Stop"]
    assert _users(started)[0].startswith("ich-node work ")


@pytest.fixture
def node(tmp_path, migrated_sqlite):
    """A settings file and the database that it names."""
    storage = tmp_path / "storage"
    storage.mkdir()
    (storage / "ich-node.sqlite").write_bytes(migrated_sqlite.read_bytes())
    write_settings(tmp_path / "settings.toml", {"storage.folder": str(storage)})
    database = Database(f"sqlite:///{storage / 'ich-node.sqlite'}")
    yield database, tmp_path / "settings.toml"
    database.dispose()


def _command(settings, *words):
    command = [sys.executable, "-m", "ich_node", "--settings", str(settings), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_command_that_changes_something_is_told_with_who_gave_it_and_how_it_ended(node):
    database, settings = node
    put_into_outbox(database)
    with database.transaction() as connection:
        connection.exec_driver_sql("update studies set state = 'finished', outcome = 'negative'")

    done = [
        _command(settings, *words.split())
        for words in ("studies read-again 1", "bundles promote nobody", "studies show 1")
    ]

    assert [one.returncode for one in done] == [0, 2, 0], [one.stderr for one in done]
    again, promoted, shown = _messages(database)
    assert _ids(again) == ["1.2.3"]
    assert (_outcome(again), _outcome(promoted), _outcome(shown)) == ("0", "4", "0")
    assert promoted.find("EventIdentification/EventTypeCode").get("originalText") == "Software Configuration"
    assert shown.find("EventIdentification/EventID").get("originalText") == "DICOM Instances Accessed"
    assert all("@" in _users(root)[0] for root in (again, promoted, shown))


def test_audit_verify_says_the_first_line_that_was_touched(node):
    database, settings = node
    for room in ("work", "deliver"):
        pulse = Pulse(database, room)
        pulse.beat("waits")
        pulse.end()

    whole = _command(settings, "audit", "verify")
    listed = _command(settings, "audit", "list", "--since", "2026-01-01")
    with sqlite3.connect(database.url.removeprefix("sqlite:///")) as connection:
        connection.execute("drop trigger audit_events_no_update")
        connection.execute("update audit_events set message = replace(message, 'work', 'rest') where id = 2")
    broken = _command(settings, "audit", "verify")

    assert (whole.returncode, broken.returncode) == (0, 1)
    assert re.search(r"whole: 4 lines, .* [0-9a-f]{64}\.", whole.stdout)
    assert "line 2 was changed" in broken.stdout
    assert len(re.findall("<AuditMessage>", listed.stdout)) == 5, "who verified it stands there too"


def test_the_metrics_say_how_much_waits_to_be_sent_where_it_is_sent(sqlite_url, tmp_path):
    database = Database(sqlite_url)
    Pulse(database, "work").beat("waits")
    tls = dict.fromkeys(("certificate", "key", "authorities"), "x.pem")
    settings = settings_for(tmp_path, sqlite_url, 11112, tls=tls, audit={"host": "audit.example"})
    silent = settings_for(tmp_path, sqlite_url, 11112)

    told, not_told = (_metrics(database, one) for one in (settings, silent))

    assert "ich_node_audit_unsent 1.0\n" in told
    assert (
        float(re.search(r"\nich_node_audit_oldest_unsent_seconds (\S+)", told)[1])
        < timedelta(hours=1).seconds
    )
    assert "audit" not in not_told
    database.dispose()


def _metrics(database, settings):
    registry = CollectorRegistry(auto_describe=False)
    registry.register(NodeMetrics(database, settings))
    return generate_latest(registry).decode()
