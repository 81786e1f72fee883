"""`doctor DESTINATION --send-test-report`: what it says of real peers and of odd ones, and what it sends."""

import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from odd_pacs import listing
from outbox import SC, SR, peer, reading_slowly, storescp
from peers import Dcmtk, OrthancServer
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, _config, evt
from reception import count, settings_for

from ich_node.cli.check import Check
from ich_node.cli.destinations import examine_destination
from ich_node.cli.trial import examine_by_test_report
from ich_node.delivery import trial
from ich_node.demo.node import write_settings
from ich_node.demo.pacs import stand_in_pacs
from ich_node.dicom.commitment import PUSH_MODEL, PUSH_MODEL_INSTANCE
from ich_node.network import FIND
from ich_node.settings.tree import Settings
from ich_node.store.database import Database

ENHANCED_SR = "1.2.840.10008.5.1.4.1.1.88.22"


@pytest.fixture(autouse=True)
def _peers_negotiate_as_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_config, "UNRESTRICTED_STORAGE_SERVICE", False)
    monkeypatch.setattr(trial, "PAUSES_S", (0.1, 0.4, 1.5))
    monkeypatch.setattr(trial, "LINGER_S", 2.0)


def _settings(
    folder: Path, port: int, *, ae_title: str = "PACS", timeout_s: float = 5, **pacs: Any
) -> Settings:
    destination = {"name": "pacs", "ae_title": ae_title, "host": "127.0.0.1", "port": port, **pacs}
    delivery = {"timeout_s": timeout_s}
    return settings_for(folder, "", port, destinations=[destination], delivery=delivery)


def _try_out(folder: Path, port: int, **pacs: Any) -> list[Check]:
    """All that the doctor says of a destination beyond what it says without a test report."""
    settings = _settings(folder, port, **pacs)
    (destination,) = settings.destinations
    without = list(examine_destination(destination, settings))
    all_of_it = list(examine_destination(destination, settings, test_study_uid=generate_uid(prefix=None)))
    return all_of_it[len(without) :]


def _wrong(checks: list[Check]) -> str:
    return "\n".join(check.words for check in checks if not check.passed)


@pytest.mark.peer
@pytest.mark.parametrize(
    ("confirm", "words"),
    [
        ("none", "is not proven (confirm is none)"),
        ("find", "the destination lists it (C-FIND)"),
        # it answers our receiver, which does not run here
        ("commitment", "has not answered yet; the destination lists it (C-FIND)"),
    ],
)
def test_orthanc_takes_both_and_is_asked_as_the_settings_say(
    tmp_path: Path, orthanc: OrthancServer, confirm: str, words: str
) -> None:
    where, report, picture = _try_out(tmp_path, orthanc.port, ae_title=orthanc.ae_title, confirm=confirm)

    assert _wrong([where, report, picture]) == ""
    assert "ICH NODE TEST^NO PATIENT, ID ICHNODE-TEST" in where.words
    assert "it took the report (SR) as Comprehensive SR Storage" in report.words
    assert "it took the picture (SC) as Secondary Capture Image Storage" in picture.words
    assert words in report.words
    assert words in picture.words


@pytest.mark.peer
def test_dcmtk_gets_a_report_that_says_that_it_is_a_test_and_can_prove_nothing(
    tmp_path: Path, free_port: int, dcmtk: Dcmtk
) -> None:
    with storescp(dcmtk, tmp_path / "taken", free_port):
        checks = _try_out(tmp_path, free_port, confirm="find")

    took = {dcmread(file).Modality: dcmread(file) for file in (tmp_path / "taken").iterdir()}
    assert took.keys() == {"SR", "OT"}
    assert {one.StudyDescription for one in took.values()} == {"TEST BY ICH NODE, NO PATIENT, MAY BE DELETED"}
    assert "it is not proven that it keeps it: set confirm to another way" in _wrong(checks)


def test_without_the_option_no_object_is_sent_and_with_it_each_run_sends_others(tmp_path: Path) -> None:
    with stand_in_pacs(tmp_path / "pacs") as pacs:
        settings = _settings(tmp_path, pacs.port)
        list(examine_destination(settings.destinations[0], settings))
        before = pacs.files()
        for _ in range(2):
            _try_out(tmp_path, pacs.port)

        assert before == []
        assert len(pacs.files()) == 4


@pytest.mark.parametrize("confirm", ["find", "commitment"])
def test_a_pacs_that_accepts_and_forgets_is_named_as_such(
    tmp_path: Path, free_port: int, confirm: str
) -> None:
    with _archive(free_port, keeps=lambda _kept, _one: False):
        checks = _try_out(tmp_path, free_port, confirm=confirm)

    assert [check.passed for check in checks] == [True, False, False]
    if confirm == "find":
        assert "it took the report (SR)" in _wrong(checks)
        assert "does not list it (C-FIND)" in _wrong(checks)
        assert "it accepts and forgets" in _wrong(checks)
    else:
        assert "does not keep it (Storage Commitment, failure reason 0112)" in _wrong(checks)


