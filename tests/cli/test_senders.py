"""An administrator lets senders in and sends them away, while the receiver runs."""

from base64 import b64encode

import pytest
from builders import ct_series
from reception import NODE, SCANNER, Message, associate, receiving, send_messages, settings_for
from typer.testing import CliRunner

from ich_node.cli.app import app
from ich_node.core.urgency import NORMAL_S, OLD_S
from ich_node.demo.node import write_settings
from ich_node.store.database import Database
from ich_node.store.studies import find_study

NEW = "CT_NEW"
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
