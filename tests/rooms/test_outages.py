"""A destination that is away as a whole: nothing is lost, nobody else waits, somebody hears of it."""

import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from outbox import (
    NOW,
    SC,
    SR,
    deliveries,
    delivering,
    put_into_outbox,
    reading_slowly,
    report,
    sending,
)
from pynetdicom import _config
from reception import count, eventually, settings_for

from ich_node.cli.study import lines_of, look_up
from ich_node.core.states import DeliveryState
from ich_node.delivery.confirm import confirm_due
from ich_node.delivery.send import deliver_due
from ich_node.delivery.serve import alarm
from ich_node.demo.pacs import stand_in_pacs
from ich_node.store.alarms import waiting
from ich_node.store.database import Database
from ich_node.store.deliveries import add_deliveries
from ich_node.store.outages import list_outages, take_probe


@pytest.fixture(autouse=True)
def _peers_negotiate_as_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_config, "UNRESTRICTED_STORAGE_SERVICE", False)


def test_a_pacs_that_is_down_for_an_hour_loses_no_report_and_is_not_hammered(
    database: Database, tmp_path: Path, free_port: int
) -> None:
    study_id = put_into_outbox(database, report(SR, 1), report(SC, 2))
    to, tries = sending(free_port, attempts=2), set()

    for second in range(0, 3600, 5):
        now = NOW + timedelta(seconds=second)
        deliver_due(database, replace(to, now=lambda now=now: now))
        with database.transaction() as connection:
            (outage,) = list_outages(connection)
        tries.add(outage.failures)
    while_down = deliveries(database, study_id)
    with stand_in_pacs(tmp_path / "pacs", port=free_port):
        taken = deliver_due(database, replace(to, now=lambda: NOW + timedelta(seconds=3700)))

    assert {(one.state, one.attempts) for one in while_down} == {(DeliveryState.PENDING, 0)}
    assert "does not answer" in str(while_down[0].last_error)
    assert outage.since == NOW
    assert 45 <= max(tries) <= 66, "a try a minute, with jitter"
    assert taken == 2
    assert count(database, "outages") == 0


def test_while_a_destination_is_away_one_process_probes_it(database: Database, free_port: int) -> None:
    put_into_outbox(database, report())
    for minute in range(3):
        deliver_due(database, sending(free_port, now=NOW + timedelta(minutes=minute)))
    now = NOW + timedelta(hours=1)

    turns = []
    for _ in range(2):
        with database.transaction() as connection:
            turns.append(take_probe(connection, "pacs", until=now + timedelta(seconds=30), now=now))

    assert turns == [True, False]


def test_looking_for_proof_waits_while_the_destination_is_away_and_uses_up_no_look(
    database: Database, tmp_path: Path, free_port: int
) -> None:
    study_id = put_into_outbox(database, report())
    to = sending(free_port, confirm="find")
    with stand_in_pacs(tmp_path / "pacs", port=free_port):
        deliver_due(database, to)
    for minute in range(1, 10):
        confirm_due(database, replace(to, now=lambda minute=minute: NOW + timedelta(minutes=minute)))
    looks = count(database, "deliveries", "looks = 0 and state = 'sent'")
    with stand_in_pacs(tmp_path / "pacs", port=free_port):
        confirm_due(database, replace(to, now=lambda: NOW + timedelta(hours=2)))

    assert looks == 1
    assert deliveries(database, study_id)[0].state is DeliveryState.CONFIRMED


def test_a_rejection_is_an_outage_too_the_reports_wait_until_the_pacs_knows_us(
    sqlite_url: str, tmp_path: Path
) -> None:
    database = Database(sqlite_url)
    study_id = put_into_outbox(database, report())
    with stand_in_pacs(tmp_path / "pacs", ae_title="OTHER") as pacs:
        for hour in range(5):
            deliver_due(database, sending(pacs.port, attempts=2, now=NOW + timedelta(hours=hour)))

    (delivery,) = deliveries(database, study_id)
    database.dispose()
    assert (delivery.state, delivery.attempts) == (DeliveryState.PENDING, 0)


def test_a_report_that_waits_too_long_is_alarmed_about_once_and_the_age_is_visible(
    database: Database, tmp_path: Path, free_port: int
) -> None:
    study_id = put_into_outbox(database, report(SC))
    pacs = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": free_port}
    settings = settings_for(tmp_path, database.url, free_port, mode="report", destinations=[pacs])

    for minute in (14, 16, 18):
        alarm(database, settings, now=NOW + timedelta(minutes=minute))

    with database.transaction() as connection:
        told = "\n".join(lines_of(look_up(connection, study_id)))
        (waits,) = waiting(connection)
    assert count(database, "history", "event = 'report.late'") == 1
    assert f"pending, 0 attempts LATE, waits since {NOW.astimezone():%Y-%m-%d %H:%M:%S}," in told
    assert (waits.count, waits.oldest) == (1, NOW)


@pytest.mark.parametrize(("at_once", "every_s"), [(1, 1.0), (65536, 0.3)])
def test_a_peer_that_reads_a_byte_a_second_or_ever_slowly_is_left_in_time_and_delays_nobody_else(
    sqlite_url: str, tmp_path: Path, free_port: int, at_once: int, every_s: float
) -> None:
    database = Database(sqlite_url)
    study_id = put_into_outbox(database, report(size=20_000_000), destination="slow")
    with database.transaction() as connection:
        add_deliveries(connection, 1, ["quick"], now=NOW)

    with reading_slowly(free_port, at_once, every_s), stand_in_pacs(tmp_path / "pacs") as pacs:
        destinations = [
            {"name": name, "ae_title": "PACS", "host": "127.0.0.1", "port": port}
            for name, port in (("slow", free_port), ("quick", pacs.port))
        ]
        settings = settings_for(
            tmp_path,
            sqlite_url,
            free_port,
            mode="report",
            destinations=destinations,
            delivery={"timeout_s": 1},
        )
        started = time.monotonic()
        with delivering(settings):
            eventually(lambda: len(pacs.files()) == 1, within_s=5)
            quick_s = time.monotonic() - started
            eventually(lambda: "no answer" in str(_to("slow", database, study_id).last_error), within_s=20)

    slow, quick = _to("slow", database, study_id), _to("quick", database, study_id)
    database.dispose()
    assert quick_s < 3
    assert (slow.state, quick.state) == (DeliveryState.PENDING, DeliveryState.SENT)


def _to(destination: str, database: Database, study_id: int):
    return next(one for one in deliveries(database, study_id) if one.destination == destination)
