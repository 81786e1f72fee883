"""A receiver process among senders that hold, fill or storm it: others are served, memory stays bounded."""

import itertools
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from builders import ct_series, write_files
from peers import Dcmtk
from pynetdicom import build_context
from reception import (
    EXPLICIT,
    NODE,
    SCANNER,
    Message,
    associate,
    count,
    eventually,
    log_lines,
    receiver_process,
    send_messages,
    settings_for,
)

from ich_node.network import application_entity
from ich_node.store.database import Database

CT = "1.2.840.10008.5.1.4.1.1.2"
ELSEWHERE = "127.0.0.2"  # the hostile peer's address; the good one calls from 127.0.0.1
SENDERS = [{"ae_title": SCANNER, "address": "127.0.0.0/8"}]
P_DATA = b"\x04\x00"
STORM = 300


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    peer = socket.create_connection(("127.0.0.1", port), source_address=(ELSEWHERE, 0), timeout=10)
    with peer:
        yield peer


@contextmanager
def associated(port: int) -> Iterator[socket.socket]:
    """A raw connection whose association is agreed on, from elsewhere."""
    entity = application_entity(SCANNER)
    entity.network_timeout = entity.acse_timeout = 60
    association = entity.associate(
        "127.0.0.1",
        port,
        contexts=[build_context(CT, EXPLICIT)],
        ae_title=NODE,
        bind_address=(ELSEWHERE, 0),
    )
    assert association.is_established
    try:
        yield association.dul.socket.socket
    finally:
        association.abort()


@contextmanager
def in_background(work: Callable[[threading.Event], None]) -> Iterator[None]:
    stop = threading.Event()

    def _work() -> None:
        with suppress(OSError):  # the receiver hangs up
            work(stop)

    thread = threading.Thread(target=_work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)


@contextmanager
def silent(port: int) -> Iterator[None]:
    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(connected(port))
            stack.enter_context(associated(port))
        yield


@contextmanager
def trickling(port: int) -> Iterator[None]:
    with associated(port) as peer:

        def _trickle(stop: threading.Event) -> None:
            for byte in P_DATA + b"\x00\x01\x00\x00" + bytes(1000):
                peer.sendall(bytes([byte]))
                if stop.wait(0.2):
                    return

        with in_background(_trickle):
            yield


@contextmanager
def endless_requests(port: int) -> Iterator[None]:
    with connected(port) as peer:

        def _pour(stop: threading.Event) -> None:
            peer.sendall(b"\x01\x00\xff\xff\xff\xff")
            while not stop.is_set():
                peer.sendall(bytes(1 << 20))

        with in_background(_pour):
            yield


@contextmanager
def pdu_over_what_was_agreed(port: int) -> Iterator[None]:
    with associated(port) as peer:

        def _pour(_stop: threading.Event) -> None:
            peer.sendall(P_DATA + (40_000_000).to_bytes(4, "big") + bytes(40_000_000))

        with in_background(_pour):
            yield


@contextmanager
def endless_commands(port: int) -> Iterator[None]:
    with associated(port) as peer:
        value = b"\x01" + bytes(100_000)  # a command's fragment, never the last one
        pdv = (len(value) + 1).to_bytes(4, "big") + b"\x01" + value

        def _pour(stop: threading.Event) -> None:
            while not stop.is_set():
                peer.sendall(P_DATA + len(pdv).to_bytes(4, "big") + pdv)

        with in_background(_pour):
            yield


@contextmanager
def storm(port: int) -> Iterator[None]:
    with ExitStack() as stack:
        for _ in range(STORM):
            with suppress(OSError):
                stack.enter_context(connected(port))
        yield


@pytest.mark.peer
@pytest.mark.parametrize(
    "hostility",
    [silent, trickling, endless_requests, pdu_over_what_was_agreed, endless_commands, storm],
    ids=lambda one: one.__name__,
)
def test_others_are_served_beside_a_hostile_sender_and_memory_stays_bounded(
    sqlite_url: str, tmp_path: Path, free_port: int, dcmtk: Dcmtk, hostility
) -> None:
    files = write_files(ct_series(slices=20, rows=64, columns=64), tmp_path / "sent")
    settings = settings_for(tmp_path, sqlite_url, free_port, senders=SENDERS)
    database = Database(sqlite_url)

    with receiver_process(settings, tmp_path / "log") as process:
        alone_s = send(dcmtk, free_port, files[:10])
        before_mb = psutil.Process(process.pid).memory_info().rss / 1e6
        with hostility(free_port):
            beside_s = send(dcmtk, free_port, files[10:])
            open_files = psutil.Process(process.pid).num_fds()
        peak_mb = peak_of(process.pid)
        stored = count(database, "instances")

    database.dispose()
    assert stored == 20
    assert beside_s < 10 * alone_s + 2  # the machine of the tests is busy
    assert peak_mb - before_mb < 40
    assert open_files < 200


