"""The receiver over TLS: DCMTK with a good certificate; callers with none, bad ones, or no manners."""

import signal
import socket
import sqlite3
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from builders import ct_series, write_files
from certificates import NODE_NAME, SCANNER_NAME, Authority, Identity
from peers import Dcmtk
from pynetdicom import build_context
from pynetdicom.association import Association
from reception import (
    EXPLICIT,
    NODE,
    SCANNER,
    Message,
    count,
    eventually,
    receiver_process,
    receiving,
    send_messages,
    settings_for,
)
from structlog.testing import capture_logs

from ich_node.cli.callers import what_lets_in
from ich_node.demo.node import free_port as another_port
from ich_node.errors import UsageError
from ich_node.intake import secured
from ich_node.intake.listener import A_ABORT_PDU
from ich_node.intake.receiver import run
from ich_node.network import application_entity
from ich_node.settings.tree import Settings
from ich_node.store.database import Database
from ich_node.store.quarantine import RefusedCaller, list_refused_callers
from ich_node.tls import PeerCertificate

CT = "1.2.840.10008.5.1.4.1.1.2"
# what a client says first: the header of a handshake record, and no record
HALF_HELLO = bytes.fromhex("1603010200")


@pytest.fixture
def hospital(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def node(hospital: Authority) -> Identity:
    return hospital.issue(NODE_NAME, "127.0.0.1", as_="node")


@pytest.fixture
def scanner(hospital: Authority) -> Identity:
    return hospital.issue(SCANNER_NAME, as_="ct1")


def over_tls(
    folder: Path, url: str, tls_port: int, node: Identity, *, named: str = SCANNER_NAME, **receiver: Any
) -> Settings:
    """A receiver that takes TLS only, from one scanner."""
    senders = [{"ae_title": SCANNER, "address": "127.0.0.1", "certificate": named}]
    facts = {"port": 0, "tls_port": tls_port, **receiver}
    return settings_for(folder, url, 0, senders=senders, receiver=facts, tls=node.settings())


def _context(identity: Identity | None, trusting: Identity) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(trusting.authority))
    if identity is not None:
        context.load_cert_chain(identity.certificate, identity.key)
    return context


