"""What the asking commands say of a node that has something to tell: studies, quarantine, clocks."""

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import psycopg
import pytest
from builders import ct_series, write_files
from learning import NOW, received
from pydicom import dcmread
from pydicom.dataset import Dataset

from ich_node.cli.context import Given
from ich_node.cli.doctor import Check, examine
from ich_node.demo.node import write_settings
from ich_node.dicom.report import build_structured_report
from ich_node.dicom.secondary_capture import build_secondary_capture
from ich_node.store.database import Database
from ich_node.store.deliveries import add_deliveries, claim_delivery, deliveries_of, give_up_delivery
from ich_node.store.history import append
from ich_node.store.quarantine import Quarantined, add_quarantined, note_refused_caller
from ich_node.store.readings import Report, add_report
from ich_node.vocabulary import Outcome
from tests import report_cases

REPORTING = {
    "mode": "report",
    "destinations": [{"name": "archive", "ae_title": "ARCHIVE", "host": "127.0.0.1", "port": 11199}],
}


def _run(*arguments: str, settings: Path | None = None, columns: int = 200) -> subprocess.CompletedProcess:
    named = ["--settings", str(settings)] if settings else []
    return subprocess.run(
        [sys.executable, "-m", "ich_node", *named, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "COLUMNS": str(columns)},
    )


def _settings(folder: Path, database: Database, **values: object) -> Path:
    file = folder / "settings.toml"
    own = {"database.url": database.url, "storage.folder": str(folder / "storage"), "storage.reserve_mb": 0}
    write_settings(file, {**values, **own})
    return file


@pytest.fixture
def sqlite(sqlite_url: str):
    database = Database(sqlite_url)
    yield database
    database.dispose()


def _clock_of(settings: Path) -> Check:
    return next(check for check in examine(Given(settings_file=settings)) if check.subject == "clock")


def test_the_list_of_studies_fills_each_of_its_columns(sqlite, tmp_path):
    study = received(sqlite, seed=1, bleed=True, accession_number="A17[b]")

    done = _run("studies", "list", settings=_settings(tmp_path, sqlite))

    assert done.returncode == 0, done.stderr
    (row,) = (line for line in done.stdout.splitlines() if "A17" in line)
    shown = f"{NOW.astimezone():%m-%d %H:%M}".split()
    assert row.split() == [str(study), *shown, "finished", "positive", "1", "A17[b]"]


def test_the_widest_study_of_the_list_fits_one_line_of_80_columns(sqlite, tmp_path):
    study = received(sqlite, seed=1, accession_number="ACCESSION-123456")
    with sqlite.transaction() as connection:
        connection.exec_driver_sql("update studies set outcome = 'indeterminate', reason = 'TOO_FEW_SLICES'")

    done = _run("studies", "list", settings=_settings(tmp_path, sqlite), columns=80)

    heading, row = done.stdout.splitlines()
    assert heading.split()[0] == "ID"
    assert max(len(heading), len(row)) <= 80
    for words in (str(study), "finished", "indeterminate", "TOO_FEW_SLICES", "ACCESSION-123456"):
        assert words in row.split()


def test_what_is_in_quarantine_can_be_seen_with_its_reason_and_its_sender(sqlite, tmp_path):
    settings = _settings(tmp_path, sqlite)
    nothing = _run("studies", "quarantine", settings=settings)
    name = f"ab/ab{'0' * 62}.bin"
    with sqlite.transaction() as connection:
        add_quarantined(
            connection,
            Quarantined(
                file=name,
                reason="NO_IDENTITY",
                bytes=4711,
                calling_ae_title="CT[red]",
                address="10.1.2.3",
                received_at=NOW,
            ),
        )

    done = _run("studies", "quarantine", settings=settings, columns=60)

    assert "Nothing is in quarantine" in nothing.stdout
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    for words in ("NO_IDENTITY", "is absent or malformed", "4711 bytes", "'CT[red]'", "10.1.2.3"):
        assert words in first
    assert first.startswith(f"{NOW.astimezone():%Y-%m-%d %H:%M:%S}")
    assert second.strip() == str(tmp_path / "storage/quarantine" / name)


def test_a_report_goes_once_more_to_every_destination_that_is_named_now(sqlite, tmp_path):
    study = received(sqlite, seed=1)
    with sqlite.transaction() as connection:
        add_report(
            connection,
            Report(
                kind="SR",
                study_id=study,
                revision=1,
                sop_class_uid="1.2.3",
                sop_instance_uid="1.2.3.4",
                series_uid="1.2.3.5",
                content=b"bytes",
                created_at=NOW,
            ),
        )

    done = _run("studies", "send-again", str(study), settings=_settings(tmp_path, sqlite, **REPORTING))

    assert done.returncode == 0, done.stderr
    with sqlite.transaction() as connection:
        assert [item.destination for item in deliveries_of(connection, study)] == ["archive"]


