"""The search for patients in logs can fail: one planted trace is found in every encoding."""

import base64
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from builders import ct_series
from leaks import MADE_UP, Search, dates, encodings, identity, logs_below

PATIENTS = {
    "ASCII": {
        "name": "Quarrelsome^Zebulon",
        "patient_id": "QX-77120-ZB",
        "birth_date": "19310713",
        "accession_number": "ACCQX77120",
    },
    "Japanese": {
        "name": "Kuwagata^Zentaro=鍬形^善太郎",
        "patient_id": "KZ-55310-JP",
        "birth_date": "19440229",
        "accession_number": "ACCKZ55310",
        "codec": "iso2022_jp",
    },
    "Cyrillic": {
        "name": "Щукарёв^Прокопий",
        "patient_id": "ЩК-9917-ПР",
        "birth_date": "19520118",
        "accession_number": "ACCSH99170",
        "codec": "iso8859_5",
    },
}
LINE = b'{"event": "study.finished", "error": "%s", "level": "error"}\n'


@pytest.mark.parametrize("patient", PATIENTS.values(), ids=PATIENTS.keys())
def test_one_trace_of_a_patient_is_found_in_every_encoding(patient):
    secrets = identity(**patient)
    search = Search(secrets)

    missed = [
        (secret.what, encoding)
        for secret in secrets
        for encoding, octets in encodings(secret)
        if len(octets) >= 6 and not search.in_bytes(LINE.replace(b"%s", octets), "log")
    ]

    assert secrets
    assert missed == []


@pytest.mark.parametrize("before", range(6))
@pytest.mark.parametrize("after", range(3))
def test_base64_is_found_wherever_the_name_stands_in_what_was_encoded(before, after):
    whole = b"x" * before + "Щукарёв".encode() + b"y" * after

    found = Search(identity(**PATIENTS["Cyrillic"])).in_bytes(base64.b64encode(whole), "log")

    assert "name" in {leak.what for leak in found}


def test_a_part_of_the_name_is_enough():
    found = Search(identity(**PATIENTS["ASCII"])).in_bytes(b"no such study of Quarrelsome", "log")

    assert [leak.what for leak in found] == ["name"]


def test_a_name_in_a_path_is_found(tmp_path):
    (tmp_path / quote("善太郎 of CT1")).mkdir()

    found = Search(identity(**PATIENTS["Japanese"])).in_names(tmp_path)

    assert [leak.what for leak in found if "善太郎" not in leak.place] != []


def test_the_ways_to_write_a_birth_date():
    assert {"19310713", "1931-07-13", "13.07.1931", "07/13/1931", "13071931"} <= set(dates("19310713"))
    assert dates("1931071X") == ["1931071X"]


def test_what_names_nobody_is_not_found():
    search = Search([secret for patient in PATIENTS.values() for secret in identity(**patient)])

    assert search.in_bytes(LINE % b"phantom scanner, 35 slices", "log") == []
    assert Search(MADE_UP).in_bytes(LINE % b"phantom scanner", "log") == []


def test_made_up_patients_bear_what_the_search_over_all_logs_looks_for(tmp_path):
    image = ct_series(slices=1, seed=77)[0]
    log = tmp_path / "node.err"
    log.write_text(f"{image.PatientName}\n{image.PatientID}\n")
    (tmp_path / "report.dcm").write_text(str(image.PatientName))

    found = Search(MADE_UP).in_files(logs_below(tmp_path))
    log.unlink()  # else the search over all logs finds it too

    assert {leak.what for leak in found} == {"name", "patient ID"}
    assert {leak.place for leak in found} == {str(log)}


_TEST = """
def test_a_process_of_ours_writes_its_log(tmp_path):
    (tmp_path / "node.log").write_text("{words}")
"""


@pytest.mark.parametrize(("words", "status"), [("patient PHANTOM-0000007", 1), ("study 7", 0)])
def test_a_run_of_tests_that_leaves_a_trace_in_a_log_fails(tmp_path, words, status):
    tests = Path(__file__).parents[1]
    file, base = tmp_path / "test_that_logs.py", tmp_path / "base"
    file.write_text(_TEST.format(words=words))
    options = ["-p", "conftest", "-p", "no:cacheprovider", "--basetemp", base, "-c", "/dev/null", "-q"]

    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, file],
        cwd=tests,
        env={"PYTHONPATH": f"{tests}:{tests.parent}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    shutil.rmtree(base)  # else the search over all logs finds it too

    assert done.returncode == status, done.stdout + done.stderr
    assert ("Leak(" in done.stdout) == bool(status)
