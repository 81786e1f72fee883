"""What the doctor says of a destination, end to end: real peers and odd ones."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from odd_pacs import odd_pacs
from outbox import NOW, SC, SR, peer, put_into_outbox, reading_slowly, report, sending, storescp
from peers import Dcmtk, OrthancServer
from pynetdicom import _config
from reception import settings_for

from ich_node.cli.check import Check
from ich_node.cli.destinations import examine_destination, examine_waiting
from ich_node.delivery.send import deliver_due
from ich_node.demo.pacs import stand_in_pacs
from ich_node.network import FIND
from ich_node.settings.tree import Settings
from ich_node.store.database import Database
from ich_node.store.deliveries import claim_delivery


@pytest.fixture(autouse=True)
def _peers_negotiate_as_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_config, "UNRESTRICTED_STORAGE_SERVICE", False)


def _examine(
    folder: Path, port: int, *, confirm: str = "none", ae_title: str = "PACS", knows: bool = False
) -> list[Check]:
    pacs = {"name": "pacs", "ae_title": ae_title, "host": "127.0.0.1", "port": port, "confirm": confirm}
    senders = [{"ae_title": ae_title, "address": "127.0.0.1"}] if knows else []
    settings = settings_for(folder, "", port, mode="report", destinations=[pacs], senders=senders)
    return list(examine_destination(settings.destinations[0], settings))


def _wrong(checks: list[Check]) -> str:
    return "\n".join(check.words for check in checks if not check.passed)


@pytest.mark.peer
@pytest.mark.parametrize("confirm", ["none", "find", "commitment"])
def test_orthanc_is_well_in_every_way(tmp_path: Path, orthanc: OrthancServer, confirm: str) -> None:
    checks = _examine(tmp_path, orthanc.port, confirm=confirm, ae_title=orthanc.ae_title, knows=True)

    answers, takes, proves = checks
    assert _wrong(checks) == ""
    assert answers.words.startswith("answers C-ECHO as ORTHANC")
    assert f"Comprehensive SR Storage ({SR})" in takes.words
    assert confirm != "none" or 'set confirm to "find"' in proves.words


@pytest.mark.peer
def test_a_destination_whose_commitments_we_would_refuse_needs_senders(
    tmp_path: Path, orthanc: OrthancServer
) -> None:
    checks = _examine(tmp_path, orthanc.port, confirm="commitment", ae_title=orthanc.ae_title)

    assert "add ORTHANC at 127.0.0.1 to [[senders]]" in _wrong(checks)


@pytest.mark.peer
@pytest.mark.parametrize("confirm", ["find", "commitment"])
def test_dcmtk_s_receiver_takes_reports_and_can_prove_nothing(
    tmp_path: Path, free_port: int, dcmtk: Dcmtk, confirm: str
) -> None:
    with storescp(dcmtk, tmp_path / "pacs", free_port):
        checks = _examine(tmp_path, free_port, confirm=confirm, knows=True)

    assert [check.passed for check in checks] == [True, True, False]
    assert 'set confirm to "none"' in _wrong(checks)


def test_a_pacs_without_commitment_is_told_which_proof_it_can_give(tmp_path: Path) -> None:
    with stand_in_pacs(tmp_path / "pacs") as pacs:
        checks = _examine(tmp_path, pacs.port, confirm="commitment", knows=True)

    assert 'set confirm to "find"' in _wrong(checks)


def test_waiting_for_images_at_a_destination_that_cannot_be_asked_is_said(
    tmp_path: Path, free_port: int
) -> None:
    pacs = {
        "name": "pacs",
        "ae_title": "PACS",
        "host": "127.0.0.1",
        "port": free_port,
        "wait_for_images_s": 60,
    }
    settings = settings_for(tmp_path, "", free_port, mode="report", destinations=[pacs])

    with peer(free_port, [SR, SC], lambda _: 0):
        checks = list(examine_destination(settings.destinations[0], settings))

    assert "wait_for_images_s" in _wrong(checks)


def test_an_archive_that_searches_at_no_level_proves_nothing_by_c_find(tmp_path: Path) -> None:
    def refuse(_event: Any) -> Iterator[Any]:
        yield 0xC001, None

    with odd_pacs(refuse, None) as port:
        checks = _examine(tmp_path, port, confirm="find", ae_title="ORTHANC")

    assert "C001" in _wrong(checks)


def test_what_a_destination_does_not_take_is_named_with_what_becomes_of_it(
    tmp_path: Path, free_port: int
) -> None:
    with peer(free_port, [SC], lambda _: 0):
        checks = _examine(tmp_path, free_port)

    assert "the report (SR) will end as failed" in _wrong(checks)
    assert checks[0].passed, "a PACS may let us in and know no C-ECHO"


def test_the_class_in_which_a_report_will_go_out_is_told(tmp_path: Path, free_port: int) -> None:
    with peer(free_port, ["1.2.840.10008.5.1.4.1.1.88.22", SC], lambda _: 0):
        _, takes, _ = _examine(tmp_path, free_port)

    assert takes.passed
    assert "the report goes out as Enhanced SR Storage" in takes.words


@pytest.mark.parametrize(
    ("called", "words"), [("PACS", "ae_title, host, port"), ("OTHER", "the AE title that we called")]
)
def test_why_a_destination_is_not_reached_is_said(
    tmp_path: Path, free_port: int, called: str, words: str
) -> None:
    if called == "PACS":
        checks = _examine(tmp_path, free_port)
    else:
        with stand_in_pacs(tmp_path / "pacs") as pacs:
            checks = _examine(tmp_path, pacs.port, ae_title=called)

    (check,) = checks
    assert not check.passed
    assert words in check.words


@pytest.mark.parametrize(("minutes", "passed"), [(5, True), (50, False)])
def test_what_waits_is_told_with_its_age_and_why(
    database: Database, tmp_path: Path, free_port: int, minutes: int, passed: bool
) -> None:
    put_into_outbox(database, report(SR, 1), report(SC, 2))
    deliver_due(database, sending(free_port))
    settings = settings_for(tmp_path, database.url, free_port, mode="report")

    (check,) = examine_waiting(database, settings, now=NOW + timedelta(minutes=minutes))

    assert check.passed is passed
    assert check.words.startswith("2 reports wait for pacs, the oldest since 2026-11-24")
    assert "away since" in check.words


@pytest.mark.parametrize("every_s", [1.0, None])
def test_one_that_answers_and_does_not_take_is_told_with_the_setting_that_helps(
    database: Database, tmp_path: Path, free_port: int, every_s: float | None
) -> None:
    put_into_outbox(database, report(SR, 1), report(SC, 2))
    refusing = peer(free_port, [SR, SC], lambda _: 0xA700)
    with reading_slowly(free_port, 1, every_s) if every_s else refusing:
        deliver_due(database, sending(free_port, timeout_s=0.5))

    (check,) = _waiting(database, tmp_path, free_port)

    assert check.words.startswith("2 reports wait for pacs, the oldest since 2026-11-24")
    if every_s:
        assert "gave no answer in time or hung up; if it is slow" in check.words
        assert "raise delivery.timeout_s (30 s)" in check.words
    else:
        assert "did not take the object (status A700)" in check.words
        assert "wait_for_images_s lets reports wait for them" in check.words


def test_reports_that_wait_for_their_images_are_told_with_the_setting_that_ends_it(
    database: Database, tmp_path: Path, free_port: int
) -> None:
    put_into_outbox(database, report())
    to = sending(free_port)
    patient = replace(to, destination=to.destination.model_copy(update={"wait_for_images_s": 600.0}))
    with peer(free_port, [SR, FIND], lambda _: 0, find=lambda _event: iter(())):
        deliver_due(database, patient)

    (check,) = _waiting(database, tmp_path, free_port, wait_for_images_s=600)

    assert "1 report waits for pacs" in check.words
    assert "waits until the destination lists the images of the study" in check.words
    assert "no longer than wait_for_images_s (600 s), with 0 not at all" in check.words


def test_what_was_not_tried_yet_and_what_is_under_way_for_the_first_time_is_told(
    database: Database, tmp_path: Path, free_port: int
) -> None:
    put_into_outbox(database, report())
    (before,) = _waiting(database, tmp_path, free_port)
    with database.transaction() as connection:
        claim_delivery(connection, "pacs", holder="x", lease_s=60, now=NOW)
    (under_way,) = _waiting(database, tmp_path, free_port)

    assert "not tried yet; see that `ich-node deliver` runs" in before.words
    assert "its first attempt has not ended yet" in under_way.words


def test_of_one_destination_only_what_waits_for_it_is_told(
    database: Database, tmp_path: Path, free_port: int
) -> None:
    put_into_outbox(database, report(), destination="elsewhere")
    settings = _reporting(database, tmp_path, free_port)

    (check,) = examine_waiting(database, settings, now=NOW, only="elsewhere")

    assert "the settings name no such destination" in check.words
    assert list(examine_waiting(database, settings, now=NOW, only="pacs")) == []


def _reporting(database: Database, folder: Path, port: int, **pacs: Any) -> Settings:
    destination = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": port, **pacs}
    return settings_for(folder, database.url, port, mode="report", destinations=[destination])


def _waiting(database: Database, folder: Path, port: int, **pacs: Any) -> list[Check]:
    settings = _reporting(database, folder, port, **pacs)
    return list(examine_waiting(database, settings, now=NOW + timedelta(minutes=5)))


def test_what_nobody_proved_is_told_with_what_to_do(sqlite_url: str, tmp_path: Path, free_port: int) -> None:
    database = Database(sqlite_url)
    put_into_outbox(database, report())
    with peer(free_port, [SR], lambda _: 0):
        deliver_due(database, sending(free_port, confirm="find"))
    pacs = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": free_port, "confirm": "find"}
    settings = settings_for(tmp_path, sqlite_url, free_port, mode="report", destinations=[pacs])

    in_time = list(examine_waiting(database, settings, now=NOW + timedelta(minutes=5)))
    (late,) = examine_waiting(database, settings, now=NOW + timedelta(minutes=50))

    database.dispose()
    assert in_time == []
    assert not late.passed
    assert "studies send-again" in late.words