def test_a_study_is_shown_with_what_its_report_says_and_left_as_files(sqlite, tmp_path):
    study = received(sqlite, seed=1, bleed=True)
    settings = _settings(tmp_path, sqlite)
    without = _run("studies", "show", str(study), settings=settings)
    sources = report_cases.headers()
    finding = report_cases.finding(Outcome.POSITIVE, sources)
    page = build_secondary_capture(finding, sources, report_cases.context(), ())
    for kind, made in {
        "SR": build_structured_report(finding, sources, report_cases.context()),
        "SC": page,
    }.items():
        _keep_report(sqlite, study, kind, made)
    out = tmp_path / "out"

    done = _run("studies", "show", str(study), "--out", str(out), settings=settings)

    assert without.returncode == 0, without.stderr
    assert "Report" not in without.stdout
    assert done.returncode == 0, done.stderr
    for words in ("Suspected intracerebral hemorrhage, deep", "Not for diagnostic use", "outcome=positive"):
        assert words in done.stdout
    assert "archive: pending, 0 attempts" in done.stdout
    assert "{" not in done.stdout
    assert dcmread(out / "report.dcm").Modality == "SR"
    assert "Suspected intracerebral hemorrhage" in (out / "report.html").read_text(encoding="utf-8")
    assert (out / "key-slice.png").read_bytes().startswith(b"\x89PNG")


def test_files_are_asked_of_a_study_without_a_report(sqlite, tmp_path):
    study = received(sqlite, seed=1)

    done = _run(
        "studies", "show", str(study), "--out", str(tmp_path / "out"), settings=_settings(tmp_path, sqlite)
    )

    assert done.returncode == 2
    assert "has no report" in done.stderr
    assert not (tmp_path / "out").exists()


def _keep_report(database: Database, study: int, kind: str, made: Dataset) -> None:
    buffer = BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    with database.transaction() as connection:
        report = Report(
            kind=kind,
            study_id=study,
            revision=1,
            sop_class_uid=made.SOPClassUID,
            sop_instance_uid=made.SOPInstanceUID,
            series_uid=made.SeriesInstanceUID,
            content=buffer.getvalue(),
            created_at=NOW,
        )
        add_deliveries(connection, add_report(connection, report), ["archive"], now=NOW)


@pytest.mark.parametrize(("number", "words"), [(1, "nothing to send again"), (7, "there is no study 7")])
def test_what_cannot_be_sent_again_is_said(sqlite, tmp_path, number, words):
    received(sqlite, seed=1)

    done = _run("studies", "send-again", str(number), settings=_settings(tmp_path, sqlite, **REPORTING))

    assert done.returncode == 2
    assert words in done.stderr


def test_reports_that_were_not_delivered_are_told_by_the_doctor_with_the_command_that_helps(sqlite, tmp_path):
    settings = _settings(tmp_path, sqlite)
    study = received(sqlite, seed=1)
    sources = report_cases.headers()
    finding = report_cases.finding(Outcome.NEGATIVE, sources)
    _keep_report(sqlite, study, "SR", build_structured_report(finding, sources, report_cases.context()))
    before = _run("doctor", settings=settings)
    with sqlite.transaction() as connection:
        parcel = claim_delivery(connection, "archive", holder="test", lease_s=60, now=NOW)
        assert parcel is not None
        give_up_delivery(connection, parcel, error="refused", now=NOW)

    after = _run("doctor", settings=settings)

    assert "ok   deliveries" in before.stdout
    assert "FAIL deliveries: 1 report was not delivered; `ich-node studies send-again ID`" in after.stdout
    assert all(line.startswith(("ok ", "FAIL ")) for line in after.stdout.splitlines())