def send(dcmtk: Dcmtk, port: int, files: list[Path]) -> float:
    command = [dcmtk.storescu, "-aet", SCANNER, "-aec", NODE, "127.0.0.1", str(port), *map(str, files)]
    started = time.monotonic()
    subprocess.run(command, check=True, timeout=60, env={"TCP_NODELAY": "1"})
    return time.monotonic() - started


def peak_of(pid: int) -> float:
    return int(Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0]) * 1024 / 1e6


def test_large_instances_on_many_associations_are_not_held_in_memory_and_all_stored(
    sqlite_url: str, tmp_path: Path, free_port: int
) -> None:
    settings = settings_for(tmp_path, sqlite_url, free_port)
    images, size_mb = ct_series(slices=6, rows=16, columns=16), 40
    for image in images:
        image.add_new(0x00091010, "OB", os.urandom(size_mb * 1_000_000))
    answers = []

    with receiver_process(settings, tmp_path / "log") as process:
        send_messages(free_port, [Message.of(one) for one in ct_series(seed=2, slices=3)], tmp_path)
        before_mb = psutil.Process(process.pid).memory_info().rss / 1e6
        senders = [
            threading.Thread(
                target=lambda image=image: answers.extend(
                    send_messages(free_port, [Message.of(image)], tmp_path)
                )
            )
            for image in images
        ]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        peak_mb = peak_of(process.pid)

    assert [answer.Status for answer in answers] == [0x0000] * len(images)
    assert peak_mb - before_mb < size_mb


def test_nothing_stays_of_a_data_set_whose_sender_vanishes(
    sqlite_url: str, tmp_path: Path, free_port: int
) -> None:
    database, image = Database(sqlite_url), ct_series(slices=1, rows=16, columns=16)[0]
    image.add_new(0x00091010, "OB", bytes(20_000_000))
    path = tmp_path / "large.dcm"
    path.write_bytes(Message.of(image).file())
    images = tmp_path / "storage/images"

    with receiver_process(settings_for(tmp_path, sqlite_url, free_port), tmp_path / "log") as process:
        association = associate(free_port, [(CT, [EXPLICIT])])
        transport = association.dul.socket
        send, pdus = transport.send, itertools.count()

        def vanish_in_the_middle(pdu: bytes) -> None:
            send(pdu)
            if next(pdus) == 20:
                eventually(lambda: list(images.rglob(".part*")))
                transport.socket.shutdown(socket.SHUT_RDWR)

        transport.send = vanish_in_the_middle
        association.send_c_store(path)
        eventually(lambda: not [one for one in images.rglob("*") if one.is_file()])
        open_files = psutil.Process(process.pid).open_files()

    assert not [one for one in open_files if ".part" in one.path]
    assert count(database, "instances") == 0
    database.dispose()


def test_one_address_cannot_take_all_associations(sqlite_url: str, tmp_path: Path, free_port: int) -> None:
    limit = {"max_associations": 4, "max_associations_per_address": 2}
    settings = settings_for(tmp_path, sqlite_url, free_port, senders=SENDERS, receiver=limit)

    with receiver_process(settings, tmp_path / "log"), ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(associated(free_port))
        refused = application_entity(SCANNER).associate(
            "127.0.0.1",
            free_port,
            contexts=[build_context(CT, EXPLICIT)],
            ae_title=NODE,
            bind_address=(ELSEWHERE, 0),
        )
        (answer,) = send_messages(free_port, [Message.of(ct_series(slices=1)[0])], tmp_path)

    said = refused.acceptor.primitive
    assert (said.result, said.result_source, said.diagnostic) == (2, 3, 2)
    assert answer.Status == 0x0000
    assert "association.over_limit" in [line["event"] for line in log_lines(tmp_path / "log")]
