"""Whatever moment kills the worker, the report arrives, and arrives once."""

import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from builders import ct_series
from model_builders import tiny_bundle
from pydicom import dcmread
from reception import Message, accept

from ich_node.core.states import DeliveryState
from ich_node.delivery import serve
from ich_node.demo.node import free_port, write_settings
from ich_node.demo.pacs import stand_in_pacs
from ich_node.dicom.report import read_back
from ich_node.intake.close import close_complete_studies
from ich_node.retraining.registry import register_first
from ich_node.store.deliveries import deliveries_of
from ich_node.store.files import Archive
from ich_node.store.readings import readings_of
from ich_node.store.studies import find_study

STAGES = ("claimed", "decode", "predict", "report", "built", "commit")
PROGRAM = Path(__file__).parent / "worker_that_dies.py"


@pytest.fixture
def house(tmp_path, database):
    """Settings of a node whose worker is a process, with a bundle that reads at once."""
    bundle = tiny_bundle(tmp_path / "bundle")
    values = {
        "mode": "report",
        "bundle": str(bundle),
        "database.url": database.engine.url.render_as_string(hide_password=False),
        "storage.folder": str(tmp_path / "storage"),
        "storage.reserve_mb": 0,
        "analysis.lease_s": 1,
        "destinations": [{"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": free_port()}],
    }
    file = tmp_path / "settings.toml"
    write_settings(file, values)
    from ich_node.settings.tree import load

    loaded = load(file)
    register_first(database, loaded, now=datetime.now(UTC))
    return file, loaded


@contextmanager
def _worker(settings_file: Path, die_at: Path):
    """Keep a worker running, as systemd would."""
    stop = threading.Event()
    deaths = []

    def _keep() -> None:
        while not stop.is_set():
            process = subprocess.Popen(
                [sys.executable, PROGRAM, settings_file, die_at], stderr=subprocess.DEVNULL
            )
            while process.poll() is None and not stop.is_set():
                stop.wait(0.05)
            if process.poll() is None:
                process.terminate()
            deaths.append(process.wait(30))

    keeper = threading.Thread(target=_keep)
    keeper.start()
    try:
        yield deaths
    finally:
        stop.set()
        keeper.join(40)


def _receive(database, loaded, study) -> None:
    archive = Archive(loaded.storage.folder, reserve_mb=0)
    now = datetime.now(UTC)
    for image in study:
        assert accept(Message.of(image).received(), database=database, archive=archive, now=now).status == 0
    close_complete_studies(database, now=datetime.now(UTC), quiet_s=0, deadline_s=60)


def _wait_for_outcome(database, study_uid: str) -> object:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with database.transaction() as connection:
            found = find_study(connection, study_uid)
        if found is not None and found.outcome is not None:
            return found
        time.sleep(0.1)
    raise AssertionError("the study has no outcome after 60 s")


@pytest.mark.timeout(240)
def test_a_worker_killed_at_any_stage_still_brings_one_report_each_time(house, database, tmp_path):
    settings_file, loaded = house
    die_at = tmp_path / "die-at"
    destination = loaded.destinations[0]
    stop = threading.Event()
    deliverer = threading.Thread(target=serve.run, args=(loaded, stop))
    uids = {}

    with (
        stand_in_pacs(tmp_path / "pacs", port=destination.port) as pacs,
        _worker(settings_file, die_at) as deaths,
    ):
        deliverer.start()
        for number, stage in enumerate(STAGES):
            images = ct_series(study_uid=f"1.2.3.{number + 1}", series_uid=f"1.2.3.{number + 1}.1", slices=14)
            die_at.write_text(stage)
            _receive(database, loaded, images)
            uids[stage] = str(images[0].StudyInstanceUID)
            _wait_for_outcome(database, uids[stage])
        end = time.monotonic() + 20
        while len(pacs.files()) < 2 * len(STAGES) and time.monotonic() < end:
            time.sleep(0.1)
        stop.set()
        deliverer.join(30)
        receipts = pacs.receipts()
        reports = [dcmread(path) for path in pacs.files()]

    assert deaths.count(-9) == len(STAGES)
    assert len(receipts) == len({one.sop_instance_uid for one in receipts}) == 2 * len(STAGES)
    for stage, uid in uids.items():
        of_study = [report for report in reports if report.StudyInstanceUID == uid]
        assert sorted(report.Modality for report in of_study) == ["OT", "SR"], stage
        assert read_back(next(one for one in of_study if one.Modality == "SR")).conclusion
        with database.transaction() as connection:
            study = find_study(connection, uid)
            assert len(readings_of(connection, study.id)) == 1, stage
            assert {one.state for one in deliveries_of(connection, study.id)} == {DeliveryState.SENT}


def test_a_study_that_kills_every_worker_ends_as_failed_with_a_report(house, database, tmp_path):
    """Not one study of the test above: here nothing survives, and still there is a visible end."""
    settings_file, loaded = house
    images = ct_series(study_uid="1.2.3.99", series_uid="1.2.3.99.1", slices=14)
    _receive(database, loaded, images)
    die_at = tmp_path / "die-at"
    die_at.write_text("decode")
    stop = threading.Event()

    def _arm() -> None:
        while not stop.wait(0.02):
            if not die_at.exists():
                die_at.write_text("decode")

    armer = threading.Thread(target=_arm)
    armer.start()
    with _worker(settings_file, die_at):
        study = _wait_for_outcome(database, "1.2.3.99")
    stop.set()
    armer.join()

    assert (study.outcome, study.reason) == ("failed", "MODEL_FAILED")
    with database.transaction() as connection:
        assert [one.state for one in deliveries_of(connection, study.id)] == [DeliveryState.PENDING] * 2
