"""An administrator lets senders in and sends them away, while the receiver runs."""

from base64 import b64encode
from datetime import UTC, datetime, timedelta

import pytest
from builders import ct_series
from reception import NODE, SCANNER, Message, associate, receiving, send_messages, settings_for
from typer.testing import CliRunner

from ich_node.cli.app import app
from ich_node.core.urgency import NORMAL_S, OLD_S
from ich_node.demo.node import write_settings
from ich_node.network import entries_of
from ich_node.settings.sections import Sender
from ich_node.store import quarantine
from ich_node.store.database import Database
from ich_node.store.quarantine import list_refused_callers, note_refused_caller
from ich_node.store.senders import allow_sender
from ich_node.store.studies import find_study

NEW = "CT_NEW"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
MESSAGE = Message.of(ct_series(slices=1, rows=8, columns=8)[0])


@pytest.fixture
def senders(sqlite_url, tmp_path):
    """Runs `ich-node senders ...`."""
    file = tmp_path / "settings.toml"
    write_settings(file, {"database.url": sqlite_url, "storage.folder": str(tmp_path / "storage")})

    def run(*words, exit_code=0):
        done = CliRunner().invoke(app, ["--settings", str(file), "senders", *words])
        raised = "" if done.exception is None else str(done.exception)
        assert (done.exit_code == 0) is (exit_code == 0), done.output
        return done.output + raised

    return run


def _is_let_in(port, title=NEW):
    association = associate(port, [(MESSAGE.sop_class_uid, [MESSAGE.transfer_syntax_uid])], calling=title)
    let_in = association.is_established
    if let_in:
        association.release()
    return let_in


def test_who_was_refused_is_let_in_by_the_command_that_the_list_names_and_out_again(
    senders, sqlite_url, tmp_path, free_port
):
    with receiving(settings_for(tmp_path, sqlite_url, free_port)) as port:
        assert not _is_let_in(port)
        command = f"ich-node senders allow {NEW} 127.0.0.1"
        assert command in senders("list")

        senders(*command.split()[2:], "--urgency", "high")
        answers = send_messages(port, [MESSAGE], tmp_path, calling=NEW, called=NODE)
        listed = senders("list")

        senders("remove", NEW, "127.0.0.1")
        assert not _is_let_in(port)
        assert _is_let_in(port, SCANNER)

    assert [answer.Status for answer in answers] == [0]
    assert f"may send: {NEW} from 127.0.0.1, allowed on " in listed
    assert "refused" not in listed
    with Database(sqlite_url).transaction() as connection:
        study_uid = connection.exec_driver_sql("select study_uid from studies").scalar_one()
        trail = connection.exec_driver_sql("select message from audit_events").scalars().all()
        found = find_study(connection, study_uid)
    commands = [b64encode(f"senders {verb}".encode()).decode() for verb in ("allow", "remove")]
    assert [sum(command in line for line in trail) for command in commands] == [1, 1]
    # high, but sent with low priority and of another day
    assert found.handicap_s == NORMAL_S + OLD_S


def test_what_makes_no_sense_is_refused_in_words(senders):
    assert "not let in by" in senders("remove", NEW, "127.0.0.1", exit_code=2)
    assert "host names are not served" in senders("allow", NEW, "ct.hospital.example", exit_code=2)
    assert "AE title" in senders("allow", "A" * 17, "10.1.2.3", exit_code=2)
    assert "receiver.tls_port is 0" in senders("allow", NEW, "10.1.2.3", "--certificate", "ct1", exit_code=2)


def test_one_sender_may_have_a_way_in_with_a_certificate_and_one_without(senders, sqlite_url):
    with Database(sqlite_url).transaction() as connection:
        for certificate in ("", "ct1.example"):
            sender = Sender(ae_title=NEW, address="127.0.0.1", certificate=certificate)
            allow_sender(connection, sender, now=NOW)

    assert senders("list").count(f"may send: {NEW} from 127.0.0.1") == 2

    assert "ct1.example" in senders("remove", NEW, "127.0.0.1", "--certificate", "ct1.example")
    assert f"may send: {NEW} from 127.0.0.1, allowed on " in senders("list")
    senders("remove", NEW, "127.0.0.1")
    assert NEW not in senders("list")


def test_who_is_allowed_over_tls_and_calls_in_clear_text_hears_so(senders, sqlite_url):
    with Database(sqlite_url).transaction() as connection:
        allow_sender(
            connection, Sender(ae_title=NEW, address="127.0.0.1", certificate="ct1.example"), now=NOW
        )
        _refuse(connection, "127.0.0.1")

    assert "its entry asks for a certificate" in senders("list")


def test_the_urgency_that_is_allowed_holds_for_a_sender_of_the_settings_too(
    senders, sqlite_url, tmp_path, free_port
):
    with receiving(settings_for(tmp_path, sqlite_url, free_port)) as port:
        send_messages(port, [MESSAGE], tmp_path)
        senders("allow", SCANNER, "127.0.0.1", "--urgency", "high")
        other = Message.of(ct_series(slices=1, rows=8, columns=8, seed=2, study_uid="1.2.3.4")[0])
        send_messages(port, [other], tmp_path)

    with Database(sqlite_url).transaction() as connection:
        before, after = connection.exec_driver_sql("select handicap_s from studies order by id").scalars()
    assert after < before


def test_to_allow_a_network_forgets_who_was_refused_in_it(senders, sqlite_url):
    with Database(sqlite_url).transaction() as connection:
        for address in ("10.1.2.3", "10.2.2.3"):
            _refuse(connection, address)

    senders("allow", NEW, "10.1.0.0/16")

    with Database(sqlite_url).transaction() as connection:
        assert [one.address for one in list_refused_callers(connection)] == ["10.2.2.3"]


def test_who_is_refused_now_is_listed_however_many_were_before(sqlite_url, monkeypatch):
    monkeypatch.setattr(quarantine, "MOST_REFUSED_CALLERS", 2)
    with Database(sqlite_url).transaction() as connection:
        for day, address in enumerate(("10.1.0.1", "10.1.0.2", "10.1.0.3")):
            _refuse(connection, address, now=NOW + timedelta(days=day))

        assert [one.address for one in list_refused_callers(connection)] == ["10.1.0.3", "10.1.0.2"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("::ffff:10.1.0.0/112", "10.1.0.0/16"),
        ("10.1.0.0/16", "10.1.0.0/16"),
        ("fe80::1", "fe80::1"),
    ],
)
def test_an_address_of_ipv4_written_as_one_of_ipv6_is_the_same(written, meant):
    sender = Sender(ae_title=NEW, address=written)

    assert sender.address == meant
    assert entries_of([sender], NEW, written.partition("/")[0]) == [sender]


def _refuse(connection, address, now=NOW):
    note_refused_caller(connection, calling_ae_title=NEW, called_ae_title="ICHNODE", address=address, now=now)
