"""Real head CTs from several scanners through accept, worker and reports; the shipped bundle reads."""

import shutil
import subprocess

import pytest
from bench import Room
from pydicom import dcmread
from reception import Message
from report_cases import dciodvfy

from ich_node.dicom.part10 import split
from ich_node.dicom.report import read_back

pytestmark = pytest.mark.shared

READ = ("positive", "negative", "indeterminate")
HEADS = {
    "toshiba-aquilion-5mm-study1": (READ, None, "33 slices over 157 mm"),
    "ge-hispeed-dual-tilt": (READ, None, "28 slices over 144 mm"),
    "single-ge-discovery-ct750": (("declined",), "TOO_FEW_SLICES", "Read as usual"),
    "single-hitachi-supria": (("declined",), "TOO_FEW_SLICES", "Read as usual"),
    "single-picker-pq5000": (("declined",), "TOO_FEW_SLICES", "Read as usual"),
}


def _message(file):
    header = dcmread(file, stop_before_pixels=True)
    _, dataset = split(file.read_bytes())
    return Message(
        sop_class_uid=str(header.SOPClassUID),
        sop_instance_uid=str(header.SOPInstanceUID),
        transfer_syntax_uid=str(header.file_meta.TransferSyntaxUID),
        dataset=dataset,
    )


@pytest.mark.parametrize("name", HEADS)
def test_a_real_head_is_answered_and_its_reports_are_valid(name, shared_folder, tmp_path, sqlite_url):
    from ich_node.store.database import Database

    folder = shared_folder / "data" / "dicom" / "head-ct" / name
    there = Room(tmp_path, Database(sqlite_url)).register()
    files = sorted(folder.iterdir())
    there.receive_messages(_message(file) for file in files)

    study, _, reports, _ = there.work(str(dcmread(files[0], stop_before_pixels=True).StudyInstanceUID))
    there.database.dispose()

    outcomes, reason, words = HEADS[name]
    assert study.outcome in outcomes
    assert study.reason == reason
    for report in reports:
        file = tmp_path / f"{report.kind}.dcm"
        file.write_bytes(report.content)
        assert [line for line in dciodvfy(file) if line.startswith("Error")] == []
        if report.kind == "SR":
            assert words in read_back(dcmread(file)).conclusion
            if dsrdump := shutil.which("dsrdump"):
                subprocess.run([dsrdump, "-q", file], check=True, capture_output=True)
