"""What tests share: databases of both kinds, peers made by others, shared data; each with a clear skip."""

import itertools
import os
import random
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from leaks import MADE_UP, Search, logs_below
from peers import Dcmtk, OrthancServer, PostgresServer, missing, orthanc_program

from ich_node.dicom.uids import derive
from ich_node.store.database import Database
from ich_node.store.migration import migrate

os.environ.setdefault("OMP_NUM_THREADS", "1")  # noqa: TID251  # two cores are shared by everything
_database_numbers = itertools.count()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long ones first: two processes share the tests, and neither is to end minutes after the other."""
    items.sort(key=lambda item: "house" not in item.path.parts)


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """The image sets and DICOM files beside the repository."""
    folder = Path(__file__).parents[2] / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("the shared data lies not beside this checkout (../shared/data)")
    return folder


@pytest.fixture
def seed() -> int:
    """A seed that differs between runs; pytest shows it where the test fails."""
    drawn = random.randrange(1, 1 << 30)
    print(f"seed {drawn}")
    return drawn


@pytest.fixture(scope="session")
def dcmtk() -> Dcmtk:
    """DCMTK's network programs."""
    found = {name: shutil.which(name) for name in Dcmtk.__dataclass_fields__}
    if not all(found.values()):
        missing("DCMTK (Debian package dcmtk)")
    return Dcmtk(**{name: str(path) for name, path in found.items()})


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrthancServer]:
    """An empty Orthanc that knows a node named ICHNODE at its `node_port`."""
    server = OrthancServer(orthanc_program(), tmp_path_factory.mktemp("orthanc"), node_ae_title="ICHNODE")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server of our own, with a migrated database named `migrated` to copy from."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs:
        missing("PostgreSQL (Debian package postgresql)")
    # not below pytest's folder: the user postgres may not enter it
    with tempfile.TemporaryDirectory(prefix="ich-postgres-", ignore_cleanup_errors=True) as folder:
        server = PostgresServer(programs[-1].parent, Path(folder))
        server.start()
        _migrated(server.create("migrated"))
        yield server
        server.stop()


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy from."""
    path = tmp_path_factory.mktemp("sqlite") / "migrated.sqlite"
    _migrated(f"sqlite:///{path}")
    return path


def _migrated(url: str) -> None:
    database = Database(url)
    migrate(
        database, new_uid=derive("test", "", "", "", kind="installation", revision=1), now=datetime.now(UTC)
    )
    database.dispose()


@pytest.fixture
def sqlite_url(migrated_sqlite: Path, tmp_path: Path) -> str:
    """A fresh, migrated SQLite database."""
    path = tmp_path / "ich-node.sqlite"
    shutil.copyfile(migrated_sqlite, path)
    return f"sqlite:///{path}"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peer)])
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A fresh, migrated database, once of each kind."""
    if request.param == "sqlite":
        yield str(request.getfixturevalue("sqlite_url"))
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name = f"test_{next(_database_numbers)}"
    yield server.create(name, template="migrated")
    server.drop(name)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """The database itself, once of each kind."""
    opened = Database(database_url)
    yield opened
    opened.dispose()


@pytest.fixture(autouse=True)
def _hooks_stay() -> Iterator[None]:
    """What `configure` of the log sets for a process of ours is none of the process of the tests."""
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    yield
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks


@pytest.fixture(scope="session", autouse=True)
def _no_patient_in_any_log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """After all tests: no log and no name of a file that they left names a made-up patient."""
    yield
    folder = tmp_path_factory.getbasetemp()
    search = Search(MADE_UP)
    assert [*search.in_files(logs_below(folder)), *search.in_names(folder)] == []
