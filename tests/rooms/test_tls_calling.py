"""Calling over TLS: reports to DCMTK and Orthanc, and in words what is wrong with a peer's certificate."""

import shutil
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from builders import ct_series
from certificates import NODE_NAME, PACS_NAME, Authority, Identity
from outbox import NOW, SC, SR, deliveries, put_into_outbox, report, sending, storescp
from peers import Dcmtk, OrthancServer, missing
from pynetdicom import AE, _config, build_context
from reception import archive_of, count, eventually, receiving, settings_for

from ich_node.cli.destinations import examine_destination
from ich_node.cli.doctor import check_sources
from ich_node.core.states import DeliveryState
from ich_node.delivery import confirm
from ich_node.delivery.confirm import confirm_due
from ich_node.delivery.reach import Sending
from ich_node.delivery.send import deliver_due
from ich_node.errors import DestinationAway
from ich_node.intake.fetch import Fetching, fetch, find_studies, held
from ich_node.network import VERIFICATION, association_with
from ich_node.settings.sections import Tls
from ich_node.store.database import Database
from ich_node.tls import Credentials


@pytest.fixture(autouse=True)
def _peers_negotiate_as_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_config, "UNRESTRICTED_STORAGE_SERVICE", False)
    monkeypatch.setattr(confirm, "LINGER_S", 0.5)


