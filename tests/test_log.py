"""What a process writes into its log: keys of the list, plain values, and errors by kind and place alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

_START = """
import sys, threading
from ich_node.log import configure, logger
configure("trial")
"""


def _written(code):
    done = subprocess.run([sys.executable, "-c", _START + code], capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    return done, lines


def test_a_key_that_is_not_on_the_list_is_left_out():
    _, (line,) = _written("logger().info('tried', study=7, patient='Doe^Jane')")

    assert (line["event"], line["study"], line["process"]) == ("tried", 7, "trial")
    assert "patient" not in line


@pytest.mark.parametrize(
    "value", ["ValueError('Doe^Jane')", "b'Doe^Jane'", "['Doe^Jane']", "{'a': 'Doe^Jane'}"]
)
def test_what_is_no_plain_value_is_named_by_its_kind(value):
    done, (line,) = _written(f"logger().info('tried', error={value})")

    assert line["error"] in ("ValueError", "bytes", "list", "dict")
    assert "Doe" not in done.stderr


@pytest.mark.parametrize(
    ("code", "event"),
    [
        ("raise ValueError('Doe^Jane')", "process.failed"),
        (
            "def f(): raise ValueError('Doe^Jane')\nt = threading.Thread(target=f)\nt.start(); t.join()",
            "thread.failed",
        ),
        ("class A:\n  def __del__(self): raise ValueError('Doe^Jane')\na = A()\ndel a", "error.ignored"),
    ],
)
def test_an_error_that_nobody_caught_is_told_by_kind_and_place(code, event):
    done, (line,) = _written(code)

    assert (line["event"], line["error"], line["level"]) == (event, "ValueError", "critical")
    assert line["place"].startswith("<string>:")
    assert "Doe" not in done.stdout + done.stderr


def test_warnings_and_other_libraries_say_nothing_of_a_header():
    done, lines = _written(
        "import warnings, logging\nwarnings.warn('Doe^Jane')\n"
        "logging.getLogger('pydicom').error('Doe^Jane')\n"
        "logging.getLogger('other').error('Doe^Jane')"
    )

    assert lines == []
    assert done.stdout == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_log_that_cannot_be_written_ends_nothing():
    code = _START + "logger().error('tried', study=7)\nprint('went on')"
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=full, text=True, check=False
        )

    assert (done.stdout, done.returncode) == ("went on\n", 0)
