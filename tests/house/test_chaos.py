"""The node under `kill -9`, as `make chaos` plays it, for a few rounds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROUNDS = 10
TESTS = Path(__file__).parents[1]


@pytest.mark.timeout(900)
def test_ten_rounds_of_killed_processes_lose_nothing_say_nothing_twice_and_leave_nothing_waiting(seed):
    command = [sys.executable, "-m", "chaos", "--rounds", str(ROUNDS), "--seed", str(seed)]

    done = subprocess.run(command, cwd=TESTS, stdout=subprocess.PIPE, text=True, check=False)

    print(done.stdout)  # shown where it fails: each round, the findings, where the log is
    counted = json.loads(done.stdout.splitlines()[-1])
    assert counted.pop("acknowledged") > 0
    assert counted == {
        "rounds": ROUNDS,
        "lost_instances": 0,
        "lost_reports": 0,
        "doubled_reports": 0,
        "stuck_studies": 0,
    }
    assert done.returncode == 0
