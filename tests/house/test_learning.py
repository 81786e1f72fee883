"""Labels walk in, a better network may walk out: the whole way of learning, by the commands an admin has."""

import csv
import re
import subprocess
import sys

import pytest
from builders import phantom_study
from pydicom import dcmread

from ich_node.demo.follow import follow
from ich_node.demo.node import running_node
from ich_node.demo.pacs import stand_in_pacs
from ich_node.demo.scanner import send
from ich_node.dicom.report import read_back

STUDIES = 12
FIRST_SEED = 4200
PLACES = ("deep", "lobar", "subtentorial")


def _command(node, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "ich_node", "--settings", str(node.settings_file), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def _walk(node, images):
    send(images, "127.0.0.1", node.port)
    uid = str(images[0].StudyInstanceUID)
    return follow(node.database, [uid], within_s=120, tell=lambda _uid, _stage: None)[uid]


def _said(walked, pacs):
    report = next(report for report in walked.reports if report.kind == "SR")
    return read_back(dcmread(pacs.folder / f"{report.sop_instance_uid}.dcm"))


def _write_labels(path, labelled):
    columns = ["study_uid", "hemorrhage", "location", "reader", "read_at", "saw_result", "confidence"]
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(columns)
        for uid, place in labelled.items():
            verdict = ("present", place) if place else ("absent", "")
            table.writerow([uid, *verdict, "reader-1", "2026-11-24T10:00:00+00:00", "no", "1.0"])


@pytest.mark.timeout(900)
def test_a_retrained_network_serves_only_through_the_gate_and_goes_back_by_one_command(tmp_path):
    settings = {"completion.quiet_s": 1, "retraining.epochs": 1}
    with (
        stand_in_pacs(tmp_path / "pacs") as pacs,
        running_node(tmp_path / "node", pacs_port=pacs.port, settings=settings) as node,
    ):
        places = [PLACES[number % 3] if number % 2 else None for number in range(STUDIES)]
        studies = [phantom_study(FIRST_SEED + n, bleed=place, size=256) for n, place in enumerate(places)]
        labelled = {
            str(images[0].StudyInstanceUID): place for images, place in zip(studies, places, strict=True)
        }
        send([image for images in studies for image in images], "127.0.0.1", node.port)
        first = follow(node.database, list(labelled), within_s=240, tell=lambda _uid, _stage: None)
        _write_labels(tmp_path / "labels.csv", labelled)

        imported = _command(node, "labels", "import", str(tmp_path / "labels.csv"))
        started = _command(node, "retrain", "start")
        watched = _command(node, "retrain", "watch")
        listed = _command(node, "bundles", "list")
        candidate = _candidate(watched.stdout + listed.stdout)
        too_thin = _command(node, "bundles", "promote", candidate)
        _lower_the_gate(node)
        promoted = _command(node, "bundles", "promote", candidate)
        after_promotion = _said(_walk(node, phantom_study(FIRST_SEED + 100, size=256)), pacs)
        back = _command(node, "bundles", "rollback")
        after_rollback = _said(_walk(node, phantom_study(FIRST_SEED + 101, size=256)), pacs)

    (before,) = {walked.leading.bundle_sha256 for walked in first.values()}
    assert imported.returncode == 0, imported.stdout + imported.stderr
    assert started.returncode == 0, started.stderr
    assert watched.returncode == 0, watched.stdout + watched.stderr
    assert too_thin.returncode == 1
    assert "100" in too_thin.stderr
    assert promoted.returncode == 0, promoted.stderr
    assert after_promotion.bundle_sha256 not in (None, before)
    assert "lower" in after_promotion.conclusion
    assert back.returncode == 0, back.stderr
    assert after_rollback.bundle_sha256 == before
    assert "lower" not in after_rollback.conclusion


def _candidate(text):
    found = re.findall(r"retrained[\w-]*", text)
    assert found, text
    return found[0]


def _lower_the_gate(node):
    with node.settings_file.open("a", encoding="utf-8") as file:
        file.write("gate.minimum_patients = 2\n")
