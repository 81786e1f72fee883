"""The stand-in PACS over real associations: from our scanner and from DCMTK, in threads and as a process."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from builders import ct_series, write_files
from pydicom import dcmread

from ich_node.demo.pacs import stand_in_pacs
from ich_node.demo.scanner import send
from ich_node.errors import DeliveryFailed


def test_what_the_scanner_sends_is_kept_whole(tmp_path: Path) -> None:
    series = ct_series(slices=4)

    with stand_in_pacs(tmp_path / "archive") as pacs:
        sent = send(series, "127.0.0.1", pacs.port, called_ae="PACS")
        receipts, files = pacs.receipts(), pacs.files()

    assert [item.status for item in sent] == [0, 0, 0, 0]
    assert [item.sop_instance_uid for item in sent] == [image.SOPInstanceUID for image in series]
    assert {file.stem for file in files} == {image.SOPInstanceUID for image in series}
    assert {receipt.calling_ae for receipt in receipts} == {"CT1"}
    for image in series:
        assert dcmread(tmp_path / "archive" / f"{image.SOPInstanceUID}.dcm") == image


def test_each_study_is_sent_by_an_association_of_its_own(tmp_path: Path) -> None:
    mixed = [*ct_series(seed=1, slices=2), *ct_series(seed=2, slices=2)]
    reported = []

    with stand_in_pacs(tmp_path) as pacs:
        send(
            write_files(mixed, tmp_path / "in"),
            "127.0.0.1",
            pacs.port,
            called_ae="PACS",
            on_sent=reported.append,
        )

        assert len(pacs.files()) == 4
    assert [item.status for item in reported] == [0] * 4


def test_it_refuses_as_often_as_it_is_told_and_keeps_nothing_of_that(tmp_path: Path) -> None:
    series = ct_series(slices=3)

    with stand_in_pacs(tmp_path) as pacs:
        pacs.refuse(2, 0xA700)
        first = send(series, "127.0.0.1", pacs.port, called_ae="PACS")
        kept = len(pacs.files())
        again = send(series, "127.0.0.1", pacs.port, called_ae="PACS")

        assert [receipt.status for receipt in pacs.receipts()] == [0xA700, 0xA700, 0, 0, 0, 0]
    assert [item.status for item in first] == [0xA700, 0xA700, 0]
    assert kept == 1
    assert [item.status for item in again] == [0, 0, 0]


def test_it_can_be_slow(tmp_path: Path) -> None:
    with stand_in_pacs(tmp_path, delay_s=0.2) as pacs:
        started = time.monotonic()
        send(ct_series(slices=2), "127.0.0.1", pacs.port, called_ae="PACS")

        assert time.monotonic() - started > 0.4


def test_it_rejects_those_who_call_it_by_another_name(tmp_path: Path) -> None:
    with stand_in_pacs(tmp_path) as pacs, pytest.raises(DeliveryFailed, match="NOBODY"):
        send(ct_series(slices=1), "127.0.0.1", pacs.port, called_ae="NOBODY")


# pynetdicom 3.0 leaves the socket of a refused connection to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_sender_whom_nobody_answers_is_told(tmp_path: Path) -> None:
    with stand_in_pacs(tmp_path) as pacs:
        port = pacs.port

    with pytest.raises(DeliveryFailed):
        send(ct_series(slices=1), "127.0.0.1", port, called_ae="PACS")


@pytest.mark.peer
@pytest.mark.usefixtures("dcmtk")
def test_it_receives_from_storescu_and_answers_findscu_and_echoscu(tmp_path: Path) -> None:
    series = ct_series(slices=3)
    files = write_files(series, tmp_path / "in")

    with stand_in_pacs(tmp_path / "archive") as pacs:
        peer = ["-aec", "PACS", "127.0.0.1", str(pacs.port)]
        subprocess.run(["echoscu", *peer], check=True, capture_output=True)
        subprocess.run(["storescu", "-R", *peer, *files], check=True, capture_output=True)
        wanted = f"SOPInstanceUID={series[1].SOPInstanceUID}"
        query = ["findscu", "-S", "-k", "QueryRetrieveLevel=IMAGE", "-k", wanted, *peer]
        found = subprocess.run(query, check=True, capture_output=True, text=True).stderr

        assert {file.stem for file in pacs.files()} == {image.SOPInstanceUID for image in series}
    assert found.count("Find Response: ") == 1
    assert str(series[1].SeriesInstanceUID) in found


def test_as_a_process_it_tells_its_port_and_ends_when_asked(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ich_node.demo.pacs", "--folder", str(tmp_path), "--ae-title", "ARCHIVE"]
    options = ["--refuse-next", "1", "--refuse-status", "A900"]

    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        place = json.loads(process.stdout.readline())
        sent = send(ct_series(slices=2), "127.0.0.1", place["port"], called_ae=place["ae_title"])
        process.send_signal(signal.SIGTERM)

        assert process.wait(10) == 0
    assert [item.status for item in sent] == [0xA900, 0]
    assert len(list(tmp_path.glob("*.dcm"))) == 1