def test_a_refused_caller_is_listed_with_what_would_let_it_in(sqlite, tmp_path):
    callers = {"CT_1": "ICHNODE", "CT_2": "OLD_NAME", "CT_3": "ICHNODE"}
    with sqlite.transaction() as connection:
        for calling, called in [*callers.items(), ("CT_3", "ICHNODE")]:
            note_refused_caller(
                connection, calling_ae_title=calling, called_ae_title=called, address="10.1.2.3", now=NOW
            )

    done = _run("senders", "list", settings=_settings(tmp_path, sqlite), columns=40)

    told = {words.split("'")[1]: words for words in done.stdout.split("refused ")[1:]}
    assert told["CT_1"].startswith("once, last ")
    assert "to let it in:\n  ich-node senders allow CT_1 10.1.2.3" in told["CT_1"]
    assert "it calls us 'OLD_NAME'; set ICHNODE at the sender" in told["CT_2"]
    assert "senders allow" not in told["CT_2"]
    assert told["CT_3"].startswith("2 times, last ")


def test_a_caller_refused_over_tls_is_listed_with_the_failure_or_with_what_would_let_it_in(sqlite, tmp_path):
    handshake = {"calling_ae_title": "", "called_ae_title": "", "trouble": "it shows no certificate"}
    stranger = {"calling_ae_title": "WS7", "called_ae_title": "ICHNODE", "certificate_name": 'ws"7'}
    with sqlite.transaction() as connection:
        for facts in (handshake, {**stranger, "certificate_sha256": "ab" * 32}):
            note_refused_caller(connection, address="10.1.2.3", now=NOW, **facts)

    done = _run("senders", "list", settings=_settings(tmp_path, sqlite), columns=40)

    assert (
        "a caller over TLS from 10.1.2.3\n  its TLS handshake failed: it shows no certificate" in done.stdout
    )
    assert "'WS7' from 10.1.2.3 over TLS" in done.stdout
    assert "ich-node senders allow WS7 10.1.2.3 --certificate 'ws\"7'" in done.stdout
    assert "ab" * 32 in done.stdout


@pytest.mark.parametrize(("values", "words"), [({}, "mode is quiet"), ({"mode": "report"}, "no destination")])
def test_nothing_is_queued_where_nothing_may_be_sent(sqlite, tmp_path, values, words):
    study = received(sqlite, seed=1)

    done = _run("studies", "send-again", str(study), settings=_settings(tmp_path, sqlite, **values))

    assert done.returncode == 2
    assert words in done.stderr


def test_more_studies_than_a_demo_can_show_are_wrong_use():
    done = _run("demo", "--studies", "99999999")

    assert done.returncode == 2
    assert "500" in done.stderr
    assert "Traceback" not in done.stderr


def test_explain_goes_by_the_rules_of_the_site_where_settings_are_given(sqlite, tmp_path):
    write_files(ct_series(PatientAge="012Y"), tmp_path / "study")
    settings = _settings(tmp_path, sqlite, **{"analysis.minimum_age_years": 6})

    by_default = _run("explain", str(tmp_path / "study"), "--json")
    by_the_site = _run("explain", str(tmp_path / "study"), "--json", settings=settings)

    assert json.loads(by_default.stdout)["studies"][0]["reason"] == "OUT_OF_SCOPE"
    assert json.loads(by_the_site.stdout)["studies"][0]["verdict"] == "read"


def test_a_clock_that_runs_behind_what_was_written_down_is_not_well(sqlite, tmp_path):
    settings = _settings(tmp_path, sqlite)
    study = received(sqlite, seed=1)
    before = _clock_of(settings)
    with sqlite.transaction() as connection:
        append(connection, study, "study.tomorrow", now=datetime.now(UTC) + timedelta(days=1))

    after = _clock_of(settings)

    assert before.passed
    assert not after.passed
    assert "NTP" in after.words


@pytest.mark.peer
def test_a_clock_that_differs_from_the_database_servers_is_not_well(postgres, tmp_path):
    url = postgres.create("clocks", template="migrated")
    database = Database(url)
    settings = _settings(tmp_path, database)
    before = _clock_of(settings)
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(
            "create function public.clock_timestamp() returns timestamptz language sql "
            "as $$ select pg_catalog.clock_timestamp() - interval '1 minute' $$"
        )
        connection.execute("alter database clocks set search_path = public, pg_catalog")

    after = _clock_of(settings)

    database.dispose()
    postgres.drop("clocks")
    assert before.passed, before.words
    assert not after.passed
    assert "60.0 s ahead of the database's server" in after.words


def test_the_free_space_is_told_in_the_megabytes_of_the_reserve(sqlite, tmp_path):
    settings = _settings(tmp_path, sqlite)

    disk = next(check for check in examine(Given(settings_file=settings)) if check.subject == "disk")

    told_mb = float(disk.words.split()[0])
    assert told_mb == pytest.approx(shutil.disk_usage(tmp_path).free / 1e6, rel=0.02)