def associate(
    port: int,
    identity: Identity,
    node: Identity,
    *,
    calling: str = SCANNER,
    newest: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED,
) -> Association:
    entity = application_entity(calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 20
    contexts = [build_context(CT, [EXPLICIT])]
    context = _context(identity, node)
    context.maximum_version = newest
    secure = (context, NODE_NAME)
    return entity.associate("127.0.0.1", port, contexts=contexts, ae_title=NODE, tls_args=secure)


def assert_served(port: int, identity: Identity, node: Identity) -> None:
    """A caller as it should be finds an association."""
    association = associate(port, identity, node)
    assert association.is_established
    association.release()


def _answer(association: Association) -> str:
    said = association.acceptor.primitive
    return f"{said.result}/{said.result_source}/{said.diagnostic}"


def _refused(url: str) -> list[RefusedCaller]:
    database = Database(url)
    with database.transaction() as connection:
        listed = list_refused_callers(connection)
    database.dispose()
    return listed


def _store(dcmtk: Dcmtk, port: int, identity: Identity, *files: Path) -> subprocess.CompletedProcess[str]:
    command = [dcmtk.storescu, "-aet", SCANNER, "-aec", NODE, *identity.options(), "127.0.0.1", str(port)]
    quick = {"TCP_NODELAY": "1"}
    return subprocess.run(
        [*command, *map(str, files)], capture_output=True, text=True, timeout=60, check=False, env=quick
    )


@pytest.mark.peer
@pytest.mark.parametrize("by", ["name", "fingerprint"])
def test_dcmtk_stores_over_tls(
    sqlite_url: str, tmp_path: Path, free_port: int, dcmtk: Dcmtk, node: Identity, scanner: Identity, by: str
) -> None:
    files = write_files(ct_series(slices=20), tmp_path / "sent")
    colons = ":".join(scanner.fingerprint[i : i + 2] for i in range(0, 64, 2)).upper()
    named = SCANNER_NAME if by == "name" else colons

    with receiving(over_tls(tmp_path, sqlite_url, free_port, node, named=named)):
        done = _store(dcmtk, free_port, scanner, *files)

    database = Database(sqlite_url)
    assert done.returncode == 0, done.stderr
    assert count(database, "instances") == 20
    database.dispose()


@pytest.mark.peer
def test_clear_text_is_served_beside_it_on_its_own_port(
    sqlite_url: str, tmp_path: Path, free_port: int, dcmtk: Dcmtk, node: Identity, scanner: Identity
) -> None:
    first, second = ct_series(slices=2)
    files = write_files([first], tmp_path / "sent")
    clear = another_port()
    settings = over_tls(tmp_path, sqlite_url, free_port, node, port=clear)
    senders = [*settings.senders, settings.senders[0].model_copy(update={"certificate": ""})]

    with receiving(settings.model_copy(update={"senders": tuple(senders)})):
        done = _store(dcmtk, free_port, scanner, *files)
        (response,) = send_messages(clear, [Message.of(second)], tmp_path)

    assert (done.returncode, response.Status) == (0, 0x0000)


def _shake(port: int, context: ssl.SSLContext) -> None:
    """Shake hands as a client, wait until the server hangs up; raises what the handshake raises."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname=NODE_NAME) as connection,
    ):
        connection.recv(1)


def _say(port: int, words: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(words)
        with suppress(ConnectionError):
            while connection.recv(100):
                pass


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_who_does_not_get_through_the_handshake_is_told_to_the_admin_and_holds_nobody(
    sqlite_url: str, tmp_path: Path, free_port: int, hospital: Authority, node: Identity, scanner: Identity
) -> None:
    ended = hospital.issue(SCANNER_NAME, as_="ended", days=-1)
    stranger = Authority(tmp_path, "elsewhere").issue(SCANNER_NAME, as_="ct1")
    itself = Authority(tmp_path, "itself")
    old = _context(scanner, node)
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    plain_suites = _context(scanner, node)
    plain_suites.maximum_version = ssl.TLSVersion.TLSv1_2
    plain_suites.set_ciphers("AES256-GCM-SHA384:ECDHE-ECDSA-AES128-SHA")
    attempts: dict[str, Callable[[], None]] = {
        "it shows no certificate": lambda: _shake(free_port, _context(None, node)),
        "its certificate has expired": lambda: _shake(free_port, _context(ended, node)),
        "not signed by an authority in tls.authorities": lambda: _shake(free_port, _context(stranger, node)),
        "is signed by itself": lambda: _shake(free_port, _self_signed_context(itself, node)),
        "only versions of TLS before 1.2": lambda: _shake(free_port, old),
        "no cipher suite of BCP 195": lambda: _shake(free_port, plain_suites),
        "it speaks no TLS there": lambda: _say(free_port, b"\x01\x00\x00\x00\x00\x04abcd"),
        "the handshake failed": lambda: _say(free_port, b"\x16\x03\x01\x00\x05" + bytes(5)),
    }

    with capture_logs() as logs, receiving(over_tls(tmp_path, sqlite_url, free_port, node)):
        for attempt in attempts.values():
            with suppress(OSError):
                attempt()
        assert_served(free_port, scanner, node)

    said = [line["error"] for line in logs if line["event"] == "tls.refused"]
    (listed,) = _refused(sqlite_url)
    unsaid = [expected for expected in attempts if not any(expected in words for words in said)]
    assert (unsaid, len(said)) == ([], len(attempts)), said
    assert (listed.address, listed.count, listed.calling_ae_title) == ("127.0.0.1", 8, "")
    assert listed.trouble in said  # the last that was written down; each caller has a thread of its own
    assert listed.trouble in what_lets_in(listed, over_tls(tmp_path, sqlite_url, free_port, node))


def _self_signed_context(itself: Authority, node: Identity) -> ssl.SSLContext:
    context = _context(None, node)
    context.load_cert_chain(itself.certificate, itself.key)
    return context


def test_a_look_whether_it_listens_is_no_failure(
    sqlite_url: str, tmp_path: Path, free_port: int, node: Identity, scanner: Identity
) -> None:
    with capture_logs() as logs, receiving(over_tls(tmp_path, sqlite_url, free_port, node)):
        socket.create_connection(("127.0.0.1", free_port)).close()
        assert_served(free_port, scanner, node)

    assert not [line for line in logs if line["event"] == "tls.refused"]
    assert _refused(sqlite_url) == []


def test_a_good_certificate_under_another_ae_title_is_rejected_and_listed_with_what_lets_it_in(
    sqlite_url: str, tmp_path: Path, free_port: int, hospital: Authority, node: Identity, scanner: Identity
) -> None:
    workstation = hospital.issue("ws7.hospital.example", as_="ws7")
    settings = over_tls(tmp_path, sqlite_url, free_port, node)

    with receiving(settings):
        as_scanner = associate(free_port, workstation, node)
        under_own_title = associate(free_port, workstation, node, calling="WS7")

    own, pretended = _refused(sqlite_url)
    assert [_answer(one) for one in (as_scanner, under_own_title)] == ["1/1/3"] * 2
    assert (pretended.calling_ae_title, own.calling_ae_title) == (SCANNER, "WS7")
    assert own.certificate_sha256 == workstation.fingerprint
    words = what_lets_in(own, settings)
    assert "ich-node senders allow WS7 127.0.0.1 --certificate ws7.hospital.example" in words
    assert workstation.fingerprint in words


def test_a_common_name_counts_only_where_the_certificate_has_no_dns_name(
    sqlite_url: str, tmp_path: Path, free_port: int, hospital: Authority, node: Identity
) -> None:
    old_fashioned = hospital.issue(common_name="CT Scanner 1", as_="old")
    pretender = hospital.issue("ws7.hospital.example", common_name="CT Scanner 1", as_="ws7")

    with receiving(over_tls(tmp_path, sqlite_url, free_port, node, named="ct scanner 1")):
        assert_served(free_port, old_fashioned, node)
        refused = associate(free_port, pretender, node)

    assert _answer(refused) == "1/1/3"


def test_an_entry_with_a_certificate_lets_in_over_tls_only_and_one_without_in_clear_text_only(
    sqlite_url: str, tmp_path: Path, free_port: int, hospital: Authority, node: Identity, scanner: Identity
) -> None:
    from reception import associate as associate_in_clear

    clear = another_port()
    plain = {"ae_title": "PLAIN", "address": "127.0.0.1"}
    secure = {"ae_title": SCANNER, "address": "127.0.0.1", "certificate": SCANNER_NAME}
    settings = settings_for(
        tmp_path,
        sqlite_url,
        clear,
        senders=[plain, secure],
        receiver={"tls_port": free_port},
        tls=node.settings(),
    )

    with receiving(settings):
        wrong = [
            associate_in_clear(clear, [(CT, [EXPLICIT])], calling=SCANNER),
            associate(free_port, scanner, node, calling="PLAIN"),
        ]

    advice = {one.calling_ae_title: what_lets_in(one, settings) for one in _refused(sqlite_url)}
    assert [_answer(one) for one in wrong] == ["1/1/3"] * 2
    assert f"have it call port {free_port} with TLS" in advice[SCANNER]
    assert f"allow PLAIN 127.0.0.1 --certificate {SCANNER_NAME}" in advice["PLAIN"]


def test_silent_and_half_handshakes_keep_nobody_out_and_are_cut_in_time(
    sqlite_url: str,
    tmp_path: Path,
    free_port: int,
    node: Identity,
    scanner: Identity,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(secured, "HANDSHAKE_WITHIN_S", 3.0)
    settings = over_tls(tmp_path, sqlite_url, free_port, node, max_associations=2)

    with capture_logs() as logs, receiving(settings), ExitStack() as stack:
        peers = [
            stack.enter_context(socket.create_connection(("127.0.0.1", free_port), timeout=30))
            for _ in range(8)
        ]
        for peer in peers[:4]:
            peer.sendall(HALF_HELLO)
        assert_served(free_port, scanner, node)
        served_while_they_wait = not any(line["event"] == "tls.refused" for line in logs)
        for peer in peers[:4]:  # one byte now and then does not prolong it
            with suppress(OSError):
                peer.sendall(b"\x01")
        ends = [peer.recv(100) for peer in peers]

    said = [line["error"] for line in logs if line["event"] == "tls.refused"]
    assert served_while_they_wait
    assert ends[4:] == [b""] * 4
    assert said == ["it does not end the handshake in time"] * 8


def test_who_stalls_after_the_handshake_is_cut_off_while_others_are_served(
    sqlite_url: str, tmp_path: Path, free_port: int, node: Identity, scanner: Identity
) -> None:
    settings = over_tls(tmp_path, sqlite_url, free_port, node, idle_timeout_s=3)

    with receiving(settings), ExitStack() as stack:
        peers = [
            stack.enter_context(
                _context(scanner, node).wrap_socket(
                    socket.create_connection(("127.0.0.1", free_port), timeout=30), server_hostname=NODE_NAME
                )
            )
            for _ in range(3)
        ]
        for peer, words in zip(peers, (b"", b"\x01", b"\x01\x00\x00\x00\x01\x00half"), strict=True):
            peer.sendall(words)
        assert_served(free_port, scanner, node)
        ends = [_read_to_the_end(peer) for peer in peers]

    # who began a PDU hears that it was aborted
    assert ends == [b"", A_ABORT_PDU, A_ABORT_PDU]


def _read_to_the_end(peer: ssl.SSLSocket) -> bytes:
    try:
        return peer.recv(100)
    except (ConnectionError, ssl.SSLEOFError):
        return b""  # closed without the farewell of TLS


def test_at_the_end_it_waits_for_no_handshake(
    sqlite_url: str, tmp_path: Path, free_port: int, node: Identity, scanner: Identity
) -> None:
    settings = over_tls(tmp_path, sqlite_url, free_port, node)

    with receiver_process(settings, tmp_path / "log") as process, ExitStack() as stack:
        for words in (b"", HALF_HELLO):
            peer = stack.enter_context(socket.create_connection(("127.0.0.1", free_port)))
            peer.sendall(words)
        assert_served(free_port, scanner, node)
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        exit_status = process.wait(30)
        seconds = time.monotonic() - started

    assert exit_status == 0
    assert seconds < secured.HANDSHAKE_WITHIN_S


def _replace(identity: Identity, by: Identity) -> None:
    """As an administrator does: the new files under the old names."""
    by.key.replace(identity.key)
    by.certificate.replace(identity.certificate)


def _shown(port: int, identity: Identity, node: Identity) -> str:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
        _context(identity, node).wrap_socket(plain, server_hostname=NODE_NAME) as connection,
    ):
        encoded = connection.getpeercert(binary_form=True)
    assert encoded is not None
    return ssl.DER_cert_to_PEM_cert(encoded).strip()


def test_new_files_serve_new_connections_and_broken_ones_change_nothing_but_the_log(
    sqlite_url: str, tmp_path: Path, free_port: int, hospital: Authority, node: Identity, scanner: Identity
) -> None:
    path = tmp_path / "one.dcm"
    path.write_bytes(Message.of(ct_series(slices=1)[0]).file())
    first = node.certificate.read_text().strip()
    renewed = hospital.issue(NODE_NAME, as_="renewed")
    second = renewed.certificate.read_text().strip()

    with capture_logs() as logs, receiving(over_tls(tmp_path, sqlite_url, free_port, node)):
        running = associate(free_port, scanner, node)
        shown = [_shown(free_port, scanner, node)]
        _replace(node, renewed)
        shown.append(_shown(free_port, scanner, node))
        node.key.write_text("not a key")
        shown += [_shown(free_port, scanner, node) for _ in range(2)]
        stored = running.send_c_store(path)
        running.release()

    events = [line["event"] for line in logs if "reloaded" in line["event"]]
    assert shown == [first, second, second, second]
    assert events == ["tls.reloaded", "tls.not_reloaded"]
    assert stored.Status == 0x0000


def test_files_that_are_wrong_at_the_start_are_said_in_words(
    sqlite_url: str, tmp_path: Path, free_port: int, node: Identity, scanner: Identity
) -> None:
    settings = over_tls(tmp_path, sqlite_url, free_port, node)
    scanner.key.replace(node.key)

    with pytest.raises(UsageError, match="the key does not belong to the certificate"):
        run(settings, threading.Event())


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_caller_that_asks_and_waits_in_small_pieces_is_served_to_the_end(
    sqlite_url: str,
    tmp_path: Path,
    free_port: int,
    node: Identity,
    scanner: Identity,
    newest: ssl.TLSVersion,
) -> None:
    """Many PDUs in one record, and one PDU in many: nothing may be left lying inside TLS."""
    image = ct_series(slices=1, rows=256, columns=256)[0]
    path = tmp_path / "one.dcm"
    path.write_bytes(Message.of(image).file())

    with receiving(over_tls(tmp_path, sqlite_url, free_port, node, max_pdu_bytes=4096)):
        association = associate(free_port, scanner, node, newest=newest)
        version = association.dul.socket.socket.version()
        started = time.monotonic()
        statuses = [association.send_c_store(path).Status for _ in range(10)]
        seconds = time.monotonic() - started
        association.release()

    assert version == newest.name.replace("_", ".")
    assert statuses == [0x0000] * 10
    assert seconds < 30


@contextmanager
def _led_by_openssl(
    port: int, identity: Identity, node: Identity
) -> Iterator[tuple[int, Callable[[], None]]]:
    """A port in clear text whose caller OpenSSL leads to the receiver; and how OpenSSL changes its keys."""
    command = ["openssl", "s_client", "-brief", "-tls1_3", "-connect", f"127.0.0.1:{port}"]
    files = ["-cert", identity.certificate, "-key", identity.key, "-CAfile", node.authority]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        subprocess.Popen([*command, *map(str, files)], bufsize=0, **pipes) as openssl,
    ):

        def lead() -> None:
            caller, _ = listening.accept()
            with caller:
                back = threading.Thread(target=_copy, args=(openssl.stdout.read, caller.sendall))
                back.start()
                _copy(caller.recv, openssl.stdin.write)
                openssl.terminate()
                back.join()

        thread = threading.Thread(target=lead)
        thread.start()
        yield listening.getsockname()[1], lambda: openssl.stdin.write(b"k\n")
        thread.join(20)
        assert not thread.is_alive()


def _copy(read: Callable[[int], bytes], write: Callable[[bytes], object]) -> None:
    with suppress(OSError):
        while piece := read(4096):
            write(piece)


def test_keys_that_change_while_the_peer_waits_do_not_hold_back_its_answer(
    sqlite_url: str, tmp_path: Path, free_port: int, node: Identity, scanner: Identity
) -> None:
    """Such a record makes the connection readable and holds nothing to read."""
    from reception import associate as associate_in_clear

    paths = [tmp_path / f"{number}.dcm" for number in range(2)]
    for path, image in zip(paths, ct_series(slices=2, rows=16, columns=16), strict=True):
        path.write_bytes(Message.of(image).file())
    lock = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    answers: list[int] = []

    with (
        receiving(over_tls(tmp_path, sqlite_url, free_port, node)),
        _led_by_openssl(free_port, scanner, node) as (led, change_keys),
    ):
        association = associate_in_clear(led, [(CT, [EXPLICIT])])
        association.send_c_store(paths[0])
        lock.execute("BEGIN IMMEDIATE")  # the answer to the next one waits for this
        sender = threading.Thread(target=lambda: answers.append(association.send_c_store(paths[1]).Status))
        sender.start()
        eventually(lambda: len(list((tmp_path / "storage/images").rglob("*.dcm"))) == 2)
        change_keys()
        time.sleep(0.5)  # until the record has come: nothing shows that it has
        lock.execute("ROLLBACK")
        sender.join(15)
        answered = list(answers)  # what is sent next would end a wait
        association.release()

    lock.close()
    assert answered == [0x0000]


def test_who_fills_the_waiting_room_of_one_port_keeps_nobody_from_the_other(
    sqlite_url: str, tmp_path: Path, free_port: int, node: Identity, scanner: Identity
) -> None:
    clear = another_port()
    settings = over_tls(
        tmp_path, sqlite_url, free_port, node, port=clear, max_associations=1, max_associations_per_address=1
    )

    with receiving(settings), ExitStack() as stack:
        for number in range(60):
            address = (f"127.0.1.{number // 10 + 1}", 0)
            stack.enter_context(socket.create_connection(("127.0.0.1", clear), source_address=address))
        eventually(lambda: sum("AcceptorThread" in one.name for one in threading.enumerate()) >= 51)
        assert_served(free_port, scanner, node)


def test_what_looks_like_a_fingerprint_is_no_name() -> None:
    pretender = PeerCertificate(names=("a" * 64,), sha256="b" * 64)

    assert not pretender.is_meant_by("a" * 64)
    assert pretender.is_meant_by("B" * 64)
