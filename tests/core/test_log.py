"""The log says what may be said, and never ends the work that it tells of."""

import subprocess
import sys
from pathlib import Path

import pytest

FULL = Path("/dev/full")
PROGRAM = """
from ich_node.log import configure, logger
configure("test")
for level in ("info", "warning", "error"):
    getattr(logger(), level)("study.finished", study=1, patient="DOE^JOHN")
print("went on")
"""


def _run(stderr):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=stderr, text=True, check=False
    )


def test_a_key_that_is_not_on_the_list_is_not_logged():
    done = _run(subprocess.PIPE)

    assert done.stderr.count('"study": 1') == 3
    assert "DOE" not in done.stderr


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here")
def test_a_log_that_cannot_be_written_ends_nothing():
    with FULL.open("w") as full:
        done = _run(full)

    assert (done.stdout, done.returncode) == ("went on\n", 0)
