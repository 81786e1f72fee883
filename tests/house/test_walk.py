"""A study walks in by C-STORE and its report walks out, through real processes and others' programs."""

import json
import os
import signal
import subprocess
from urllib.request import urlopen

import psutil
import pytest
from builders import ct_series, phantom_study, write_files
from pydicom import dcmread
from pynetdicom import _config
from reception import Message, count, eventually, send_messages

from ich_node.core.rooms import ROOMS
from ich_node.demo.follow import follow
from ich_node.demo.result import result_of
from ich_node.demo.scanner import send
from ich_node.dicom.report import read_back
from ich_node.network import listens

pytestmark = [pytest.mark.peer, pytest.mark.timeout(240)]


def _walk(house, images):
    sent = send(images, "127.0.0.1", house.node.port)
    uid = str(images[0].StudyInstanceUID)
    walked = follow(house.node.database, [uid], within_s=90, tell=lambda _uid, _stage: None)[uid]
    return [one.status for one in sent], walked


def test_a_study_that_dcmtk_sends_comes_back_as_sr_and_picture_at_both_destinations(house, dcmtk, tmp_path):
    images = phantom_study(11, bleed="deep", size=256)
    files = write_files(images, tmp_path / "study")
    before = len(list(house.storescp_folder.iterdir()))

    subprocess.run(
        [dcmtk.storescu, "-aet", "CT1", "-aec", "ICHNODE", "127.0.0.1", str(house.node.port), *files],
        check=True,
        env={**os.environ, "TCP_NODELAY": "1"},  # noqa: TID251  DCMTK waits 40 ms a file otherwise
    )
    uid = str(images[0].StudyInstanceUID)
    walked = follow(house.node.database, [uid], within_s=90, tell=lambda _uid, _stage: None)[uid]

    assert walked.study.outcome in ("positive", "negative", "indeterminate")
    kinds = {report.kind: report for report in walked.reports}
    received = dcmread(house.pacs.folder / f"{kinds['SR'].sop_instance_uid}.dcm")
    assert read_back(received).bundle_sha256 == walked.leading.bundle_sha256
    assert "35 slices" in read_back(received).conclusion or "slices over" in read_back(received).conclusion
    assert {path.name[:2] for path in house.storescp_folder.iterdir()} >= {"SR", "SC"}
    assert len(list(house.storescp_folder.iterdir())) == before + 2
    result = result_of(walked)
    assert len(result["slice_probabilities"]) == len(images) - 1  # the localizer is no slice


@pytest.mark.filterwarnings("ignore:Expected explicit VR")  # pynetdicom reads the garbage that it sends
def test_what_belongs_to_no_study_is_refused_in_words_and_listed(house, tmp_path, monkeypatch):
    monkeypatch.setattr(_config, "STORE_SEND_CHUNKED_DATASET", True)  # sends bytes as they are
    image = ct_series(slices=1)[0]
    nameless = ct_series(slices=1, missing=["StudyInstanceUID"])[0]
    garbage = Message(
        sop_class_uid=image.SOPClassUID, sop_instance_uid="1.2.3.4.5", dataset=b"this is no data set"
    )

    responses = send_messages(
        house.node.port, [garbage, Message.of(nameless)], tmp_path, calling="CT1", called="ICHNODE"
    )

    assert [0xC000 <= response.Status <= 0xCFFF for response in responses] == [True, True]
    assert all(response.ErrorComment for response in responses)
    assert count(house.node.database, "quarantine") == 2


def test_a_study_without_ct_is_recorded_and_gets_no_report(house):
    images = ct_series(
        modality="MR",
        sop_class="1.2.840.10008.5.1.4.1.1.4",
        slices=12,
        study_uid="1.2.3.70",
        series_uid="1.2.3.71",
    )

    statuses, walked = _walk(house, images)

    assert set(statuses) == {0}
    assert (walked.study.outcome, walked.study.reason) == ("ignored", "NOT_CT")
    assert walked.reports == ()


def test_three_slices_are_declined_with_a_report_that_says_why(house):
    images = ct_series(slices=3, study_uid="1.2.3.72", series_uid="1.2.3.73")

    statuses, walked = _walk(house, images)

    assert set(statuses) == {0}
    assert (walked.study.outcome, walked.study.reason) == ("declined", "TOO_FEW_SLICES")
    kinds = {report.kind: report for report in walked.reports}
    said = read_back(dcmread(house.pacs.folder / f"{kinds['SR'].sop_instance_uid}.dcm"))
    assert said.reason == "TOO_FEW_SLICES"
    assert "Read as usual" in said.conclusion


@pytest.mark.parametrize("command", ["receive", "work", "deliver", "schedule"])
def test_killing_one_process_disturbs_no_other_and_the_next_study_is_answered(house, command):
    uid = f"1.2.3.80.{len(command)}{ord(command[0])}"
    victim = next(
        process
        for process in psutil.process_iter(["cmdline", "environ"])
        if (process.info["cmdline"] or [])[-2:] == ["ich_node", command]
        and (process.info["environ"] or {}).get("ICH_NODE_SETTINGS") == str(house.node.settings_file)
    )
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait(10)
    images = ct_series(slices=14, study_uid=uid, series_uid=f"{uid}.1")

    eventually(lambda: listens("127.0.0.1", house.node.port), within_s=40)
    send(images, "127.0.0.1", house.node.port)
    walked = follow(house.node.database, [uid], within_s=90, tell=lambda _uid, _stage: None)[uid]

    assert walked.study.outcome is not None
    assert len(walked.deliveries) == 2 * len(walked.reports)


def test_nothing_of_a_patient_is_in_the_log(house):
    images = phantom_study(12, size=256)

    _walk(house, images)

    log = house.node.log_file.read_text(encoding="utf-8")
    first = images[0]
    for secret in (first.PatientID, str(first.PatientName), first.PatientBirthDate, first.AccessionNumber):
        assert str(secret) not in log


def test_every_room_of_a_running_node_is_well_and_the_metrics_know_what_walked(house):
    def health():
        try:
            with urlopen(f"http://127.0.0.1:{house.node.web_port}/health", timeout=30) as answer:
                return json.loads(answer.read())
        except OSError:  # HTTP 503 too
            return None

    found = eventually(health, within_s=60)
    with urlopen(f"http://127.0.0.1:{house.node.web_port}/metrics", timeout=30) as answer:
        text = answer.read().decode()

    assert {name: room["ok"] for name, room in found["rooms"].items()} == dict.fromkeys(ROOMS, True)
    received = count(house.node.database, "studies")
    assert f"ich_node_studies_received_total {float(received)}\n" in text
    assert f'ich_node_room_up{{room="work"}} {1.0}\n' in text
