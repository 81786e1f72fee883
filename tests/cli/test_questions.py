"""What the asking commands say of a node that has something to tell: studies, quarantine, clocks."""

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from builders import ct_series, write_files
from learning import NOW, received

from ich_node.cli.context import Given
from ich_node.cli.doctor import Check, examine
from ich_node.demo.node import write_settings
from ich_node.store.database import Database
from ich_node.store.deliveries import deliveries_of
from ich_node.store.history import append
from ich_node.store.quarantine import Quarantined, add_quarantined
from ich_node.store.readings import Report, add_report

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
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    shown = NOW.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    assert cells == [str(study), shown, "finished", "positive", "", "1", "A17[b]"]


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