@pytest.fixture
def hospital(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def node(hospital: Authority) -> Identity:
    return hospital.issue(NODE_NAME, as_="node")


@pytest.fixture
def pacs(hospital: Authority) -> Identity:
    return hospital.issue(PACS_NAME, as_="pacs")


def credentials(node: Identity) -> Credentials:
    return Credentials(Tls.model_validate(node.settings()))


def secured(to: Sending, node: Identity, *, tls_name: str = PACS_NAME) -> Sending:
    """The same destination, called over TLS by an address that its certificate does not name."""
    destination = to.destination.model_copy(update={"tls": True, "tls_name": tls_name})
    return replace(to, destination=destination, credentials=credentials(node))


def _in_words(folder: Path, port: int, node: Identity, *, tls_name: str = PACS_NAME) -> str:
    """What the doctor says of a destination, and of a source at the same place."""
    remote = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": port, "tls": True}
    senders = [{"ae_title": "PACS", "address": "127.0.0.1"}]
    entities = {key: [{**remote, "tls_name": tls_name}] for key in ("destinations", "sources")}
    settings = settings_for(folder, "", port, senders=senders, tls=node.settings(), **entities)
    destination = next(examine_destination(settings.destinations[0], settings))
    (source,) = check_sources(settings)
    assert destination.passed == source.passed
    because = destination.words.partition("(")[2].rpartition(")")[0]
    assert because in source.words
    return because


@pytest.mark.peer
def test_reports_go_to_dcmtk_over_tls(
    database: Database, tmp_path: Path, free_port: int, dcmtk: Dcmtk, node: Identity, pacs: Identity
) -> None:
    study_id = put_into_outbox(database, report(SR, 1), report(SC, 2, size=300_000))

    with storescp(dcmtk, tmp_path / "taken", free_port, *pacs.options()):
        sent = deliver_due(database, secured(sending(free_port), node))
        said = _in_words(tmp_path, free_port, node)

    assert sent == 2
    assert {one.state for one in deliveries(database, study_id)} == {DeliveryState.SENT}
    assert len(list((tmp_path / "taken").iterdir())) == 2
    assert said == ""


@pytest.mark.peer
@pytest.mark.parametrize(
    ("shown", "tls_name", "words"),
    [
        (
            "elsewhere",
            PACS_NAME,
            "is not signed by an authority in tls.authorities: if it is to be trusted, add its",
        ),
        ("ended", PACS_NAME, "has expired"),
        ("pacs", "", f"is not for 127.0.0.1, but for {PACS_NAME}: set tls_name to it"),
        ("pacs", "ris.hospital.example", f"is not for ris.hospital.example, but for {PACS_NAME}"),
    ],
)
def test_a_certificate_that_is_wrong_is_said_in_words_and_nothing_is_sent(
    sqlite_url: str,
    tmp_path: Path,
    free_port: int,
    dcmtk: Dcmtk,
    hospital: Authority,
    node: Identity,
    shown: str,
    tls_name: str,
    words: str,
) -> None:
    identities = {
        "pacs": hospital.issue(PACS_NAME, as_="pacs"),
        "ended": hospital.issue(PACS_NAME, as_="ended", days=-1),
        "elsewhere": Authority(tmp_path, "elsewhere").issue(PACS_NAME, as_="pacs"),
    }
    trusting = replace(identities[shown], authority=hospital.certificate)
    database = Database(sqlite_url)
    study_id = put_into_outbox(database, report())

    with storescp(dcmtk, tmp_path / "taken", free_port, *trusting.options()):
        deliver_due(database, secured(sending(free_port), node, tls_name=tls_name))
        said = _in_words(tmp_path, free_port, node, tls_name=tls_name)

    (waiting,) = deliveries(database, study_id)
    database.dispose()
    assert words in said
    assert waiting.state is DeliveryState.PENDING
    assert list((tmp_path / "taken").iterdir()) == []


@pytest.mark.peer
def test_a_peer_that_does_not_trust_us_is_told_from_one_that_we_do_not_trust(
    tmp_path: Path, free_port: int, dcmtk: Dcmtk, node: Identity, pacs: Identity
) -> None:
    suspicious = replace(pacs, authority=Authority(tmp_path, "elsewhere").certificate)

    with storescp(dcmtk, tmp_path / "taken", free_port, *suspicious.options()):
        said = _in_words(tmp_path, free_port, node)

    assert "it does not trust who signed our certificate: give it our authority" in said


@pytest.mark.peer
def test_a_peer_without_tls_is_said_in_words(
    tmp_path: Path, free_port: int, dcmtk: Dcmtk, node: Identity
) -> None:
    with storescp(dcmtk, tmp_path / "taken", free_port):
        said = _in_words(tmp_path, free_port, node)

    assert said.startswith(f"no TLS with pacs at 127.0.0.1:{free_port}: it ")


def test_a_peer_that_is_away_is_away_as_ever(tmp_path: Path, free_port: int, node: Identity) -> None:
    assert _in_words(tmp_path, free_port, node) == f"pacs does not answer at 127.0.0.1:{free_port}"


def test_files_of_ours_that_are_wrong_leave_the_report_waiting(
    sqlite_url: str, free_port: int, node: Identity
) -> None:
    database = Database(sqlite_url)
    study_id = put_into_outbox(database, report())
    to = secured(sending(free_port), node)
    node.certificate.unlink()

    deliver_due(database, to)
    with pytest.raises(DestinationAway, match=r"no TLS with pacs: tls.certificate: .* cannot be read"):
        _echo(to)

    (waiting,) = deliveries(database, study_id)
    database.dispose()
    assert waiting.state is DeliveryState.PENDING


@pytest.mark.peer
def test_a_renewed_certificate_serves_the_next_delivery_of_the_same_process(
    sqlite_url: str, tmp_path: Path, free_port: int, dcmtk: Dcmtk, hospital: Authority, pacs: Identity
) -> None:
    ours = hospital.issue(NODE_NAME, as_="node", days=-1)
    renewed = hospital.issue(NODE_NAME, as_="renewed")
    database = Database(sqlite_url)
    study_id = put_into_outbox(database, report())
    to = secured(sending(free_port), ours)

    with storescp(dcmtk, tmp_path / "taken", free_port, *pacs.options()):
        deliver_due(database, to)
        (before,) = deliveries(database, study_id)
        renewed.key.replace(ours.key)
        renewed.certificate.replace(ours.certificate)
        deliver_due(database, replace(to, now=lambda: NOW + timedelta(seconds=100)))

    (after,) = deliveries(database, study_id)
    database.dispose()
    assert (before.state, after.state) == (DeliveryState.PENDING, DeliveryState.SENT)


def _echo(to: Sending) -> int:
    with association_with(
        to.destination,
        [build_context(VERIFICATION)],
        calling_ae_title=to.calling_ae_title,
        timeout_s=to.timeout_s,
        credentials=to.credentials,
    ) as association:
        return int(association.send_c_echo().Status)


@contextmanager
def _peer_with_tickets(port: int, pacs: Identity) -> Iterator[None]:
    """A peer that sends two tickets after each handshake, before it was asked for anything."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(pacs.authority))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(pacs.certificate, pacs.key)
    entity = AE(ae_title="PACS")
    entity.add_supported_context(VERIFICATION)
    server = entity.start_server(("127.0.0.1", port), block=False, ssl_context=context)
    assert server is not None
    try:
        yield
    finally:
        server.shutdown()


def test_tickets_that_a_peer_sends_unasked_hold_no_request(
    free_port: int, node: Identity, pacs: Identity
) -> None:
    to = secured(sending(free_port, timeout_s=20), node)

    with _peer_with_tickets(free_port, pacs):
        started = time.monotonic()
        answers = [_echo(to) for _ in range(10)]
        seconds = time.monotonic() - started

    assert answers == [0x0000] * 10
    assert seconds < to.timeout_s


class TlsOrthanc(OrthancServer):
    """An Orthanc that speaks nothing but TLS, and wants a certificate of its callers."""

    def __init__(self, program: str, folder: Path, identity: Identity) -> None:
        self._identity = identity
        super().__init__(program, folder, node_ae_title="ICHNODE")

    def settings(self) -> dict[str, Any]:
        return {
            "DicomTlsEnabled": True,
            "DicomTlsCertificate": str(self._identity.certificate),
            "DicomTlsPrivateKey": str(self._identity.key),
            "DicomTlsTrustedCertificates": str(self._identity.authority),
            "DicomTlsRemoteCertificateRequired": True,
            "DicomModalities": {
                "node": {"AET": "ICHNODE", "Host": "127.0.0.1", "Port": self.node_port, "UseDicomTls": True}
            },
        }


@pytest.fixture
def tls_orthanc(tmp_path: Path, pacs: Identity) -> Iterator[TlsOrthanc]:
    program = shutil.which("Orthanc", path="/usr/bin:/usr/sbin:/usr/local/bin:/usr/local/sbin")
    if program is None:
        missing("Orthanc (Debian package orthanc)")
    folder = tmp_path / "orthanc"
    folder.mkdir()
    server = TlsOrthanc(str(program), folder, pacs)
    server.start()
    yield server
    server.stop()


@pytest.mark.peer
def test_orthanc_takes_reports_and_commits_to_them_over_tls_both_ways(
    sqlite_url: str, tmp_path: Path, tls_orthanc: TlsOrthanc, node: Identity
) -> None:
    database = Database(sqlite_url)
    study_id = put_into_outbox(database, report(SR, 1), report(SC, 2))
    title = tls_orthanc.ae_title
    to = secured(sending(tls_orthanc.port, confirm="commitment", ae_title=title), node)
    senders = [{"ae_title": title, "address": "127.0.0.1", "certificate": PACS_NAME}]
    receiver = {"port": 0, "tls_port": tls_orthanc.node_port}
    settings = settings_for(tmp_path, sqlite_url, 0, senders=senders, receiver=receiver, tls=node.settings())

    sent = deliver_due(database, to)
    with receiving(settings):
        later = replace(to, now=lambda: NOW + timedelta(seconds=10))

        def confirmed() -> bool:
            confirm_due(database, later)
            return {one.state for one in deliveries(database, study_id)} == {DeliveryState.CONFIRMED}

        eventually(confirmed, within_s=30)

    assert sent == 2
    assert count(database, "refused_callers") == 0
    database.dispose()


@pytest.mark.peer
def test_studies_are_fetched_from_orthanc_over_tls_both_ways(
    sqlite_url: str, tmp_path: Path, tls_orthanc: TlsOrthanc, node: Identity
) -> None:
    database, images = Database(sqlite_url), ct_series(slices=3, rows=16, columns=16, AccessionNumber="A-1")
    title, trusted = tls_orthanc.ae_title, credentials(node)
    remote = {"name": "pacs", "ae_title": title, "host": "127.0.0.1", "port": tls_orthanc.port}
    settings = settings_for(
        tmp_path,
        sqlite_url,
        0,
        senders=[{"ae_title": title, "address": "127.0.0.1", "certificate": PACS_NAME}],
        sources=[{**remote, "tls": True, "tls_name": PACS_NAME}],
        receiver={"port": 0, "tls_port": tls_orthanc.node_port},
        tls=node.settings(),
    )
    (source,) = settings.sources
    contexts = [build_context(images[0].SOPClassUID)]
    with association_with(
        source, contexts, calling_ae_title="CT1", timeout_s=20, credentials=trusted
    ) as scanner:
        statuses = [scanner.send_c_store(image).Status for image in images]

    fetching = Fetching(source=source, receiver=settings.receiver, timeout_s=20, credentials=trusted)
    with receiving(settings):
        (study,), _ = find_studies(fetching, "A-1")
        archive = archive_of(settings)
        result = fetch(
            fetching, study, here=lambda: held(database, archive, study.study_uid), tell=lambda _: None
        )

    database.dispose()
    assert statuses == [0x0000] * 3
    assert (result.trouble, result.here, result.whole) == (None, 3, True)
