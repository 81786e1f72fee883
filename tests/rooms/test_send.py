"""Delivery to peers that others made, and to peers that behave badly; on both databases where rows matter."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from outbox import (
    NOW,
    SC,
    SR,
    deliveries,
    delivering,
    peer,
    put_into_outbox,
    report,
    sending,
    storescp,
)
from peers import Dcmtk, PostgresServer
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import _config
from queued import queue_deliveries
from reception import count, eventually, settings_for
from sqlalchemy import text

from ich_node.core.states import DeliveryState
from ich_node.delivery.confirm import confirm_due
from ich_node.delivery.send import deliver_due
from ich_node.delivery.serve import run
from ich_node.demo.pacs import stand_in_pacs
from ich_node.dicom.part10 import split
from ich_node.errors import UsageError
from ich_node.network import FIND
from ich_node.store.database import Database
from ich_node.store.deliveries import (
    SUPERSEDED,
    add_deliveries,
    claim_delivery,
    has_delivery_everywhere,
    mark_sent,
    postpone_delivery,
    send_again,
)
from ich_node.store.images import kept_studies
from ich_node.store.readings import Report, add_report

ENHANCED_SR = "1.2.840.10008.5.1.4.1.1.88.22"


@pytest.fixture(autouse=True)
def _peers_negotiate_as_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_config, "UNRESTRICTED_STORAGE_SERVICE", False)


def test_reports_reach_the_stand_in_byte_for_byte_over_one_association(
    database: Database, tmp_path: Path
) -> None:
    contents = [report(SR, 1), report(SC, 2)]
    study_id = put_into_outbox(database, *contents)

    with stand_in_pacs(tmp_path / "pacs") as pacs:
        taken = deliver_due(database, sending(pacs.port))
        again = deliver_due(database, sending(pacs.port))

    received = [bytes(split(path.read_bytes())[1]) for path in pacs.files()]
    assert (taken, again) == (2, 0)
    assert sorted(received) == sorted(bytes(split(content)[1]) for content in contents)
    assert {one.state for one in deliveries(database, study_id)} == {DeliveryState.SENT}
    assert count(database, "history", "event = 'report.sent'") == 2


@pytest.mark.peer
def test_dcmtk_receives_the_bytes_that_were_stored(
    sqlite_url: str, tmp_path: Path, free_port: int, dcmtk: Dcmtk
) -> None:
    database = Database(sqlite_url)
    content = report()
    put_into_outbox(database, content)

    with storescp(dcmtk, tmp_path / "pacs", free_port, "+B"):
        taken = deliver_due(database, sending(free_port))

    (kept,) = (tmp_path / "pacs").iterdir()
    database.dispose()
    assert taken == 1
    assert bytes(split(kept.read_bytes())[1]) == bytes(split(content)[1])


@pytest.mark.peer
def test_a_peer_that_knows_only_implicit_vr_gets_the_same_values(
    sqlite_url: str, tmp_path: Path, free_port: int, dcmtk: Dcmtk
) -> None:
    database = Database(sqlite_url)
    put_into_outbox(database, report())

    with storescp(dcmtk, tmp_path / "pacs", free_port, "+xi"):
        taken = deliver_due(database, sending(free_port))

    (kept,) = (tmp_path / "pacs").iterdir()
    database.dispose()
    assert taken == 1
    assert dcmread(kept).PatientID == "P-4711"
    assert dcmread(kept).file_meta.TransferSyntaxUID == "1.2.840.10008.1.2"


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (0x0000, DeliveryState.SENT),
        (0xB000, DeliveryState.SENT),
        (0xB006, DeliveryState.SENT),
        (0xB007, DeliveryState.SENT),
        (0xA700, DeliveryState.PENDING),
        (0xC000, DeliveryState.PENDING),
        (0x0110, DeliveryState.PENDING),
        (0x0122, DeliveryState.FAILED),
        (0xA900, DeliveryState.FAILED),
    ],
)
def test_each_status_is_judged(sqlite_url: str, free_port: int, status: int, state: DeliveryState) -> None:
    database = Database(sqlite_url)
    study_id = put_into_outbox(database, report())

    with peer(free_port, [SR], lambda _: status):
        deliver_due(database, sending(free_port))

    (delivery,) = deliveries(database, study_id)
    database.dispose()
    assert delivery.state is state
    assert (delivery.last_error is None) == (state is DeliveryState.SENT)
    assert delivery.last_error is None or f"{status:04X}" in delivery.last_error


def test_a_class_that_the_peer_does_not_take_ends_that_report_and_not_the_other(
    database: Database, free_port: int
) -> None:
    study_id = put_into_outbox(database, report(SR, 1), report(SC, 2))

    with peer(free_port, [SC], lambda _: 0):
        deliver_due(database, sending(free_port))

    states = {one.kind: one.state for one in deliveries(database, study_id)}
    assert states == {"SR": DeliveryState.FAILED, "SC": DeliveryState.SENT}


@pytest.mark.parametrize("refuses_by", ["context", "status"])
def test_a_peer_that_refuses_the_report_s_class_gets_it_in_the_next_one_and_proves_that(
    database: Database, free_port: int, refuses_by: str
) -> None:
    study_id = put_into_outbox(database, report(SR, 1))
    got: list[Dataset] = []

    def answer(event: Any) -> int:
        if event.request.AffectedSOPClassUID == SR:
            return 0x0122
        got.append(event.dataset)
        return 0

    def listed(event: Any) -> Iterator[Any]:
        found = Dataset()
        found.QueryRetrieveLevel = "IMAGE"
        found.SOPInstanceUID = got[0].SOPInstanceUID
        yield 0xFF00, found

    classes = [ENHANCED_SR, FIND] if refuses_by == "context" else [SR, ENHANCED_SR, FIND]
    with peer(free_port, classes, answer, find=listed):
        deliver_due(database, sending(free_port, confirm="find"))
        ended = confirm_due(database, sending(free_port, confirm="find", now=NOW + timedelta(seconds=10)))

    (one,) = got
    assert one.SOPClassUID == ENHANCED_SR
    assert one.SOPInstanceUID != "1.2.3.1"
    assert one.PatientID == "P-4711"
    assert ended == 1
    assert deliveries(database, study_id)[0].state is DeliveryState.CONFIRMED


def test_a_peer_that_takes_no_class_at_all_is_not_asked_again(sqlite_url: str, free_port: int) -> None:
    database = Database(sqlite_url)
    study_id = put_into_outbox(database, report())

    with peer(free_port, ["1.2.840.10008.5.1.4.1.1.4"], lambda _: 0):
        deliver_due(database, sending(free_port))

    (delivery,) = deliveries(database, study_id)
    database.dispose()
    assert delivery.state is DeliveryState.FAILED


def test_a_peer_that_takes_nothing_is_tried_later_and_at_last_given_up_visibly(
    database: Database, free_port: int
) -> None:
    study_id = put_into_outbox(database, report())
    pauses = []

    with peer(free_port, [SR], lambda _: 0xA700):
        for attempt in range(3):
            now = NOW + timedelta(hours=attempt)
            deliver_due(database, sending(free_port, attempts=3, now=now))
            (delivery,) = deliveries(database, study_id)
            if delivery.next_attempt_at:
                pauses.append((delivery.next_attempt_at - now).total_seconds())

    assert delivery.state is DeliveryState.FAILED
    assert delivery.attempts == 3
    assert 10 <= pauses[0] <= 12.5
    assert 20 <= pauses[1] <= 25
    assert count(database, "history", "event = 'report.not_sent'") == 1


def test_a_delivery_that_failed_can_be_sent_again(database: Database, tmp_path: Path, free_port: int) -> None:
    study_id = put_into_outbox(database, report())
    with peer(free_port, [SR], lambda _: 0xA700):
        deliver_due(database, sending(free_port, attempts=1))
    with database.transaction() as connection:
        queued = send_again(connection, study_id, destinations=["pacs"], now=NOW)

    with stand_in_pacs(tmp_path / "pacs") as pacs:
        taken = deliver_due(database, sending(pacs.port))

    assert (queued, taken) == (1, 1)


def test_a_report_that_breaks_our_own_code_ends_visibly_and_the_next_one_is_sent(
    database: Database, tmp_path: Path
) -> None:
    study_id = put_into_outbox(database, report(SR, 1), report(SC, 2))
    # without the SOP Instance UID in the meta information pynetdicom raises an error of its own
    odd = report(SR, 1).replace(b"\x02\x00\x03\x00UI", b"\x02\x00\x04\x00UI")
    with database.engine.begin() as connection:
        connection.execute(text("update reports set content = :odd where id = 1"), {"odd": odd})

    with stand_in_pacs(tmp_path / "pacs") as pacs:
        for hour in range(3):
            deliver_due(database, sending(pacs.port, attempts=2, now=NOW + timedelta(hours=hour)))

    first, second = deliveries(database, study_id)
    assert (first.state, first.attempts) == (DeliveryState.FAILED, 2)
    assert second.state is DeliveryState.SENT
    assert "Doe" not in str(first.last_error)


def test_a_delivery_that_always_takes_its_process_along_ends_visibly(
    database: Database, tmp_path: Path
) -> None:
    study_id = put_into_outbox(database, report())
    for hour in range(3):
        with database.transaction() as connection:
            claim_delivery(connection, "pacs", holder="x", lease_s=1, now=NOW + timedelta(hours=hour))

    with stand_in_pacs(tmp_path / "pacs") as pacs:
        deliver_due(database, sending(pacs.port, attempts=3, now=NOW + timedelta(hours=4)))

    (delivery,) = deliveries(database, study_id)
    assert delivery.state is DeliveryState.FAILED
    assert pacs.files() == []


@pytest.mark.parametrize("mode", ["quiet", "report"])
def test_what_waits_for_a_destination_that_the_settings_no_longer_name_ends_visibly(
    database: Database, database_url: str, tmp_path: Path, free_port: int, mode: str
) -> None:
    study_id = put_into_outbox(database, report(), destination="former")
    with database.transaction() as connection:
        add_deliveries(connection, 1, ["pacs"], now=NOW + timedelta(days=36500))
        connection.exec_driver_sql("update reports set created_at = '2026-01-01 00:00:00'")
        connection.exec_driver_sql("update studies set state = 'finished', finished_at = last_instance_at")
    pacs = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": free_port}
    settings = settings_for(tmp_path, database_url, free_port, mode=mode, destinations=[pacs])

    with delivering(settings):
        eventually(lambda: count(database, "deliveries", "state = 'failed'") == 1)

    stands = {one.destination: one for one in deliveries(database, study_id)}
    with database.transaction() as connection:
        (kept,) = kept_studies(connection)
    assert stands["pacs"].state is DeliveryState.PENDING
    assert "no longer in the settings" in str(stands["former"].last_error)
    assert (kept.undelivered, kept.refused) == (1, 1), "what ended without success is not delivered either"
    assert count(database, "history", "event = 'report.not_sent'") == 1


def test_an_old_schema_is_said_in_words(tmp_path: Path, free_port: int) -> None:
    settings = settings_for(tmp_path, f"sqlite:///{tmp_path / 'new.sqlite'}", free_port)

    with pytest.raises(UsageError, match="ich-node migrate"):
        run(settings, threading.Event())


@pytest.mark.peer
def test_a_database_that_is_away_at_the_start_is_waited_for(
    postgres: PostgresServer, tmp_path: Path, free_port: int
) -> None:
    url = postgres.create("away_for_delivery", template="migrated")
    database = Database(url)
    put_into_outbox(database, report())
    database.dispose()
    with stand_in_pacs(tmp_path / "pacs") as pacs:
        destination = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": pacs.port}
        settings = settings_for(tmp_path, url, free_port, mode="report", destinations=[destination])
        with ExitStack() as back:
            postgres.stop()
            back.callback(postgres.start)
            with delivering(settings):
                time.sleep(0.5)
                back.close()
                eventually(lambda: len(pacs.files()) == 1)
    postgres.drop("away_for_delivery")


def test_sending_again_reaches_destinations_that_never_had_the_report(database: Database) -> None:
    study_id = put_into_outbox(database, report(SR, 1), report(SC, 2), destination="first")
    with database.transaction() as connection:
        connection.exec_driver_sql("update deliveries set state = 'sent' where id = 1")
        before = has_delivery_everywhere(connection, study_id, ["first", "second"])
        only_first = has_delivery_everywhere(connection, study_id, ["first"])

        queued = send_again(connection, study_id, destinations=["first", "second"], now=NOW)
        again = send_again(connection, study_id, destinations=["first", "second"], now=NOW)

        after = has_delivery_everywhere(connection, study_id, ["first", "second"])
    assert (before, only_first, after) == (False, True, True)
    assert (queued, again) == (4, 4)  # what waits already waits no longer
    assert {(one.destination, one.state) for one in deliveries(database, study_id)} == {
        ("first", DeliveryState.PENDING),
        ("second", DeliveryState.PENDING),
    }


def test_a_study_without_reports_has_nothing_to_send_again(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    study_id = put_into_outbox(database)

    with database.transaction() as connection:
        queued = send_again(connection, study_id, destinations=["pacs"], now=NOW)
        everywhere = has_delivery_everywhere(connection, study_id, ["pacs"])

    database.dispose()
    assert (queued, everywhere) == (0, True)


def test_a_rejected_association_says_why(sqlite_url: str, tmp_path: Path) -> None:
    database = Database(sqlite_url)
    study_id = put_into_outbox(database, report())

    with stand_in_pacs(tmp_path / "pacs", ae_title="OTHER") as pacs:
        deliver_due(database, sending(pacs.port))

    (delivery,) = deliveries(database, study_id)
    database.dispose()
    assert delivery.state is DeliveryState.PENDING
    assert "AE title that we called" in str(delivery.last_error)


@pytest.mark.parametrize("reads", [True, False])
def test_a_peer_that_accepts_and_never_answers_costs_no_more_than_its_timeouts(
    sqlite_url: str, free_port: int, reads: bool
) -> None:
    database = Database(sqlite_url)
    study_id = put_into_outbox(database, report(size=20_000_000))
    hang = threading.Event()

    with _stalling(free_port, hang, reads):
        started = time.monotonic()
        deliver_due(database, sending(free_port, timeout_s=1))
        seconds = time.monotonic() - started
        hang.set()

    (delivery,) = deliveries(database, study_id)
    database.dispose()
    assert delivery.state is DeliveryState.PENDING
    assert seconds < 10


@contextmanager
def _stalling(port: int, hang: threading.Event, reads: bool) -> Iterator[None]:
    """A peer whose handler hangs, or one that agrees and then reads nothing more."""
    if reads:
        with peer(port, [SR], lambda _: hang.wait(20) and 0):
            yield
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        behind = probe.getsockname()[1]
    with peer(behind, [SR], lambda _: 0), socket.socket() as listening:
        listening.bind(("127.0.0.1", port))
        listening.listen()
        relay = threading.Thread(target=_relay_the_negotiation_only, args=(listening, behind, hang))
        relay.start()
        yield
        relay.join()


def _relay_the_negotiation_only(listening: socket.socket, behind: int, hang: threading.Event) -> None:
    caller, _ = listening.accept()
    with caller, socket.create_connection(("127.0.0.1", behind)) as real:
        real.sendall(caller.recv(65536))
        caller.sendall(real.recv(65536))
        hang.wait(30)


def test_a_peer_that_hangs_up_in_the_middle_is_tried_again(sqlite_url: str, free_port: int) -> None:
    database = Database(sqlite_url)
    study_id = put_into_outbox(database, report())

    def _abort(event: Any) -> int:
        event.assoc.abort()
        return 0

    with peer(free_port, [SR], _abort):
        deliver_due(database, sending(free_port))

    (delivery,) = deliveries(database, study_id)
    database.dispose()
    assert delivery.state is DeliveryState.PENDING
    assert "no answer" in str(delivery.last_error)


def test_what_another_process_holds_is_left_alone_until_its_lease_ends(
    database: Database, tmp_path: Path
) -> None:
    put_into_outbox(database, report())
    with database.transaction() as connection:
        claim_delivery(connection, "pacs", holder="another", lease_s=60, now=NOW)

    with stand_in_pacs(tmp_path / "pacs") as pacs:
        while_held = deliver_due(database, sending(pacs.port, now=NOW + timedelta(seconds=59)))
        afterwards = deliver_due(database, sending(pacs.port, now=NOW + timedelta(seconds=61)))

    assert (while_held, afterwards) == (0, 1)


def test_a_dead_destination_does_not_delay_another(sqlite_url: str, tmp_path: Path, free_port: int) -> None:
    database = Database(sqlite_url)
    with stand_in_pacs(tmp_path / "pacs") as pacs, socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()  # takes the connection and never says a word
        destinations = [
            {"name": "deaf", "ae_title": "PACS", "host": "127.0.0.1", "port": deaf.getsockname()[1]},
            {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": pacs.port},
        ]
        settings = settings_for(
            tmp_path,
            sqlite_url,
            free_port,
            mode="report",
            destinations=destinations,
            delivery={"timeout_s": 2},
        )
        put_into_outbox(database, report(SR, 1), destination="deaf")
        with database.transaction() as connection:
            add_deliveries(connection, 1, ["pacs"], now=NOW)
        stop = threading.Event()
        process = threading.Thread(target=run, args=(settings, stop))
        process.start()
        eventually(lambda: len(pacs.files()) == 1, within_s=5)
        stop.set()
        process.join(30)

    assert not process.is_alive()
    database.dispose()


def test_in_quiet_mode_nothing_is_sent(sqlite_url: str, tmp_path: Path, free_port: int) -> None:
    database = Database(sqlite_url)
    put_into_outbox(database, report())
    with stand_in_pacs(tmp_path / "pacs") as pacs:
        destination = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": pacs.port}
        settings = settings_for(tmp_path, sqlite_url, free_port, mode="quiet", destinations=[destination])
        stop = threading.Event()
        process = threading.Thread(target=run, args=(settings, stop))

        process.start()
        time.sleep(1)
        stop.set()
        process.join(10)

    assert pacs.files() == []
    assert not process.is_alive()
    database.dispose()


def test_no_file_of_a_report_stays_behind(sqlite_url: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    database = Database(sqlite_url)
    put_into_outbox(database, report())

    with stand_in_pacs(tmp_path / "pacs") as pacs:
        deliver_due(database, sending(pacs.port))

    database.dispose()
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("outcome", ["positive", "negative"])
def test_an_older_revision_goes_first_unless_it_was_refused_and_the_newer_one_is_a_bleed(
    database: Database, outcome: str
) -> None:
    study_id = put_into_outbox(database, report(number=1))
    content = report(number=2)
    newer = Report(
        kind="SR",
        study_id=study_id,
        revision=2,
        sop_class_uid=SR,
        sop_instance_uid="1.2.3.2",
        series_uid="1.2.3.0",
        content=content,
        created_at=NOW,
    )
    with database.transaction() as connection:
        add_deliveries(connection, add_report(connection, newer), ["pacs"], now=NOW)
        connection.exec_driver_sql(f"update studies set outcome = '{outcome}'")

        older = claim_delivery(connection, "pacs", holder="x", lease_s=60, now=NOW)
        meanwhile = claim_delivery(connection, "pacs", holder="y", lease_s=60, now=NOW)
        assert older is not None
        postpone_delivery(connection, older, until=NOW + timedelta(minutes=9), error="refused")
        goes = claim_delivery(connection, "pacs", holder="x", lease_s=60, now=NOW)

        if goes is not None:
            mark_sent(connection, goes, now=NOW)

    second, first = deliveries(database, study_id)  # the newest first
    assert older.sop_instance_uid == "1.2.3.1"
    assert meanwhile is None
    if outcome == "positive":
        assert (first.state, first.last_error) == (DeliveryState.FAILED, SUPERSEDED)
        assert second.state is DeliveryState.SENT
    else:
        assert (first.state, second.state) == (DeliveryState.PENDING, DeliveryState.PENDING)


def test_after_an_outage_a_bleed_goes_before_what_waited_longer(database: Database) -> None:
    queue_deliveries(database, 3)
    with database.transaction() as connection:
        connection.exec_driver_sql("update studies set outcome = 'positive' where id = 3")
        taken = [claim_delivery(connection, "pacs", holder="x", lease_s=60, now=NOW) for _ in range(3)]

    assert [one.study_id for one in taken if one] == [3, 1, 2]
