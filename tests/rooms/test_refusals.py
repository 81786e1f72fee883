"""What is refused or cut off is counted, also while the database is away, and no peer waits for the count."""

import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from builders import ct_series
from peers import PostgresServer
from reception import EXPLICIT, Message, associate, eventually, receiving, send_messages, settings_for

from ich_node.intake import receiver
from ich_node.intake.refusals import Refusals
from ich_node.store.database import Database
from ich_node.store.refusals import list_refusals

CT = "1.2.840.10008.5.1.4.1.1.2"
CONTEXTS = [(CT, [EXPLICIT])]


def _counted(url: str) -> dict[str, int]:
    database = Database(url)
    with database.reading() as connection:
        found = {one.status: one.count for one in list_refusals(connection)}
    database.dispose()
    return found


@contextmanager
def _away(postgres: PostgresServer) -> Iterator[None]:
    postgres.stop()
    try:
        yield
    finally:
        postgres.start()


@pytest.mark.peer
def test_what_was_refused_while_the_database_was_away_is_counted_when_it_is_back(
    postgres: PostgresServer, tmp_path: Path, free_port: int
) -> None:
    url = postgres.create("refusals_away", template="migrated")
    messages = [Message.of(one) for one in ct_series(slices=3, rows=16, columns=16)]

    answers = []

    with ExitStack() as stack:
        with _away(postgres):
            stack.enter_context(receiving(settings_for(tmp_path, url, free_port)))
            answers += send_messages(free_port, messages[:1], tmp_path)
            associate(free_port, CONTEXTS, calling="NOBODY")
        eventually(lambda: _counted(url))
        answers += send_messages(free_port, messages[:1], tmp_path)
        with _away(postgres):
            answers += send_messages(free_port, messages[1:], tmp_path)
        counted = eventually(lambda: (found := _counted(url)).get("A700", 0) > 1 and found)

    assert [answer.Status for answer in answers] == [0xA700, 0x0000, 0xA700, 0xA700]
    assert counted == {"A700": 3, "PUT_OFF": 1}
    postgres.drop("refusals_away")


def _sends_a_long_image(port: int, folder: Path) -> None:
    (image,) = ct_series(slices=1, rows=16, columns=16)
    image.PixelData = bytes(1_500_000)
    send_messages(port, [Message.of(image)], folder)


def _says(port: int, words: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as peer:
        peer.sendall(words)
        return peer.recv(100)


def _announces_a_long_pdu(port: int, _folder: Path) -> None:
    assert _says(port, b"\x01\x00\xff\xff\xff\xff")[:1] == b"\x07"


def _stalls_in_a_pdu(port: int, _folder: Path) -> None:
    assert _says(port, b"\x01\x00\x00\x00\x10\x00half")[:1] == b"\x07"


def _calls_twice_at_once(port: int, _folder: Path) -> None:
    first, second = associate(port, CONTEXTS), associate(port, CONTEXTS)
    assert not second.is_established
    first.release()


def _sends_what_nothing_announced(port: int, _folder: Path) -> None:
    _send_values(port, (6).to_bytes(4, "big") + b"\x01\x02none")


def _contradicts_itself(port: int, _folder: Path) -> None:
    _send_values(port, (600).to_bytes(4, "big") + b"\x01\x02short")


def _send_values(port: int, values: bytes) -> None:
    association = associate(port, CONTEXTS)
    association.dul.socket.socket.sendall(b"\x04\x00" + len(values).to_bytes(4, "big") + values)
    eventually(lambda: association.is_aborted)


@pytest.mark.parametrize(
    ("peer", "code"),
    [
        (_sends_a_long_image, "INSTANCE_TOO_LARGE"),
        (_announces_a_long_pdu, "PDU_TOO_LONG"),
        (_stalls_in_a_pdu, "PDU_TOO_SLOW"),
        (_calls_twice_at_once, "NO_PLACE_LEFT"),
        (_sends_what_nothing_announced, "BAD_MESSAGE"),
        (_contradicts_itself, "BAD_MESSAGE"),
    ],
)
def test_an_association_that_is_cut_off_is_counted_by_its_reason(
    sqlite_url: str, tmp_path: Path, free_port: int, peer, code: str
) -> None:
    limits = {"max_instance_mb": 1, "max_associations": 1, "idle_timeout_s": 2}

    with receiving(settings_for(tmp_path, sqlite_url, free_port, receiver=limits)):
        peer(free_port, tmp_path)
        eventually(lambda: _counted(sqlite_url))

    assert _counted(sqlite_url) == {code: 1}


def test_an_association_that_ends_for_an_error_of_ours_is_counted(
    sqlite_url: str, tmp_path: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def _fails(*_facts: object) -> None:
        raise KeyError

    monkeypatch.setattr(receiver.Reception, "admit", _fails)
    with receiving(settings_for(tmp_path, sqlite_url, free_port)):
        associate(free_port, CONTEXTS)

    assert _counted(sqlite_url) == {"FAILED": 1}


def test_who_is_cut_off_does_not_wait_for_a_database_that_is_held(
    sqlite_url: str, tmp_path: Path, free_port: int
) -> None:
    lock = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    settings = settings_for(tmp_path, sqlite_url, free_port, receiver={"max_associations": 1})

    with receiving(settings):
        first = associate(free_port, CONTEXTS)
        lock.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        refused = [associate(free_port, CONTEXTS) for _ in range(3)]
        seconds = time.monotonic() - started
        lock.execute("ROLLBACK")
        first.release()

    lock.close()
    assert not any(association.is_established for association in refused)
    assert seconds < 10, "SQLite would wait for 30"
    assert _counted(sqlite_url) == {"NO_PLACE_LEFT": 3}


def test_a_storm_is_a_few_writes_and_no_count_is_lost(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    refusals = Refusals(database)

    def _storm() -> None:
        for _ in range(1000):
            refusals.count("BAD_MESSAGE")
            refusals.write()

    threads = [threading.Thread(target=_storm) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    early = _counted(sqlite_url)
    refusals.write(at_once=True)

    database.dispose()
    assert early.get("BAD_MESSAGE", 0) < 4000
    assert _counted(sqlite_url) == {"BAD_MESSAGE": 4000}
