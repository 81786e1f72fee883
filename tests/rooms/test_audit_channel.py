"""The audit trail at its receiver: all of it, in order, whatever happens to the connection."""

import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from audit_schema import parsed
from certificates import Authority, Identity
from reception import eventually
from structlog.testing import capture_logs
from syslog_receiver import rsyslog, syslog_receiver

from ich_node import audit_channel
from ich_node.audit_channel import AuditChannel
from ich_node.dicom.audit import Party, StudyFacts, transferred
from ich_node.settings.sections import Audit, Tls
from ich_node.store.audit import count_unsent, record
from ich_node.store.database import Database

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


@pytest.fixture
def hospital(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def keeper(hospital: Authority) -> Identity:
    return hospital.issue("audit.hospital.example", "127.0.0.1", as_="keeper")


@pytest.fixture
def opened(sqlite_url):
    database = Database(sqlite_url)
    yield database
    database.dispose()


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(audit_channel, "FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(audit_channel, "LONGEST_PAUSE_S", 0.0)
    monkeypatch.setattr(audit_channel, "TIMEOUT_S", 10.0)


def _channel(database, hospital, port, **settings):
    ours = hospital.issue("node.hospital.example", as_="node").settings()
    return AuditChannel(database, Audit(host="127.0.0.1", port=port, **settings), Tls(**ours))


def _write(database, count, *, now=NOW):
    with database.transaction() as connection:
        for number in range(count):
            study = StudyFacts(study_uid=f"1.2.{number}", patient_id=f"P-{number} 太郎")
            node = Party.entity("CT1", "10.1.1.1")
            record(connection, transferred(study, source=node, destination=node), now=now)


def _unsent(database):
    with database.reading() as connection:
        return count_unsent(connection)


@pytest.mark.parametrize("manners", ["good", "plain"])
def test_every_line_arrives_once_and_in_order(opened, hospital, keeper, monkeypatch, manners):
    monkeypatch.setattr(audit_channel, "AT_A_TIME", 20)
    _write(opened, 50)

    with syslog_receiver(keeper) as receiver:
        receiver.manners = manners
        channel = _channel(opened, hospital, receiver.port)
        channel.look(now=NOW)
        _write(opened, 1)
        channel.look(now=NOW)

    assert receiver.numbers == list(range(1, 52))
    assert receiver.calls == 4
    assert _unsent(opened) == 0
    message = receiver.messages[3]
    root = parsed(message.partition("\ufeff")[2])
    assert root.findall(".//ParticipantObjectIdentification")[1].get("ParticipantObjectID") == "P-3 太郎"


@pytest.mark.parametrize("manners", ["rude", "hasty", "silent"])
def test_what_the_receiver_did_not_confirm_is_sent_again_and_nothing_is_skipped(
    opened, hospital, keeper, manners, monkeypatch
):
    _write(opened, 30)
    if manners == "silent":
        monkeypatch.setattr(audit_channel, "TIMEOUT_S", 1.0)
    with syslog_receiver(keeper) as receiver:
        channel = _channel(opened, hospital, receiver.port)
        receiver.manners = manners

        with capture_logs() as logs:
            channel.look(now=NOW)
            unsent_then = _unsent(opened)
            receiver.forgive()
            channel.look(now=NOW)

    assert unsent_then == 30
    assert [entry["event"] for entry in logs] == ["audit.not_reached", "audit.back"]
    assert list(dict.fromkeys(receiver.numbers)) == list(range(1, 31))
    assert len(set(receiver.marks)) == 30, "by number and time a receiver knows what it has twice"
    assert _unsent(opened) == 0


def test_a_number_that_is_given_again_after_a_restore_is_another_line_by_its_time(
    opened, hospital, keeper, tmp_path
):
    _write(opened, 3)
    with syslog_receiver(keeper) as receiver:
        _channel(opened, hospital, receiver.port).look(now=NOW)
        older = tmp_path / "older.sqlite"
        with closing(sqlite3.connect(opened.url.removeprefix("sqlite:///"))) as connection:
            connection.execute(f"vacuum into '{older}'")
        _write(opened, 2, now=NOW + timedelta(minutes=1))
        _channel(opened, hospital, receiver.port).look(now=NOW)
        restored = Database(f"sqlite:///{older}")
        _write(restored, 2, now=NOW + timedelta(minutes=2))
        _channel(restored, hospital, receiver.port).look(now=NOW)
        restored.dispose()

    assert receiver.numbers == [1, 2, 3, 4, 5, 4, 5]
    assert len(set(receiver.marks)) == 7


def test_an_outage_of_the_receiver_loses_nothing_and_is_alarmed_about_once(opened, hospital, keeper):
    _write(opened, 10)
    with syslog_receiver(keeper) as receiver:
        channel = _channel(opened, hospital, receiver.port, alarm_after_s=60)
        channel.look(now=NOW)
        port, before = receiver.port, receiver.numbers
    _write(opened, 10)

    with capture_logs() as logs:
        for minutes in range(4):
            channel.look(now=NOW + timedelta(minutes=minutes))
    with syslog_receiver(keeper, port=port) as receiver:
        channel.look(now=NOW)

    assert [entry["event"] for entry in logs] == ["audit.not_reached", "audit.not_sent"]
    assert before + receiver.numbers == list(range(1, 21))


def test_after_a_failure_it_waits(opened, hospital, monkeypatch, free_port):
    monkeypatch.setattr(audit_channel, "FIRST_PAUSE_S", 1000.0)
    monkeypatch.setattr(audit_channel, "LONGEST_PAUSE_S", 1000.0)
    _write(opened, 1)
    channel = _channel(opened, hospital, free_port)

    with capture_logs() as logs:
        for _ in range(3):
            channel.look(now=NOW)

    assert len(logs) == 1


def test_nothing_is_sent_to_who_cannot_prove_who_it_is(opened, hospital, tmp_path):
    _write(opened, 1)
    other = Authority(tmp_path, "somebody").issue("127.0.0.1", as_="other")

    with syslog_receiver(other) as receiver, capture_logs() as logs:
        _channel(opened, hospital, receiver.port).look(now=NOW)

    assert receiver.messages == []
    assert _unsent(opened) == 1
    assert "not signed by an authority" in logs[0]["error"]


@pytest.mark.peer
def test_rsyslog_takes_the_trail_through_its_own_outage(opened, hospital, keeper, tmp_path, free_port):
    _write(opened, 40)
    channel = _channel(opened, hospital, free_port)

    with rsyslog(tmp_path / "first", keeper, free_port) as written:
        eventually(lambda: channel.look(now=NOW) or _unsent(opened) == 0, within_s=30)
        eventually(lambda: len(_numbers(written)) >= 40, within_s=30)
        before = _numbers(written)
        messages = written.read_text(encoding="utf-8").splitlines()
    _write(opened, 10)
    channel.look(now=NOW)
    unsent_then = _unsent(opened)
    with rsyslog(tmp_path / "second", keeper, free_port) as written:
        eventually(lambda: channel.look(now=NOW) or _unsent(opened) == 0, within_s=30)
        eventually(lambda: len(_numbers(written)) >= 10, within_s=30)
        after = _numbers(written)

    assert before == list(range(1, 41))
    assert unsent_then == 10
    assert after == list(range(41, 51))
    assert parsed("<AuditMessage" + messages[0].partition("<AuditMessage")[2]) is not None


def _numbers(written):
    if not written.exists():
        return []
    return [int(one) for one in re.findall(r'sequenceId="(\d+)"', written.read_text(encoding="utf-8"))]
