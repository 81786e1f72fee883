"""Programs that others made, which the tests run beside ours; those that judge files are in `validators`."""

import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from ich_node.demo.node import free_port
from ich_node.network import listens

IN_CI = os.environ.get("CI") == "true"  # noqa: TID251


def missing(what: str) -> None:
    """Skip where a peer is absent; where everything has been installed its absence is a failure."""
    if IN_CI:
        pytest.fail(f"{what} is missing though .ci/run installs it")
    pytest.skip(f"{what} is not installed")


def program(name: str, package: str) -> str:
    """Where a program lies that a Debian package brings."""
    found = shutil.which(name)
    if found is None:
        missing(f"{name} (Debian package {package})")
    return str(found)


def orthanc_program() -> str:
    """The path of Orthanc, which Debian keeps off the path of those who are not root."""
    program = shutil.which("Orthanc", path=f"{os.environ['PATH']}:/usr/sbin")  # noqa: TID251
    if program is None:
        missing("Orthanc (Debian package orthanc)")
    return str(program)


@dataclass(frozen=True, kw_only=True)
class Dcmtk:
    """The programs of DCMTK that tests use."""

    storescu: str
    storescp: str
    dcmsend: str
    echoscu: str


class OrthancServer:
    """An Orthanc in a temporary folder that sends to one node on the loopback, at `node_port`.

    With the `dicomweb` plugin (a file) it also answers QIDO-RS and WADO-RS at `http_port` below /dicom-web/.
    """

    ae_title = "ORTHANC"

    def __init__(
        self, program: str, folder: Path, *, node_ae_title: str, dicomweb: Path | None = None
    ) -> None:
        self.port, self.node_port, self.http_port = free_port(), free_port(), free_port()
        self._command = [program, str(folder / "orthanc.json")]
        settings = {
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "storage"),
            "HttpServerEnabled": dicomweb is not None,
            "HttpPort": self.http_port,
            "AuthenticationEnabled": False,
            "Plugins": [str(dicomweb)] if dicomweb else [],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
            "DicomAet": self.ae_title,
            "DicomPort": self.port,
            "DicomAlwaysAllowFind": True,
            "DicomAlwaysAllowMove": True,
            "DicomModalities": {"node": [node_ae_title, "127.0.0.1", self.node_port]},
            **self.settings(),
        }
        (folder / "orthanc.json").write_text(json.dumps(settings))
        self._log = folder / "log"

    def settings(self) -> dict[str, object]:
        """What a kind of its own sets beside these."""
        return {}

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        end = time.monotonic() + 30
        while not listens("127.0.0.1", self.port):
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < end, "Orthanc does not answer"
            time.sleep(0.1)

    def stop(self) -> None:
        self._process.kill()  # at SIGTERM it waits for associations
        self._process.wait(20)


class PostgresServer:
    """A PostgreSQL server in a temporary folder, for one session of tests; can be stopped and started."""

    def __init__(self, programs: Path, folder: Path, *, durable: bool = False) -> None:
        self._programs = programs
        # tests need no disk that survives a power failure
        self._quick = "" if durable else "-F "
        self._folder = folder
        self._as_other = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        self.port = free_port()
        if self._as_other:
            shutil.chown(folder, "postgres")
        self._run(
            "initdb", "-D", str(folder / "data"), "-U", "ich", "--auth=trust", "-E", "UTF8", "--no-sync"
        )

    def start(self) -> None:
        options = f"{self._quick}-p {self.port} -c listen_addresses=127.0.0.1"
        options += f" -c unix_socket_directories={self._folder}"
        log = str(self._folder / "log")
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-w", "-l", log, "-o", options, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-w", "-m", "immediate", "stop")

    def url(self, name: str) -> str:
        return f"postgresql+psycopg://ich@127.0.0.1:{self.port}/{name}"

    def create(self, name: str, template: str = "template0") -> str:
        self._administer(f"create database {name} template {template}")
        return self.url(name)

    def drop(self, name: str) -> None:
        self._administer(f"drop database {name} with (force)")

    def _administer(self, statement: str) -> None:
        address = {"host": "127.0.0.1", "port": self.port, "user": "ich", "dbname": "postgres"}
        with psycopg.connect(**address, autocommit=True) as connection:
            connection.execute(statement)

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as_other, str(self._programs / program), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", timeout=60)
