"""Starts receivers for tests, in a thread or as a process, and sends them what a sender should not send."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.filewriter import write_dataset
from pydicom.uid import UID
from pynetdicom import build_context
from pynetdicom.association import Association

from ich_node.dicom.part10 import FileMeta, encode_file_meta
from ich_node.intake.accept import Answer, Peer, Received
from ich_node.intake.accept import accept as accept_incoming
from ich_node.intake.receiver import run
from ich_node.network import application_entity, leave_answers_to_askers
from ich_node.settings.tree import Settings
from ich_node.store.database import Database
from ich_node.store.files import Archive

SCANNER = "SCANNER"
NODE = "ICHNODE"
EXPLICIT, DEFLATED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"


def settings_for(folder: Path, database_url: str, port: int, **sections: Any) -> Settings:
    """Settings of a small node on the loopback that knows one scanner."""
    values: dict[str, Any] = {
        "senders": [{"ae_title": SCANNER, "address": "127.0.0.1"}],
        "database": {"url": database_url},
        "storage": {"folder": folder / "storage", "reserve_mb": 0},
        "receiver": {"ae_title": NODE, "host": "127.0.0.1", "port": port},
    }
    for name, section in sections.items():
        values[name] = {**values.get(name, {}), **section} if isinstance(section, dict) else section
    return Settings(**values)


@contextmanager
def receiving(settings: Settings) -> Iterator[int]:
    """A receiver in a thread of this process, from ready to drained; its port."""
    stop, ready = threading.Event(), threading.Event()
    failures: list[BaseException] = []

    def _run() -> None:
        try:
            run(settings, stop, ready=lambda _port: ready.set())
        except BaseException as error:
            failures.append(error)
            ready.set()
            raise

    thread = threading.Thread(target=_run)
    thread.start()
    assert ready.wait(20)
    assert not failures
    try:
        yield settings.receiver.first_port
    finally:
        stop.set()
        thread.join(40)
        assert not thread.is_alive()


_PROGRAM = """
import sys, json
from ich_node.intake.receiver import run
from ich_node.log import configure
from ich_node.serve import stop_on_signal
from ich_node.settings.tree import Settings
configure("receive")
run(Settings(**json.loads(sys.argv[1])), stop_on_signal(), ready=lambda port: print(port, flush=True))
"""


@contextmanager
def receiver_process(settings: Settings, log: Path) -> Iterator[subprocess.Popen[str]]:
    """A receiver as a process of its own that answers; ended by force where the test did not end it."""
    command = [sys.executable, "-c", _PROGRAM, settings.model_dump_json()]
    with log.open("a") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == str(settings.receiver.first_port), log.read_text()
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


def encoded(dataset: Dataset) -> bytes:
    """A data set as a sender encodes it, in Explicit VR Little Endian."""
    buffer = BytesIO()
    plain = Dataset(dataset)
    plain.set_original_encoding(False, True)
    write_dataset_to(buffer, plain)
    return buffer.getvalue()


def write_dataset_to(buffer: BytesIO, dataset: Dataset) -> None:
    from pydicom.filebase import DicomFileLike

    file = DicomFileLike(buffer)
    file.is_implicit_VR, file.is_little_endian = False, True
    write_dataset(file, dataset)


@dataclass(frozen=True, kw_only=True)
class Message:
    """One C-STORE request, free to contradict itself."""

    sop_class_uid: str
    sop_instance_uid: str
    dataset: bytes
    transfer_syntax_uid: str = EXPLICIT

    @classmethod
    def of(cls, dataset: Dataset) -> "Message":
        return cls(
            sop_class_uid=dataset.SOPClassUID,
            sop_instance_uid=dataset.SOPInstanceUID,
            dataset=encoded(dataset),
        )

    def received(self, association_id: int | None = None) -> "Arrived":
        received = Received(
            sop_class_uid=self.sop_class_uid,
            sop_instance_uid=self.sop_instance_uid,
            transfer_syntax_uid=self.transfer_syntax_uid,
            peer=Peer(ae_title=SCANNER, address="127.0.0.1"),
            association_id=association_id,
        )
        return Arrived(received=received, dataset=self.dataset)

    def file(self) -> bytes:
        meta = FileMeta(
            sop_class_uid=self.sop_class_uid,
            sop_instance_uid=self.sop_instance_uid,
            transfer_syntax_uid=self.transfer_syntax_uid,
        )
        return encode_file_meta(meta) + self.dataset


@dataclass(frozen=True, kw_only=True)
class Arrived:
    """A request whose data set is here."""

    received: Received
    dataset: bytes


def accept(arrived: Arrived, *, database: Database, archive: Archive, now: datetime) -> Answer:
    """Let an instance come in as over the network, without one."""
    received = arrived.received
    meta = FileMeta(
        sop_class_uid=received.sop_class_uid,
        sop_instance_uid=received.sop_instance_uid,
        transfer_syntax_uid=received.transfer_syntax_uid,
        source_ae_title=received.peer.ae_title,
    )
    with archive.receive(received.sop_instance_uid, encode_file_meta(meta)) as incoming:
        incoming.write(arrived.dataset)
        return accept_incoming(received, incoming, database=database, archive=archive, now=now)


def write(archive: Archive, name: str, parts: Sequence[bytes]) -> None:
    """Put a file into an archive as reception does; the first part is the preface."""
    with archive.receive("1.2.3", parts[0]) as incoming:
        for part in parts[1:]:
            incoming.write(part)
        archive.keep(incoming, name)


def associate(
    port: int, contexts: Sequence[tuple[str, Sequence[str]]], *, calling: str = SCANNER, called: str = NODE
) -> Association:
    """Ask for an association; each context is a SOP class and the transfer syntaxes proposed for it."""
    entity = application_entity(calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 20
    proposed = [build_context(UID(sop_class), list(syntaxes)) for sop_class, syntaxes in contexts]
    association = entity.associate("127.0.0.1", port, contexts=proposed, ae_title=called)
    leave_answers_to_askers(association)
    return association


def send_messages(port: int, messages: Sequence[Message], folder: Path, **titles: str) -> list[Dataset]:
    """Send all over one association, byte for byte; the responses (empty ones: no answer)."""
    classes = sorted({(message.sop_class_uid, message.transfer_syntax_uid) for message in messages})
    association = associate(port, [(sop_class, [syntax]) for sop_class, syntax in classes], **titles)
    assert association.is_established
    responses = []
    for index, message in enumerate(messages):
        path = folder / f"message-{os.getpid()}-{threading.get_ident()}-{index}.dcm"
        path.write_bytes(message.file())
        responses.append(association.send_c_store(path))
        path.unlink()
    association.release()
    return responses


def archive_of(settings: Settings) -> Archive:
    return Archive(settings.storage.folder, reserve_mb=settings.storage.reserve_mb)


def eventually(condition: Callable[[], Any], within_s: float = 30) -> Any:
    """Wait for a condition to hold; its value."""
    end = time.monotonic() + within_s
    while not (value := condition()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
    return value


def count(database: Database, table: str, where: str = "true") -> int:
    """Count rows, as an observer who does not use our statements."""
    with database.engine.connect() as connection:
        statement = f"select count(*) from {table} where {where}"
        return int(connection.exec_driver_sql(statement).scalar_one())


def log_lines(log: Path) -> list[dict[str, Any]]:
    """The JSON lines of a process."""
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
