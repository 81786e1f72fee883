"""What is said of certificates before they end, and of settings of TLS that cannot work."""

import json
import re
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from certificates import NODE_NAME, Authority, Identity
from reception import eventually, settings_for
from structlog.testing import capture_logs

from ich_node import scheduler
from ich_node.certificates import certificates_in, days_left, warn_of_ends
from ich_node.cli.certificates import examine_certificates
from ich_node.errors import SettingsError
from ich_node.settings.sections import Tls
from ich_node.settings.tree import load

TLS = '[tls]\ncertificate = "a"\nkey = "b"\nauthorities = "c"\n'


@pytest.fixture
def node(tmp_path: Path) -> Identity:
    return Authority(tmp_path).issue(NODE_NAME, as_="node", days=100)


def _files(node: Identity) -> Tls:
    return Tls.model_validate(node.settings(warn_days=30))


def _in(days: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


@pytest.mark.parametrize(
    ("after_days", "passed", "words"),
    [
        (0, True, "days"),
        (69, True, "in 30 days"),
        (71, False, "in 28 days; have it renewed and put it into"),
        (98.5, False, "in 1 day; have it renewed"),
        (105, False, "5 days ago; have it renewed"),
    ],
)
def test_our_own_certificate_is_warned_about_in_time(
    node: Identity, after_days: float, passed: bool, words: str
) -> None:
    own, authority = examine_certificates(_files(node), now=_in(after_days))

    assert own.passed is passed
    assert words in own.words
    assert passed or f"{node.certificate} (tls.certificate); no restart is needed" in own.words
    assert authority.passed


def test_an_authority_that_ends_is_named_with_what_to_do(node: Identity) -> None:
    _, authority = certificates_in(_files(node))

    _, check = examine_certificates(_files(node), now=authority.ends_at - timedelta(days=3))

    assert not check.passed
    assert f"ask that authority for its next one and add it to {node.authority}" in check.words


def test_days_left_is_the_time_until_the_end_in_days(node: Identity) -> None:
    own, _ = certificates_in(_files(node))

    assert days_left(own, now=own.ends_at - timedelta(hours=36)) == 1.5
    assert days_left(own, now=own.ends_at + timedelta(hours=12)) == -0.5


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda node: node.certificate.unlink(), "tls.certificate: .* cannot be read"),
        (lambda node: node.key.unlink(), "tls.key: .* cannot be read"),
        (lambda node: node.authority.write_text("no PEM"), "tls.authorities: no PEM that can be used"),
        (lambda node: node.certificate.write_text("no PEM"), "tls.certificate, tls.key: no PEM"),
        (
            lambda node: Authority(node.key.parent, "x").issue("x").key.replace(node.key),
            "the key does not belong to the certificate",
        ),
        (lambda node: node.key.write_bytes(_with_passphrase(node.key)), "protected by a passphrase"),
    ],
)
def test_files_that_do_not_fit_are_said_in_words(node: Identity, spoil, words: str) -> None:
    spoil(node)

    (check,) = examine_certificates(_files(node), now=_in(0))

    assert not check.passed
    assert re.search(words, check.words)


def _with_passphrase(key: Path) -> bytes:
    from cryptography.hazmat.primitives import serialization as form

    return form.load_pem_private_key(key.read_bytes(), None).private_bytes(
        form.Encoding.PEM, form.PrivateFormat.PKCS8, form.BestAvailableEncryption(b"secret")
    )


def test_without_tls_nothing_is_said() -> None:
    assert list(examine_certificates(Tls(), now=_in(0))) == []


def test_the_log_warns_before_the_end_and_alarms_after_it(node: Identity) -> None:
    with capture_logs() as logs:
        for days in (10, 80, 110):
            warn_of_ends(_files(node), now=_in(days))

    assert [(line["event"], line["log_level"], line["days"]) for line in logs] == [
        ("certificate.ends", "warning", 19),
        ("certificate.ends", "error", -10),
    ]
    assert {line["error"] for line in logs} == {"see tls.certificate"}


def test_the_scheduler_looks_at_the_certificates_when_it_starts(
    sqlite_url: str, tmp_path: Path, node: Identity
) -> None:
    settings = settings_for(tmp_path, sqlite_url, 11112, tls=node.settings(warn_days=1000))
    stop = threading.Event()

    with capture_logs() as logs:
        process = threading.Thread(target=scheduler.run, args=(settings, stop))
        process.start()
        eventually(lambda: any(line["event"] == "certificate.ends" for line in logs), within_s=30)
        stop.set()
        process.join(30)

    assert not process.is_alive()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[receiver]\nport = 0\n", "port and tls_port are both 0"),
        (f"[receiver]\ntls_port = 11112\n{TLS}", "port and tls_port are both 11112"),
        ("[receiver]\ntls_port = 2762\n", "receiver.tls_port needs [tls]"),
        ('[tls]\ncertificate = "a"\n', "TLS needs all three files"),
        (
            '[[destinations]]\nname = "pacs"\nae_title = "PACS"\nhost = "pacs"\nport = 2762\ntls = true\n',
            "tls = true of pacs needs [tls]",
        ),
        (
            f'{TLS}[[senders]]\nae_title = "CT1"\naddress = "10.1.2.3"\ncertificate = "ct1"\n',
            "CT1 must call with TLS; set receiver.tls_port",
        ),
        (
            f'{TLS}[receiver]\nport = 0\ntls_port = 1\n[[senders]]\nae_title = "CT1"\naddress = "10.1.2.3"\n',
            "CT1 call in clear text; name a certificate or set receiver.port",
        ),
    ],
)
def test_settings_of_tls_that_cannot_work_are_said_at_once(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(text)

    with pytest.raises(SettingsError) as raised:
        load(file)

    assert words in json.dumps(raised.value.problems)