@pytest.mark.parametrize("confirm", ["find", "commitment"])
def test_a_pacs_that_keeps_what_it_takes_proves_it_on_the_spot(
    tmp_path: Path, free_port: int, confirm: str
) -> None:
    with _archive(free_port):
        _, report, picture = _try_out(tmp_path, free_port, confirm=confirm)

    proof = {"find": "the destination lists it", "commitment": "the destination committed to keep it"}
    assert (report.passed, picture.passed) == (True, True)
    assert proof[confirm] in report.words
    assert proof[confirm] in picture.words


def test_an_archive_that_lists_late_is_asked_again(tmp_path: Path, free_port: int) -> None:
    with _archive(free_port, late_s=0.3):
        _, report, picture = _try_out(tmp_path, free_port, confirm="find")

    assert (report.passed, picture.passed) == (True, True)


@pytest.mark.parametrize("refuses_by", ["context", "status"])
def test_a_pacs_that_refuses_the_report_s_class_gets_it_in_the_next_one_and_is_asked_about_that(
    tmp_path: Path, free_port: int, refuses_by: str
) -> None:
    classes = [ENHANCED_SR, SC] if refuses_by == "context" else [SR, ENHANCED_SR, SC]
    with _archive(free_port, classes=classes, refuses=lambda _kept, one: 0x0122 * (one.SOPClassUID == SR)):
        _, report, _ = _try_out(tmp_path, free_port, confirm="find")

    assert report.passed
    assert "it took the report (SR) as Enhanced SR Storage" in report.words
    assert "the destination lists it (C-FIND)" in report.words


def test_a_pacs_that_takes_no_report_at_all_is_told_what_it_should_accept(
    tmp_path: Path, free_port: int
) -> None:
    with _archive(free_port, refuses=lambda _kept, one: 0x0122 * (one.Modality == "SR")):
        _, report, picture = _try_out(tmp_path, free_port)

    assert not report.passed
    assert "refused the object for good (status 0122)" in report.words
    assert "have it accept Comprehensive SR Storage" in report.words
    assert picture.passed


def test_of_a_pacs_without_pictures_the_report_alone_is_tried(tmp_path: Path, free_port: int) -> None:
    with _archive(free_port, classes=[SR]) as kept:
        checks = _try_out(tmp_path, free_port, confirm="find")

    assert [check.passed for check in checks] == [True, True]
    assert [one.Modality for one in kept] == ["SR"]


def _is_lost(kept: list[Dataset], one: Dataset) -> bool:
    return one.Modality == "SR" and not any(other.StudyInstanceUID == one.StudyInstanceUID for other in kept)


@pytest.mark.parametrize("by", ["refusing", "forgetting"])
@pytest.mark.parametrize(("wait_for_images_s", "passed"), [(0, False), (600, True)])
def test_a_pacs_that_wants_the_images_first_is_found_out_and_the_setting_is_named(
    tmp_path: Path, free_port: int, by: str, wait_for_images_s: float, passed: bool
) -> None:
    odd: dict[str, Any] = (
        {"refuses": lambda kept, one: 0xC000 * _is_lost(kept, one)}
        if by == "refusing"
        else {"keeps": lambda kept, one: not _is_lost(kept, one)}
    )
    with _archive(free_port, **odd):
        checks = _try_out(tmp_path, free_port, confirm="find", wait_for_images_s=wait_for_images_s)

    _, report, picture = checks
    assert picture.passed
    assert report.passed is passed
    assert "it took and kept the report (SR) only once it had an image of the same study" in report.words
    assert ("set wait_for_images_s (600, say)" in report.words) is not passed


def test_a_status_of_the_moment_is_said_with_where_to_look(tmp_path: Path, free_port: int) -> None:
    with _archive(free_port, refuses=lambda _kept, _one: 0xA700):
        checks = _try_out(tmp_path, free_port)

    assert [check.passed for check in checks] == [False, False]
    assert "did not take the object (status A700); its own log says more" in _wrong(checks)


@pytest.mark.parametrize("slow", ["answers late", "reads a byte a second"])
def test_one_that_is_too_slow_is_left_in_time_and_the_setting_is_named(
    tmp_path: Path, free_port: int, slow: str
) -> None:
    settings, ended = _settings(tmp_path, free_port, timeout_s=0.5), threading.Event()

    def late(_event: Any) -> int:
        ended.wait(20)
        return 0

    with peer(free_port, [SR, SC], late) if slow == "answers late" else reading_slowly(free_port, 1, 1.0):
        study = {"takes": (SR, SC), "study_uid": generate_uid(prefix=None)}
        checks = list(examine_by_test_report(settings.destinations[0], settings, **study))
        ended.set()

    assert "raise delivery.timeout_s (0.5 s)" in checks[0].words
    assert "the picture (SC) was not tried any more" in checks[1].words
    assert len(checks) == 2


