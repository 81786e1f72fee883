"""The wheel alone, without the checkout: migrates, walks a study through the whole node, knows its bundle."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """An environment of its own that holds the built wheel; its dependencies are those of the tests."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(install, check=True, capture_output=True)
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "venv" / "bin"


def _run(*command, folder):
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_wheel_brings_its_own_code_and_migrates(installed, tmp_path):
    where = _run(
        installed / "python",
        "-c",
        "import ich_node, model; print(ich_node.__file__, model.__file__)",
        folder=tmp_path,
    )
    done = _run(installed / "ich-node", "migrate", folder=tmp_path)

    assert str(ROOT) + "/ich_node" not in where.stdout
    assert where.stdout.count(str(installed.parent)) == 2, where.stdout + where.stderr
    assert done.returncode == 0, done.stderr
    assert "up to date" in done.stdout


@pytest.mark.timeout(240)
def test_a_study_walks_through_the_node_of_the_wheel(installed, tmp_path):
    done = _run(
        installed / "ich-node", "demo", "--seed", "3", "--studies", "1", "--out", "out", folder=tmp_path
    )

    assert "outcome" in done.stdout, done.stdout + done.stderr
    assert {path.name for path in (tmp_path / "out" / "study-3").iterdir()} == {
        "result.json",
        "report.dcm",
        "report.html",
        "key-slice.png",
    }
