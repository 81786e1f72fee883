"""What cannot be run here is at least checked by the tool that would run it."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from peers import program

from ich_node.serve import PROCESSES
from ich_node.settings.tree import Settings

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "deploy" / "systemd"


def test_each_process_has_a_unit_that_starts_it():
    for process in PROCESSES:
        unit = (UNITS / f"ich-node-{process}.service").read_text(encoding="utf-8")

        assert f"ExecStart=/opt/ich-node/bin/ich-node {process}\n" in unit
        assert "Restart=always" in unit


@pytest.mark.peer
def test_systemd_finds_nothing_to_object_to(tmp_path):
    analyze = program("systemd-analyze", "systemd")
    for unit in UNITS.iterdir():
        # the programs are not installed where the units expect them: any program will do for the check
        text = unit.read_text(encoding="utf-8").replace(
            "/opt/ich-node/bin/ich-node", shutil.which("true") or ""
        )
        (tmp_path / unit.name).write_text(text, encoding="utf-8")

    done = subprocess.run(
        [analyze, "verify", "--recursive-errors=no", *sorted(map(str, tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "ich-node" not in done.stderr


@pytest.mark.peer
def test_compose_accepts_the_file():
    compose = program("docker-compose", "docker-compose")

    done = subprocess.run(
        [compose, "-f", ROOT / "deploy" / "compose" / "compose.yaml", "config", "--quiet"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_the_receiver_of_the_compose_file_keeps_its_name_when_its_container_is_made_anew():
    text = (ROOT / "deploy" / "compose" / "compose.yaml").read_text(encoding="utf-8")
    _, _, receiver = text.partition("\n  receive:\n")

    assert "    hostname: receive\n" in receiver.partition("\n\n")[0]


def test_the_largest_data_set_fits_four_times_into_what_the_receiver_may_use():
    unit = (UNITS / "ich-node-receive.service").read_text(encoding="utf-8")
    (gigabytes,) = re.findall(r"^MemoryMax=(\d+)G$", unit, re.MULTILINE)

    assert int(gigabytes) * 1000 > 4 * Settings().receiver.max_instance_mb


def test_every_dependency_says_what_it_is_for_and_is_pinned():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    named = [
        *project["dependencies"],
        *(one for group in project["optional-dependencies"].values() for one in group),
    ]
    pins = (ROOT / "deploy" / "constraints.txt").read_text(encoding="utf-8").lower().replace("_", "-")

    for dependency in named:
        line = next(line for line in text.splitlines() if f'"{dependency}"' in line)
        name = dependency.split(">")[0].split("=")[0].split("[")[0].lower().replace("_", "-")
        assert "#" in line, f"{dependency} has no reason"
        assert f"\n{name}==" in pins, f"{name} is not pinned"
