"""The receiver over real associations: from DCMTK, and from senders that do what they should not."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path

import psutil
import pytest
from builders import ct_series, write_files
from peers import Dcmtk, PostgresServer
from pydicom import dcmread
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from reception import (
    DEFLATED,
    EXPLICIT,
    NODE,
    SCANNER,
    Message,
    associate,
    count,
    eventually,
    log_lines,
    receiver_process,
    receiving,
    send_messages,
    settings_for,
)
from structlog.testing import capture_logs

from ich_node.dicom.part10 import split
from ich_node.intake import receiver
from ich_node.intake.upper_layer import SteadyTimer
from ich_node.store.database import Database
from ich_node.store.files import name_of
from ich_node.store.quarantine import list_refused_callers
from ich_node.store.refusals import list_refusals

CT = "1.2.840.10008.5.1.4.1.1.2"


def small(**tags: object) -> list[Message]:
    return [Message.of(dataset) for dataset in ct_series(slices=3, rows=16, columns=16, **tags)]


def storescu(dcmtk: Dcmtk, port: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    options = [argument for argument in arguments if argument.startswith("-")]
    files = [argument for argument in arguments if not argument.startswith("-")]
    command = [dcmtk.storescu, "-aet", SCANNER, "-aec", NODE, *options, "127.0.0.1", str(port), *files]
    # without it DCMTK's Nagle and our delayed acknowledgements cost 40 ms an image
    quick = {"TCP_NODELAY": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=quick)


@pytest.mark.peer
@pytest.mark.parametrize("program", ["storescu", "dcmsend"])
def test_what_dcmtk_sends_is_stored_byte_for_byte(
    database: Database, database_url: str, tmp_path: Path, free_port: int, dcmtk: Dcmtk, program: str
) -> None:
    series = ct_series(slices=5)
    sent = write_files(series, tmp_path / "sent")
    settings = settings_for(tmp_path, database_url, free_port)
    command = [getattr(dcmtk, program), "-aet", SCANNER, "-aec", NODE, "127.0.0.1", str(free_port)]

    with receiving(settings):
        done = subprocess.run([*command, *map(str, sent)], capture_output=True, text=True, check=False)
        eventually(lambda: count(database, "associations", "closed_at is not null") == 1)

    stored = [path.read_bytes() for path in (tmp_path / "storage/images").rglob("*.dcm")]
    assert done.returncode == 0, done.stderr
    assert count(database, "instances") == 5
    assert count(database, "studies") == 1
    assert sorted(bytes(split(content)[1]) for content in stored) == sorted(
        bytes(split(path.read_bytes())[1]) for path in sent
    )


@pytest.mark.peer
def test_dcmtk_can_read_what_is_stored(sqlite_url: str, tmp_path: Path, free_port: int, dcmtk: Dcmtk) -> None:
    (sent,) = write_files(ct_series(slices=1), tmp_path / "sent")

    with receiving(settings_for(tmp_path, sqlite_url, free_port)):
        storescu(dcmtk, free_port, "-xi", str(sent))

    (stored,) = (tmp_path / "storage/images").rglob("*.dcm")
    assert dcmread(stored).file_meta.TransferSyntaxUID == "1.2.840.10008.1.2"
    assert dcmread(stored).PixelData == dcmread(sent).PixelData


@pytest.mark.peer
def test_it_answers_an_echo(sqlite_url: str, tmp_path: Path, free_port: int, dcmtk: Dcmtk) -> None:
    command = [dcmtk.echoscu, "-aet", SCANNER, "-aec", NODE, "127.0.0.1", str(free_port)]

    with receiving(settings_for(tmp_path, sqlite_url, free_port)):
        done = subprocess.run(command, timeout=20, check=False)

    assert done.returncode == 0


@pytest.mark.parametrize(
    ("calling", "called", "network", "reason"),
    [
        ("STRANGER", NODE, "127.0.0.1", "1/1/3"),
        (SCANNER, NODE, "10.0.0.0/8", "1/1/3"),
        (SCANNER, "SOMEBODY", "127.0.0.0/8", "1/1/7"),
    ],
)
def test_an_unknown_caller_is_rejected_with_the_reason_and_listed(
    sqlite_url: str, tmp_path: Path, free_port: int, calling: str, called: str, network: str, reason: str
) -> None:
    senders = [{"ae_title": SCANNER, "address": network}]

    with receiving(settings_for(tmp_path, sqlite_url, free_port, senders=senders)):
        refused = [associate(free_port, [(CT, [EXPLICIT])], calling=calling, called=called) for _ in range(2)]

    database = Database(sqlite_url)
    with database.transaction() as connection:
        (listed,) = list_refused_callers(connection)
    database.dispose()
    answers = [association.acceptor.primitive for association in refused]
    assert [f"{one.result}/{one.result_source}/{one.diagnostic}" for one in answers] == [reason] * 2
    assert (listed.calling_ae_title, listed.called_ae_title) == (calling, called)
    assert (listed.address, listed.count) == ("127.0.0.1", 2)


def test_deflated_data_sets_are_never_agreed_on(sqlite_url: str, tmp_path: Path, free_port: int) -> None:
    proposed = [(CT, [DEFLATED]), ("1.2.840.10008.5.1.4.1.1.4", [DEFLATED, EXPLICIT])]

    with receiving(settings_for(tmp_path, sqlite_url, free_port)):
        association = associate(free_port, proposed)
        (accepted,), (rejected,) = association.accepted_contexts, association.rejected_contexts
        association.release()

    assert (rejected.abstract_syntax, rejected.result) == (CT, 4)
    assert accepted.transfer_syntax == [EXPLICIT]


def test_private_and_unknown_storage_classes_are_stored_but_not_other_services(
    sqlite_url: str, tmp_path: Path, free_port: int
) -> None:
    private = "1.3.12.2.1107.5.9.1"
    find = "1.2.840.10008.5.1.4.1.2.2.1"
    dataset = ct_series(slices=1, sop_class=private)[0]

    with receiving(settings_for(tmp_path, sqlite_url, free_port)):
        (response,) = send_messages(free_port, [Message.of(dataset)], tmp_path)
        association = associate(free_port, [(find, [EXPLICIT]), (CT, [EXPLICIT])])
        rejected = [context.abstract_syntax for context in association.rejected_contexts]
        association.release()

    assert response.Status == 0x0000
    assert rejected == [find]


def test_each_compressed_syntax_is_stored_as_it_comes(
    sqlite_url: str, tmp_path: Path, free_port: int
) -> None:
    syntaxes = ["1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5"]
    template = Message.of(ct_series(slices=1)[0])
    messages = [
        Message(
            sop_class_uid=template.sop_class_uid,
            sop_instance_uid=f"1.2.3.{number}",
            transfer_syntax_uid=syntax,
            dataset=template.dataset.replace(
                template.sop_instance_uid.encode(),
                f"1.2.3.{number}".encode().ljust(len(template.sop_instance_uid), b"\x00"),
            ),
        )
        for number, syntax in enumerate(syntaxes)
    ]

    with receiving(settings_for(tmp_path, sqlite_url, free_port)):
        responses = send_messages(free_port, messages, tmp_path)

    stored = [split(path.read_bytes()) for path in (tmp_path / "storage/images").rglob("*.dcm")]
    assert [response.Status for response in responses] == [0, 0, 0]
    assert sorted(meta.transfer_syntax_uid for meta, _ in stored) == sorted(syntaxes)


@pytest.mark.filterwarnings("ignore")
def test_bad_instances_get_their_status_and_the_rest_of_the_study_is_stored(
    sqlite_url: str, tmp_path: Path, free_port: int
) -> None:
    first, second, third = small()
    long_uid = "1." + "2" * 68
    messages = [
        first,
        Message(sop_class_uid=CT, sop_instance_uid="1.2.3", dataset=bytes(range(256)) * 8),
        Message(sop_class_uid=CT, sop_instance_uid=long_uid, dataset=second.dataset),
        Message(sop_class_uid=CT, sop_instance_uid="1.2.3.4", dataset=second.dataset),
        second,
        third,
    ]

    with receiving(settings_for(tmp_path, sqlite_url, free_port)):
        responses = send_messages(free_port, messages, tmp_path)

    statuses = [response.get("Status") for response in responses]
    database = Database(sqlite_url)
    assert statuses == [0x0000, 0xC000, 0xA900, 0xA900, 0x0000, 0x0000]
    assert len(responses[1].ErrorComment) <= 64
    assert count(database, "instances") == 3
    assert count(database, "quarantine") == 1
    with database.reading() as connection:
        refused = {one.status: one.count for one in list_refusals(connection)}
    assert refused == {"C000": 1, "A900": 2}
    database.dispose()


def test_associations_beyond_the_limit_are_rejected_as_transient_and_then_fine(
    sqlite_url: str, tmp_path: Path, free_port: int
) -> None:
    settings = settings_for(tmp_path, sqlite_url, free_port, receiver={"max_associations": 2})

    with receiving(settings):
        open_ones = [associate(free_port, [(CT, [EXPLICIT])]) for _ in range(2)]
        refused = associate(free_port, [(CT, [EXPLICIT])])
        for association in open_ones:
            association.release()
        later = eventually(lambda: _established(free_port))
        later.release()

    answer = refused.acceptor.primitive
    assert (answer.result, answer.result_source, answer.diagnostic) == (2, 3, 2)


def _established(port: int):
    association = associate(port, [(CT, [EXPLICIT])])
    return association if association.is_established else None


def test_a_peer_that_trickles_or_stalls_is_cut_off_while_others_are_served(
    sqlite_url: str, tmp_path: Path, free_port: int
) -> None:
    settings = settings_for(tmp_path, sqlite_url, free_port, receiver={"idle_timeout_s": 1.5})

    with receiving(settings):
        started = time.monotonic()
        silent, half = (socket.create_connection(("127.0.0.1", free_port)) for _ in range(2))
        half.sendall(b"\x01")
        (response,) = send_messages(free_port, small()[:1], tmp_path)
        for peer in (silent, half):
            peer.settimeout(10)
            while peer.recv(100):
                pass
        seconds = time.monotonic() - started
        silent.close()
        half.close()

    assert response.Status == 0x0000
    assert seconds < 6


def test_a_pdu_longer_than_announced_ends_the_association_before_it_is_read(
    sqlite_url: str, tmp_path: Path, free_port: int
) -> None:
    before = psutil.Process().memory_info().rss

    with receiving(settings_for(tmp_path, sqlite_url, free_port)):
        peer = socket.create_connection(("127.0.0.1", free_port))
        peer.settimeout(10)
        peer.sendall(b"\x01\x00\xff\xff\xff\xff")
        answer = peer.recv(100)
        peer.close()
        (response,) = send_messages(free_port, small()[:1], tmp_path)

    assert answer[:1] == b"\x07"  # A-ABORT
    assert response.Status == 0x0000
    assert psutil.Process().memory_info().rss - before < 50_000_000


def test_a_data_set_over_the_limit_ends_its_association_only(
    sqlite_url: str, tmp_path: Path, free_port: int
) -> None:
    settings = settings_for(tmp_path, sqlite_url, free_port, receiver={"max_instance_mb": 1})
    (huge,) = ct_series(slices=1, rows=16, columns=16)
    huge.PixelData = bytes(1_500_000)

    with receiving(settings):
        (cut,) = send_messages(free_port, [Message.of(huge)], tmp_path)
        (stored,) = send_messages(free_port, small()[:1], tmp_path)

    assert "Status" not in cut
    assert stored.Status == 0x0000


def test_a_receiver_says_again_and_again_that_it_holds_an_association(
    sqlite_url: str, tmp_path: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver, "SEEN_EVERY_S", 0.1)
    database = Database(sqlite_url)
    path = tmp_path / "one.dcm"
    path.write_bytes(small()[0].file())

    def _seen() -> object:
        with database.engine.connect() as connection:
            return connection.exec_driver_sql("select seen_at from associations").scalar_one()

    with receiving(settings_for(tmp_path, sqlite_url, free_port)):
        sending = associate(free_port, [(CT, [EXPLICIT])])
        sending.send_c_store(path)
        first = _seen()
        eventually(lambda: _seen() != first)
        sending.release()

    database.dispose()


def test_the_row_of_an_association_is_closed_when_the_peer_aborts_or_vanishes(
    sqlite_url: str, tmp_path: Path, free_port: int
) -> None:
    database = Database(sqlite_url)
    path = tmp_path / "one.dcm"
    path.write_bytes(small()[0].file())

    with receiving(settings_for(tmp_path, sqlite_url, free_port)):
        aborting = associate(free_port, [(CT, [EXPLICIT])])
        aborting.send_c_store(path)
        eventually(lambda: count(database, "associations", "closed_at is null") == 1)
        aborting.abort()
        eventually(lambda: count(database, "associations", "closed_at is not null") == 1)
        vanishing = associate(free_port, [(CT, [EXPLICIT])])
        vanishing.send_c_store(path)
        vanishing.dul.socket.socket.shutdown(socket.SHUT_RDWR)
        eventually(lambda: count(database, "associations", "closed_at is not null") == 2)
        idle = associate(free_port, [(CT, [EXPLICIT])])
        idle.release()

    assert count(database, "associations") == 2  # one that stored nothing needs no row
    database.dispose()


@pytest.mark.peer
def test_more_than_a_hundred_instances_come_over_one_association(
    sqlite_url: str, tmp_path: Path, free_port: int, dcmtk: Dcmtk
) -> None:
    files = write_files(ct_series(slices=140, rows=8, columns=8, spacing_mm=1.0), tmp_path / "sent")

    with receiving(settings_for(tmp_path, sqlite_url, free_port)):
        done = storescu(dcmtk, free_port, *map(str, files))

    database = Database(sqlite_url)
    assert done.returncode == 0
    assert count(database, "instances") == 140
    assert count(database, "associations") == 1
    database.dispose()


def test_a_receiver_killed_between_file_and_row_loses_nothing(
    sqlite_url: str, tmp_path: Path, free_port: int
) -> None:
    settings = settings_for(tmp_path, sqlite_url, free_port)
    database = Database(sqlite_url)
    images = tmp_path / "storage/images"
    first, second, _ = small()
    lock = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)

    with receiver_process(settings, tmp_path / "log") as process:
        send_messages(free_port, [first], tmp_path)
        path = tmp_path / "second.dcm"
        path.write_bytes(second.file())
        association = associate(free_port, [(CT, [EXPLICIT])])
        association.send_c_store(path)  # its row exists now: only the instance's is missing below
        path.write_bytes(small()[2].file())
        lock.execute("BEGIN IMMEDIATE")
        sender = threading.Thread(target=association.send_c_store, args=(path,))
        sender.start()
        eventually(lambda: len(list(images.rglob("*.dcm"))) == 3)
        process.kill()
        process.wait()
        sender.join()
        lock.execute("ROLLBACK")
    before = count(database, "instances")

    with receiver_process(settings, tmp_path / "log"):
        eventually(lambda: count(database, "instances") == 3)
        eventually(lambda: count(database, "associations", "closed_at is null") == 0)

    assert before == 2
    assert "archive.files_adopted" in [line["event"] for line in log_lines(tmp_path / "log")]
    lock.close()
    database.dispose()


def test_the_file_is_safe_before_the_row_and_the_row_before_the_answer(
    sqlite_url: str, tmp_path: Path, free_port: int
) -> None:
    database = Database(sqlite_url)
    first, second, _ = small()
    lock = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    path = tmp_path / "second.dcm"
    path.write_bytes(second.file())
    answers = []

    with receiving(settings_for(tmp_path, sqlite_url, free_port)):
        association = associate(free_port, [(CT, [EXPLICIT])])
        first_path = tmp_path / "first.dcm"
        first_path.write_bytes(first.file())
        association.send_c_store(first_path)
        lock.execute("BEGIN IMMEDIATE")
        sender = threading.Thread(target=lambda: answers.append(association.send_c_store(path)))
        sender.start()
        eventually(lambda: len(list((tmp_path / "storage/images").rglob("*.dcm"))) == 2)
        time.sleep(0.3)
        (rows,) = lock.execute("select count(*) from instances").fetchone()
        answered = list(answers)
        lock.execute("ROLLBACK")
        sender.join()
        association.release()

    assert (rows, answered) == (1, [])
    assert answers[0].Status == 0x0000
    lock.close()
    database.dispose()


def test_at_the_end_it_lets_a_running_transfer_finish(
    sqlite_url: str, tmp_path: Path, free_port: int
) -> None:
    messages = [Message.of(one) for one in ct_series(slices=60, rows=128, columns=128, spacing_mm=2.0)]
    responses = []

    with receiver_process(settings_for(tmp_path, sqlite_url, free_port), tmp_path / "log") as process:
        sender = threading.Thread(
            target=lambda: responses.extend(send_messages(free_port, messages, tmp_path))
        )
        sender.start()
        eventually(lambda: list((tmp_path / "storage").rglob("*.dcm")))
        process.send_signal(signal.SIGTERM)
        sender.join(30)
        exit_status = process.wait(30)

    database = Database(sqlite_url)
    assert exit_status == 0
    assert [response.get("Status") for response in responses] == [0x0000] * 60
    assert count(database, "instances") == 60
    assert count(database, "associations", "closed_at is null") == 0
    database.dispose()


def test_at_the_end_it_does_not_wait_for_an_idle_peer(
    sqlite_url: str, tmp_path: Path, free_port: int
) -> None:
    with receiver_process(settings_for(tmp_path, sqlite_url, free_port), tmp_path / "log") as process:
        idle = associate(free_port, [(CT, [EXPLICIT])])
        process.send_signal(signal.SIGTERM)
        exit_status = process.wait(8)

    assert exit_status == 0
    eventually(lambda: idle.is_aborted)


def test_two_receivers_share_a_database_and_an_archive(
    database: Database, database_url: str, tmp_path: Path, free_port: int
) -> None:
    series = small()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        other_port = probe.getsockname()[1]

    with (
        receiving(settings_for(tmp_path, database_url, free_port)),
        receiving(settings_for(tmp_path, database_url, other_port)),
    ):
        threads = [
            threading.Thread(target=send_messages, args=(port, series, tmp_path))
            for port in (free_port, other_port)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert count(database, "instances") == 3
    assert count(database, "studies") == 1


def test_a_port_that_is_taken_is_said_in_words(sqlite_url: str, tmp_path: Path, free_port: int) -> None:
    from ich_node.errors import UsageError
    from ich_node.intake.receiver import run

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port))
        taken.listen()

        with pytest.raises(UsageError, match=str(free_port)):
            run(settings_for(tmp_path, sqlite_url, free_port), threading.Event())


def test_the_process_loads_no_torch_and_stays_small(sqlite_url: str, tmp_path: Path, free_port: int) -> None:
    listing = "import sys, ich_node.intake.receiver; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True)

    with receiver_process(settings_for(tmp_path, sqlite_url, free_port), tmp_path / "log") as process:
        send_messages(free_port, small(), tmp_path)
        rss_mb = psutil.Process(process.pid).memory_info().rss / 1e6

    print(f"receiver: {rss_mb:.0f} MB")
    assert not {"torch", "skimage", "highdicom", "scipy", "alembic"} & set(loaded.stdout.split())
    assert rss_mb < 120


def test_a_large_instance_is_held_in_memory_once_and_let_go_of(
    sqlite_url: str, tmp_path: Path, free_port: int
) -> None:
    """A sender that stays connected must not keep the last one in memory; nor is a long value copied."""
    image, size_mb = ct_series(seed=2, slices=1)[0], 60
    image.add_new(0x00091010, "OB", bytes(size_mb * 1_000_000))
    settings = settings_for(tmp_path, sqlite_url, free_port)

    with receiver_process(settings, tmp_path / "log") as process:
        send_messages(free_port, small(), tmp_path)
        before_mb = psutil.Process(process.pid).memory_info().rss / 1e6
        association = associate(free_port, [(CT, [EXPLICIT])])
        (tmp_path / "large.dcm").write_bytes(Message.of(image).file())
        answered = association.send_c_store(tmp_path / "large.dcm")
        after_mb = psutil.Process(process.pid).memory_info().rss / 1e6
        association.release()
        status = Path(f"/proc/{process.pid}/status").read_text()

    peak_mb = int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    assert answered.Status == 0x0000
    assert after_mb - before_mb < size_mb / 2
    assert peak_mb - before_mb < 1.5 * size_mb


def test_adoption_finds_nothing_to_do_in_a_sound_archive(
    sqlite_url: str, tmp_path: Path, free_port: int
) -> None:
    settings = settings_for(tmp_path, sqlite_url, free_port)

    with receiver_process(settings, tmp_path / "log"):
        send_messages(free_port, small(), tmp_path)
    with receiver_process(settings, tmp_path / "log"):
        send_messages(free_port, small(), tmp_path)

    events = {line["event"] for line in log_lines(tmp_path / "log")}
    assert not events & {"archive.files_adopted", "archive.files_lost"}
    assert len(list((tmp_path / "storage/images").rglob("*.dcm"))) == 3


def test_reconciliation_holds_up_neither_the_housekeeping_nor_the_end(
    sqlite_url: str, tmp_path: Path, free_port: int
) -> None:
    database = Database(sqlite_url)
    settings = settings_for(tmp_path, sqlite_url, free_port)
    # a file that takes for ever to read: nobody writes into this pipe
    pipe = tmp_path / "storage/images" / name_of("1.2.3", "ab" * 32)
    pipe.parent.mkdir(parents=True)
    os.mkfifo(pipe)
    os.utime(pipe, (1, 1))

    with receiver_process(settings, tmp_path / "log") as process:
        send_messages(free_port, small(), tmp_path)
        eventually(lambda: count(database, "associations", "closed_at is not null") == 1)
        process.send_signal(signal.SIGTERM)
        exit_status = process.wait(25)

    database.dispose()
    assert exit_status == 0


def test_a_file_that_cannot_be_read_does_not_stop_the_receiver(
    sqlite_url: str, tmp_path: Path, free_port: int
) -> None:
    settings = settings_for(tmp_path, sqlite_url, free_port)
    bad = tmp_path / "storage/images" / name_of("1.2.3", "ab" * 32)
    bad.mkdir(parents=True)
    os.utime(bad, (1, 1))

    with receiver_process(settings, tmp_path / "log") as process:
        eventually(lambda: "archive.file_unreadable" in (tmp_path / "log").read_text())
        responses = send_messages(free_port, small(), tmp_path)
        running = process.poll() is None

    assert running
    assert [response.Status for response in responses] == [0, 0, 0]


def test_an_old_schema_is_said_in_words(tmp_path: Path, free_port: int) -> None:
    from ich_node.errors import UsageError
    from ich_node.intake.receiver import run

    with pytest.raises(UsageError, match="ich-node migrate"):
        run(settings_for(tmp_path, f"sqlite:///{tmp_path / 'new.sqlite'}", free_port), threading.Event())


@pytest.mark.peer
def test_a_receiver_that_starts_before_its_database_asks_senders_to_try_later_and_then_stores(
    postgres: PostgresServer, tmp_path: Path, free_port: int
) -> None:
    url = postgres.create("away_for_reception", template="migrated")
    with ExitStack() as back:
        postgres.stop()
        back.callback(postgres.start)
        with receiving(settings_for(tmp_path, url, free_port)):
            (early,) = send_messages(free_port, small()[:1], tmp_path)
            back.close()
            (later,) = eventually(lambda: _all_stored(send_messages(free_port, small()[:1], tmp_path)))

    assert (early.Status, later.Status) == (0xA700, 0x0000)
    postgres.drop("away_for_reception")


def _all_stored(responses):
    return responses if all(response.Status == 0 for response in responses) else None


def test_a_peer_that_waits_for_our_answer_is_not_silent(
    sqlite_url: str, tmp_path: Path, free_port: int
) -> None:
    settings = settings_for(tmp_path, sqlite_url, free_port, receiver={"idle_timeout_s": 2})
    lock = sqlite3.connect(
        sqlite_url.removeprefix("sqlite:///"), isolation_level=None, check_same_thread=False
    )
    with receiving(settings):
        association = associate(free_port, [(CT, [EXPLICIT])])
        lock.execute("BEGIN IMMEDIATE")
        release = threading.Timer(5, lock.execute, args=("ROLLBACK",))
        release.start()
        responses = [association.send_c_store(dcmread(file)) for file in _files(tmp_path)]
        release.join()
        association.release()
    lock.close()

    assert [response.get("Status") for response in responses] == [0, 0, 0]


def _files(folder: Path) -> list[Path]:
    return write_files(ct_series(slices=3, rows=16, columns=16), folder / "sent")


def test_an_error_of_ours_at_the_door_closes_the_connection(
    sqlite_url: str, tmp_path: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def _fails(*_facts: object) -> None:
        raise KeyError

    monkeypatch.setattr(receiver.Reception, "admit", _fails)
    with capture_logs() as logs, receiving(settings_for(tmp_path, sqlite_url, free_port)):
        started = time.monotonic()
        association = associate(free_port, [(CT, [EXPLICIT])])
        seconds = time.monotonic() - started

    assert not association.is_established
    assert seconds < 15, "it hears of it before it gives up by itself"
    assert ("association.failed", "KeyError") in [(line["event"], line.get("error")) for line in logs]


def test_images_sent_without_waiting_for_answers_are_not_all_begun(
    sqlite_url: str, tmp_path: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []
    begin = receiver.Reception.begin
    monkeypatch.setattr(receiver.Reception, "begin", lambda *facts: begun.append(1) or begin(*facts))
    with capture_logs() as logs, receiving(settings_for(tmp_path, sqlite_url, free_port)):
        association = associate(free_port, [(CT, [EXPLICIT])])
        association.dul.socket.socket.sendall(_pdu_of_requests(association.accepted_contexts[0].context_id))
        eventually(lambda: not association.is_established or "association.over_limit" in str(logs))
        association.abort()

    assert 0 < len(begun) < 20
    assert not list((tmp_path / "storage").rglob("*.part*"))


def _pdu_of_requests(context_id: int) -> bytes:
    """A hundred requests to store in one P-DATA-TF."""
    values = b""
    for number in range(1, 101):
        request = C_STORE()
        request.MessageID, request.Priority = number, 0
        request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = CT, f"1.2.3.{number}"
        request.DataSet = BytesIO(bytes(16))
        message = C_STORE_RQ()
        message.primitive_to_message(request)
        for primitive in message.encode_msg(context_id, 16382):
            for at, value in primitive.presentation_data_value_list:
                values += (len(value) + 1).to_bytes(4, "big") + bytes([at]) + value
    return b"\x04\x00" + len(values).to_bytes(4, "big") + values


@pytest.mark.peer
def test_an_allowed_sender_is_only_put_off_while_nobody_can_look_whether_it_is(
    tmp_path: Path, free_port: int, postgres: PostgresServer
) -> None:
    url = postgres.create("away_for_callers", template="migrated")
    postgres.stop()
    try:
        with receiving(settings_for(tmp_path, url, free_port)):
            put_off = associate(free_port, [(CT, [EXPLICIT])], calling="CT_NEW")
    finally:
        postgres.start()
    postgres.drop("away_for_callers")

    said = put_off.acceptor.primitive
    assert (said.result, said.result_source, said.diagnostic) == (2, 3, 1)


def test_a_step_of_the_clock_on_the_wall_ends_no_association(monkeypatch: pytest.MonkeyPatch) -> None:
    timer = SteadyTimer(60)
    timer.start()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3600)

    assert not timer.expired
    assert timer.remaining > 0
    timer.timeout = -1
    assert timer.expired
