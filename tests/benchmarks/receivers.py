"""Receivers to measure, each a process on the loopback that says how many objects it holds."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from peers import PostgresServer
from reception import NODE, count, receiver_process, settings_for

from ich_node.demo.node import free_port
from ich_node.dicom.uids import derive
from ich_node.network import listens
from ich_node.store.database import Database
from ich_node.store.migration import migrate

PDU_BYTES = 131_072
START_WITHIN_S = 60.0

_IN_MEMORY = """
import sys
from pynetdicom import AE, StoragePresentationContexts, evt
held = {}
def store(event):
    held[event.request.AffectedSOPInstanceUID] = len(event.request.DataSet.getvalue())
    return 0x0000
entity = AE(ae_title="MEMORY")
entity.maximum_pdu_size, entity.maximum_associations = int(sys.argv[2]), 64
entity.supported_contexts = StoragePresentationContexts
address = ("127.0.0.1", int(sys.argv[1]))
entity.start_server(address, block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
for _ in sys.stdin:
    print(len(held), flush=True)
"""


@dataclass(frozen=True, kw_only=True)
class Running:
    """A receiver that listens, and how many objects it has stored."""

    port: int
    ae_title: str
    process: psutil.Process
    stored: Callable[[], int]

    def cpu_s(self) -> float:
        """Processor seconds so far, of those it started too."""
        spent = 0.0
        for one in (self.process, *self.process.children(recursive=True)):
            times = one.cpu_times()
            spent += times.user + times.system + times.children_user + times.children_system
        return spent

    def peak_mb(self) -> float:
        """The most memory that the process ever held, in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6


@contextmanager
def ours(folder: Path, database_url: str, **receiver: Any) -> Iterator[Running]:
    """Our receiver, durable: file and folder on the disk, row committed, then the answer."""
    _migrated(database_url)
    database, port = Database(database_url), free_port()
    settings = settings_for(folder, database_url, port, receiver={"max_associations": 64, **receiver})
    try:
        with receiver_process(settings, folder / "log") as process:
            yield Running(
                port=port,
                ae_title=NODE,
                process=psutil.Process(process.pid),
                stored=lambda: count(database, "instances"),
            )
    finally:
        database.dispose()


@contextmanager
def ours_on_sqlite(folder: Path) -> Iterator[Running]:
    with ours(folder, f"sqlite:///{folder / 'node.sqlite'}") as running:
        yield running


@contextmanager
def ours_on_postgresql(folder: Path) -> Iterator[Running]:
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    # not below a folder that the user postgres may not enter
    with tempfile.TemporaryDirectory(prefix="ich-bench-", ignore_cleanup_errors=True) as data:
        server = PostgresServer(programs[-1].parent, Path(data), durable=True)
        server.start()
        try:
            with ours(folder, server.create("bench")) as running:
                yield running
        finally:
            server.stop()


@contextmanager
def pynetdicom_in_memory(folder: Path) -> Iterator[Running]:
    """Stock pynetdicom that keeps nothing, at the same PDU as ours."""
    port = free_port()
    command = [sys.executable, "-c", _IN_MEMORY, str(port), str(PDU_BYTES)]
    with _listening(command, port, folder) as process:

        def _held() -> int:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("?\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        yield Running(port=port, ae_title="MEMORY", process=psutil.Process(process.pid), stored=_held)


@contextmanager
def dcmtk_storescp(folder: Path) -> Iterator[Running]:
    """DCMTK's receiver, one process for each association; it writes files and waits for no disk."""
    port, kept = free_port(), folder / "kept"
    kept.mkdir()
    command = ["storescp", "--fork", "-pdu", str(PDU_BYTES), "-od", str(kept), str(port)]
    with _listening(command, port, folder) as process:
        yield Running(
            port=port,
            ae_title="STORESCP",
            process=psutil.Process(process.pid),
            stored=lambda: len(list(kept.iterdir())),
        )


@contextmanager
def orthanc(folder: Path) -> Iterator[Running]:
    """Orthanc with its own SQLite index, as Debian ships it."""
    port, web = free_port(), free_port()
    settings = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": web,
        "RemoteAccessAllowed": False,
        "DicomAet": "ORTHANC",
        "DicomPort": port,
        "MaximumPduLength": PDU_BYTES,
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with _listening([str(_orthanc()), str(folder / "orthanc.json")], port, folder) as process:

        def _instances() -> int:
            with urllib.request.urlopen(f"http://127.0.0.1:{web}/statistics", timeout=20) as answer:
                return int(json.load(answer)["CountInstances"])

        yield Running(port=port, ae_title="ORTHANC", process=psutil.Process(process.pid), stored=_instances)


def receivers() -> Mapping[str, Callable[[Path], Any]]:
    """Those that are installed here, by name; the first two always."""
    found: dict[str, Callable[[Path], Any]] = {
        "pynetdicom in memory": pynetdicom_in_memory,
        "ours, SQLite": ours_on_sqlite,
    }
    if list(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        found["ours, PostgreSQL"] = ours_on_postgresql
    if shutil.which("storescp"):
        found["DCMTK storescp"] = dcmtk_storescp
    if _orthanc():
        found["Orthanc"] = orthanc
    return found


def _orthanc() -> str | None:
    return shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")


@contextmanager
def _listening(command: list[str], port: int, folder: Path) -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    # DCMTK is in Orthanc too; without it Nagle's algorithm holds its answers back
    environment = {"TCP_NODELAY": "1", "PATH": os.defpath}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=log, text=True, env=environment)
    try:
        end = time.monotonic() + START_WITHIN_S
        while not listens("127.0.0.1", port):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end, "it does not listen"
            time.sleep(0.1)
        yield process
    finally:
        process.kill()
        process.communicate()


def _migrated(url: str) -> None:
    database = Database(url)
    uid = derive("bench", "", "", "", kind="installation", revision=1)
    migrate(database, new_uid=uid, now=datetime.now(UTC))
    database.dispose()


def durable_writes(folder: Path, content: bytes, files: int) -> None:
    """Write, sync, rename, sync the folder, commit a row: the plain way to keep our promise, step by step."""

    row = sqlite3.connect(folder / "rows.sqlite", isolation_level=None)
    row.execute("pragma journal_mode=wal")
    row.execute("pragma synchronous=full")
    row.execute("create table kept (name text, bytes integer)")
    kept = folder / "limit"
    kept.mkdir()
    descriptor = os.open(kept, os.O_RDONLY | os.O_DIRECTORY)
    for number in range(files):
        with (kept / f"{number}.part").open("wb", buffering=0) as file:
            file.write(content)
            os.fsync(file.fileno())
        (kept / f"{number}.part").rename(kept / f"{number}.dcm")
        os.fsync(descriptor)
        row.execute("insert into kept values (?, ?)", (f"{number}.dcm", len(content)))
    os.close(descriptor)
    row.close()
