"""`ich-node fetch` as a person meets it: with Orthanc as the PACS, and what it says before it asks one."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from click.testing import CliRunner, Result
from odd_pacs import PACS, begun, listing, node, odd_pacs, sending, study
from peers import OrthancServer
from pydicom.dataset import Dataset
from reception import count, eventually, receiving
from typer.main import get_command

from ich_node.cli.app import app
from ich_node.cli.doctor import check_sources
from ich_node.demo.node import write_settings
from ich_node.demo.scanner import send
from ich_node.errors import IchNodeError, UsageError
from ich_node.settings.tree import Settings
from ich_node.store.database import Database


@pytest.fixture
def sqlite(sqlite_url: str) -> Iterator[Database]:
    opened = Database(sqlite_url)
    yield opened
    opened.dispose()


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()  # the command logs to a standard error that is closed with its test


def settings_file(settings: Settings) -> Path:
    file = settings.storage.folder.parent / "settings.toml"
    write_settings(file, settings.model_dump(mode="json", exclude_unset=True))
    return file


def command(settings: Settings, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "ich_node", "--settings", str(settings_file(settings)), "fetch", *arguments]


TWO = [{"name": name, "ae_title": PACS, "host": "127.0.0.1", "port": 104} for name in ("old", "new")]
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "COLUMNS": "400"}


def run_fetch(settings: Settings, *arguments: str) -> Result:
    return CliRunner().invoke(get_command(app), command(settings, *arguments)[3:])


def archived(orthanc: OrthancServer, accession: str, *seeds: int) -> list[Dataset]:
    """Put one study for each seed into Orthanc, all under one accession number."""
    images = [image for seed in seeds for image in study(accession, seed=seed)]
    assert {one.status for one in send(images, "127.0.0.1", orthanc.port, called_ae=PACS)} == {0}
    return images


@pytest.mark.peer
def test_every_study_of_the_accession_number_comes_and_nothing_of_a_patient_is_shown(
    orthanc: OrthancServer, sqlite: Database, tmp_path: Path
) -> None:
    images = archived(orthanc, "A-2001", 2001, 2002)
    archived(orthanc, "A-2003", 2003)
    settings = node(tmp_path, sqlite, orthanc.node_port, pacs_port=orthanc.port)

    with receiving(settings):
        done = run_fetch(settings, "A-2001")

    assert done.exit_code == 0, done.output
    assert "pacs has 2 studies with accession number A-2001:" in done.stdout
    assert "CT, 1 series, 4 images" in done.stdout
    assert done.stdout.count("all 4 images of the PACS are here") == 2
    assert count(sqlite, "instances") == len(images) == 8
    assert count(sqlite, "studies", "accession_number = 'A-2001'") == 2
    for secret in (images[0].PatientID, str(images[0].PatientName), images[0].PatientBirthDate):
        assert secret not in done.output


@pytest.mark.peer
def test_a_number_that_the_pacs_does_not_know_is_nothing_to_read(
    orthanc: OrthancServer, sqlite: Database, tmp_path: Path
) -> None:
    settings = node(tmp_path, sqlite, orthanc.node_port, pacs_port=orthanc.port)

    with receiving(settings):
        done = run_fetch(settings, "A-0000")

    assert done.exit_code == 3, done.output
    assert "pacs has no study with accession number A-0000" in done.stdout


@pytest.mark.peer
def test_orthanc_that_does_not_know_us_is_told_with_what_to_enter_there(
    orthanc: OrthancServer, sqlite: Database, tmp_path: Path, free_port: int
) -> None:
    archived(orthanc, "A-2004", 2004)
    stranger = {"ae_title": "STRANGER", "host": "0.0.0.0"}
    settings = node(tmp_path, sqlite, free_port, pacs_port=orthanc.port, receiver=stranger)

    with receiving(settings):
        done = run_fetch(settings, "A-2004")

    assert done.exit_code == 1, done.output
    assert f"must know us as AE title STRANGER, host 127.0.0.1, port {free_port}" in done.stdout
    assert "missing: 4 of 4 images of series 2" in done.stdout


def test_a_pacs_that_sends_under_another_title_is_named_with_what_lets_it_in(
    sqlite: Database, tmp_path: Path, free_port: int
) -> None:
    images = study()
    with odd_pacs(listing(images), sending(images, free_port)) as port:
        other = [{"name": "pacs", "ae_title": "QUERY", "host": "127.0.0.1", "port": port}]
        senders = [{"ae_title": "QUERY", "address": "127.0.0.1"}]
        settings = node(tmp_path, sqlite, free_port, pacs_port=port, sources=other, senders=senders)
        with receiving(settings):
            done = run_fetch(settings, "A-1")

    assert done.exit_code == 1, done.output
    assert "meanwhile the receiver refused 'ORTHANC' from 127.0.0.1" in done.stdout
    assert "ich-node senders allow ORTHANC 127.0.0.1" in done.stdout


def test_ctrl_c_cancels_the_transfer(sqlite: Database, tmp_path: Path, free_port: int) -> None:
    images = study()
    one_sent, cancelled = threading.Event(), threading.Event()

    def move(event: Any) -> Iterator[Any]:
        yield from begun(sending(images, free_port)(event), images=1)
        one_sent.set()
        eventually(lambda: event.is_cancelled, within_s=60)
        cancelled.set()
        yield 0xFE00, None

    with odd_pacs(listing(images), move) as port:
        settings = node(tmp_path, sqlite, free_port, pacs_port=port)
        with (
            receiving(settings),
            subprocess.Popen(
                command(settings, "A-1"), stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
            ) as process,
        ):
            assert one_sent.wait(200)
            process.send_signal(signal.SIGINT)
            said, _ = process.communicate(timeout=200)

    assert cancelled.is_set()
    assert process.returncode == 1
    assert "1 image sent" in said
    assert "it was cancelled" in said
    assert count(sqlite, "instances") == 1


@pytest.mark.parametrize(
    ("sections", "arguments", "words", "kind"),
    [
        ({}, ["A*"], "wildcards", UsageError),
        ({}, [" "], "every study", UsageError),
        ({"sources": []}, ["A-1"], "[[sources]]", UsageError),
        ({}, ["A-1", "--from", "other"], "the settings name: pacs", UsageError),
        ({"sources": TWO}, ["A-1"], "--from NAME: old, new", UsageError),
        ({"senders": []}, ["A-1"], "senders allow ORTHANC 127.0.0.1", UsageError),
        ({}, ["A-1"], "the receiver does not run", IchNodeError),
    ],
)
def test_what_would_be_in_vain_is_said_before_the_pacs_is_asked(
    sqlite: Database,
    tmp_path: Path,
    free_port: int,
    sections: dict[str, Any],
    arguments: list[str],
    words: str,
    kind: type[IchNodeError],
) -> None:
    settings = node(tmp_path, sqlite, free_port, pacs_port=1, **sections)

    done = run_fetch(settings, *arguments)

    assert type(done.exception) is kind
    assert words in str(done.exception)


@pytest.mark.parametrize(
    ("senders", "passed", "words"),
    [
        ([{"ae_title": PACS, "address": "127.0.0.0/8"}], True, "answers C-ECHO as ORTHANC at 127.0.0.1"),
        ([{"ae_title": PACS, "address": "10.1.2.3"}], False, "add ORTHANC at 127.0.0.1 to [[senders]]"),
    ],
)
def test_the_doctor_says_whether_a_pacs_answers_and_may_send(
    sqlite: Database,
    tmp_path: Path,
    free_port: int,
    senders: list[dict[str, str]],
    passed: bool,
    words: str,
) -> None:
    with odd_pacs(listing([]), None) as port:
        settings = node(tmp_path, sqlite, free_port, pacs_port=port, senders=senders)
        (check,) = check_sources(settings)

    assert check.passed is passed
    assert words in check.words
