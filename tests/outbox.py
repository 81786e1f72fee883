"""An outbox with small reports, and peers that take them: what tests of delivery share."""

import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

from peers import Dcmtk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, evt
from reception import NODE, eventually

from ich_node.core.retry import RetryPolicy
from ich_node.delivery.reach import Sending
from ich_node.delivery.serve import run
from ich_node.dicom.part10 import split
from ich_node.settings.sections import Destination
from ich_node.settings.tree import Settings
from ich_node.store.database import Database
from ich_node.store.deliveries import Delivery, add_deliveries, deliveries_of
from ich_node.store.readings import Report, add_report
from ich_node.store.studies import NewInstance, add_instance

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SR, SC = "1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.5.1.4.1.1.7"
KINDS = {SR: "SR", SC: "SC"}


def report(sop_class: str = SR, number: int = 1, size: int = 100) -> bytes:
    """The smallest object that a peer takes for a report."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, f"1.2.3.{number}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3", "1.2.3.0"
    dataset.PatientName, dataset.PatientID = "Doe^Jane", "P-4711"
    dataset.Modality = KINDS[sop_class]
    dataset.add_new(0x00420011, "OB", bytes(size))
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def put_into_outbox(database: Database, *contents: bytes, destination: str = "pacs") -> int:
    """A study whose reports wait for one destination; its number."""
    with database.transaction() as connection:
        study_id = add_instance(connection, _instance(), in_use=True, now=NOW)
        for content in contents:
            meta, _ = split(content)
            added = add_report(
                connection,
                Report(
                    kind=KINDS[meta.sop_class_uid],
                    study_id=study_id,
                    revision=1,
                    sop_class_uid=meta.sop_class_uid,
                    sop_instance_uid=meta.sop_instance_uid,
                    series_uid="1.2.3.0",
                    content=content,
                    created_at=NOW,
                ),
            )
            add_deliveries(connection, added, [destination], now=NOW)
    return study_id


def _instance() -> NewInstance:
    return NewInstance(
        study_uid="1.2.3",
        series_uid="1.2.3.9",
        sop_instance_uid="1.2.3.9.1",
        sop_class_uid="1.2",
        transfer_syntax_uid="1.2",
        patient_id="P-4711",
        accession_number="",
        sha256="00",
        bytes=1,
        file="00",
        association_id=None,
    )


def sending(
    port: int,
    *,
    attempts: int = 3,
    timeout_s: float = 5,
    now: datetime = NOW,
    confirm: str = "none",
    ae_title: str = "PACS",
) -> Sending:
    """How the destination `pacs` is served at one moment."""
    values = {"name": "pacs", "ae_title": ae_title, "host": "127.0.0.1", "port": port, "confirm": confirm}
    return Sending(
        destination=Destination.model_validate(values),
        policy=RetryPolicy(attempts=attempts, first_s=10, longest_s=60),
        calling_ae_title=NODE,
        timeout_s=timeout_s,
        holder="tester",
        now=lambda: now,
    )


def deliveries(database: Database, study_id: int) -> list[Delivery]:
    """Where the reports of a study stand."""
    with database.transaction() as connection:
        return deliveries_of(connection, study_id)


@contextmanager
def storescp(dcmtk: Dcmtk, folder: Path, port: int, *options: str) -> Iterator[None]:
    """DCMTK's receiver."""
    folder.mkdir()
    command = [dcmtk.storescp, "-aet", "PACS", "-od", str(folder), *options, str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            eventually(lambda: _listens(port))
            yield
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def peer(
    port: int,
    classes: list[str],
    answer: Callable[[Any], int],
    find: Callable[[Any], Iterator[Any]] | None = None,
) -> Iterator[AE]:
    """A peer that takes these classes and answers each object as told."""
    entity = AE(ae_title="PACS")
    for sop_class in classes:
        entity.add_supported_context(sop_class)
    handlers: list[Any] = [(evt.EVT_C_STORE, answer)]
    if find is not None:
        handlers.append((evt.EVT_C_FIND, find))
    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
    try:
        yield entity
    finally:
        assert server is not None
        server.shutdown()


@contextmanager
def delivering(settings: Settings) -> Iterator[None]:
    """The delivering process in a thread."""
    stop = threading.Event()
    process = threading.Thread(target=run, args=(settings, stop))
    process.start()
    try:
        yield
    finally:
        stop.set()
        process.join(30)
        assert not process.is_alive()


@contextmanager
def reading_slowly(port: int, at_once: int, every_s: float) -> Iterator[None]:
    """A peer that agrees, and then reads so many bytes every so many seconds."""
    stop = threading.Event()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        behind = probe.getsockname()[1]
    with peer(behind, [SR], lambda _: 0), socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listening.bind(("127.0.0.1", port))
        listening.listen()
        listening.settimeout(0.2)
        reading = threading.Thread(
            target=_negotiate_and_read, args=(listening, behind, stop, at_once, every_s)
        )
        reading.start()
        try:
            yield
        finally:
            stop.set()
            reading.join()


def _negotiate_and_read(
    listening: socket.socket, behind: int, stop: threading.Event, at_once: int, every_s: float
) -> None:
    while not stop.is_set():
        try:
            caller, _ = listening.accept()
        except TimeoutError:
            continue
        with caller, socket.create_connection(("127.0.0.1", behind)) as real:
            caller.setblocking(True)
            real.sendall(caller.recv(65536))
            caller.sendall(real.recv(65536))
            while not stop.wait(every_s) and caller.recv(at_once):
                pass