def test_a_destination_that_is_away_gets_none(tmp_path: Path, free_port: int) -> None:
    assert _try_out(tmp_path, free_port) == []


@pytest.mark.peer
def test_the_command_sends_it_where_it_is_told_and_writes_it_into_the_audit_trail(
    sqlite_url: str, tmp_path: Path, free_port: int, dcmtk: Dcmtk
) -> None:
    settings = _written(tmp_path, sqlite_url, free_port)

    with storescp(dcmtk, tmp_path / "taken", free_port):
        quiet = _doctor(settings, "pacs")
        before = list((tmp_path / "taken").iterdir())
        done = _doctor(settings, "pacs", "--send-test-report")

    database = Database(sqlite_url)
    command = b64encode(b"doctor --send-test-report").decode()
    assert (quiet.returncode, before) == (0, [])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok   destination pacs: test: it took the report (SR)" in done.stdout
    took = [dcmread(file) for file in (tmp_path / "taken").iterdir()]
    assert {one.Modality for one in took} == {"SR", "OT"}
    about = f"message like '%{took[0].StudyInstanceUID}%' and message like '%{command}%'"
    assert count(database, "audit_events", about) == 1
    assert count(database, "deliveries") == 0
    database.dispose()


def test_it_goes_out_without_a_database_and_that_is_said(tmp_path: Path) -> None:
    with stand_in_pacs(tmp_path / "pacs") as pacs:
        settings = _written(tmp_path, f"sqlite:///{tmp_path}/none.sqlite", pacs.port)
        done = _doctor(settings, "pacs", "--send-test-report")

        assert len(pacs.files()) == 2
    assert done.returncode == 1
    assert "FAIL audit trail: that a test report was sent is not in it" in done.stdout


def test_no_destination_gets_one_that_was_not_named(tmp_path: Path, free_port: int) -> None:
    done = _doctor(_written(tmp_path, f"sqlite:///{tmp_path}/none.sqlite", free_port), "--send-test-report")

    assert done.returncode == 2
    assert "name the destination" in done.stderr


def _written(folder: Path, url: str, port: int) -> Path:
    file = folder / "settings.toml"
    pacs = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": port}
    own = {"database.url": url, "storage.folder": str(folder / "storage"), "storage.reserve_mb": 0}
    write_settings(file, {**own, "destinations": [pacs]})
    return file


def _doctor(settings: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ich_node", "--settings", str(settings), "doctor", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "COLUMNS": "200"},
    )


Judge = Callable[[list[Dataset], Dataset], int]  # of what it keeps already and what comes


@contextmanager
def _archive(
    port: int,
    *,
    classes: Sequence[str] = (SR, SC),
    refuses: Judge = lambda _kept, _one: 0,
    keeps: Judge = lambda _kept, _one: True,
    late_s: float = 0.0,
) -> Iterator[list[Dataset]]:
    """An archive with habits of its own: with which status it refuses, what it keeps, how late it lists."""
    kept: list[Dataset] = []

    def store(event: Any) -> int:
        one: Dataset = event.dataset
        status = refuses(kept, one)
        if status == 0 and keeps(kept, one):
            if late_s:
                threading.Timer(late_s, kept.append, [one]).start()
            else:
                kept.append(one)
        return status

    entity = AE(ae_title="PACS")
    for sop_class in (*classes, FIND, PUSH_MODEL):
        entity.add_supported_context(sop_class)
    handlers: list[Any] = [
        (evt.EVT_C_STORE, store),
        (evt.EVT_C_FIND, listing(kept)),
        (evt.EVT_N_ACTION, lambda event: _answer_later(event, kept)),
    ]
    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
    assert server is not None
    try:
        yield kept
    finally:
        server.shutdown()


def _answer_later(event: Any, kept: Sequence[Dataset]) -> tuple[int, None]:
    """Answer a request for Storage Commitment on its own association."""
    told, uids = Dataset(), {one.SOPInstanceUID for one in kept}
    told.TransactionUID = event.action_information.TransactionUID
    items = [Dataset(item) for item in event.action_information.ReferencedSOPSequence]
    told.ReferencedSOPSequence = [one for one in items if one.ReferencedSOPInstanceUID in uids]
    told.FailedSOPSequence = [one for one in items if one.ReferencedSOPInstanceUID not in uids]
    for one in told.FailedSOPSequence:
        one.FailureReason = 0x0112
    answer = (told, 2 if told.FailedSOPSequence else 1, PUSH_MODEL, PUSH_MODEL_INSTANCE)
    threading.Timer(0.1, event.assoc.send_n_event_report, answer).start()
    return 0, None
