"""Nothing of a patient leaves a node but by DICOM and the audit trail, whatever comes and goes wrong."""

import json
import os
import signal
import ssl
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from socket import create_connection
from urllib.request import urlopen

import psutil
import pytest
from builders import ct_series, phantom_study, write_files
from certificates import Authority
from leaks import Search, identity
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLosslessSV1
from pynetdicom import _config
from reception import Message, associate, count, eventually, send_messages
from syslog_receiver import SyslogReceiver, syslog_receiver

from ich_node.demo.node import DemoNode, free_port, running_node
from ich_node.demo.pacs import stand_in_pacs
from ich_node.demo.scanner import send
from ich_node.network import listens

# what odd values make pydicom say here is what it must not say there
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(900)]

CT = "1.2.840.10008.5.1.4.1.1.2"


@dataclass(frozen=True, kw_only=True)
class Person:
    """Somebody whose values are like nobody else's."""

    charset: list[str] = field(default_factory=lambda: ["ISO_IR 192"])
    codec: str = "utf-8"
    name: str
    patient_id: str
    birth_date: str
    accession_number: str

    def on(self, images: list[Dataset]) -> list[Dataset]:
        """The same images, of this person."""
        for image in images:
            image.SpecificCharacterSet = self.charset
            image.PatientName, image.PatientID = self.name, self.patient_id
            image.PatientBirthDate, image.AccessionNumber = self.birth_date, self.accession_number
        return images

    @property
    def secrets(self):
        values = {name: value for name, value in vars(self).items() if name != "charset"}
        return identity(**values)


ASCII = Person(
    name="Quarrelsome^Zebulon",
    patient_id="QX-77120-ZB",
    birth_date="19310713",
    accession_number="ACCQX77120",
)
JAPANESE = Person(
    charset=["", "ISO 2022 IR 87"],
    codec="iso2022_jp",
    name="Kuwagata^Zentaro=鍬形^善太郎",
    patient_id="KZ-55310-JP",
    birth_date="19440229",
    accession_number="ACCKZ55310",
)
CYRILLIC = Person(
    charset=["ISO_IR 144"],
    codec="iso8859_5",
    name="Щукарёв^Прокопий",
    patient_id="ЩК-9917-ПР",
    birth_date="19520118",
    accession_number="ACCSH99170",
)
ACCENTS = Person(
    charset=["ISO_IR 100"],
    codec="latin-1",
    name="Müßiggänger^Zoë-Désirée",
    patient_id="MÜ-40021-ZO",
    birth_date="19680804",
    accession_number="ACCMU40021",
)
HOSTILE = Person(
    name='"><script>Vexatious</script>^../../Mallory%s',
    patient_id="../../HOSTILE-8841{0}" + "x" * 70,  # longer than LO may be
    birth_date="19330228X",
    accession_number="ACC/../$(id)HX88410",
)
EVERYBODY = (ASCII, JAPANESE, CYRILLIC, ACCENTS, HOSTILE)
SECRETS = [secret for person in EVERYBODY for secret in person.secrets]


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A node in use, what its commands said, and who hears its audit trail."""

    node: DemoNode
    audit: SyslogReceiver
    said: dict[str, bytes]
    folder: Path


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """A node that was sent and asked everything, killed in between, and has ended."""
    folder = tmp_path_factory.mktemp("watched")
    hospital = Authority(folder)
    keeper = hospital.issue("127.0.0.1", as_="keeper")
    ours = hospital.issue("node.hospital.example", "127.0.0.1", as_="node")
    with stand_in_pacs(folder / "pacs") as pacs, syslog_receiver(keeper) as audit:
        pacs.refuse(1, status=0xA900)  # for good
        nobody = free_port()
        tls_port = free_port()
        settings = {
            "completion.quiet_s": 1,
            "senders": [{"ae_title": title, "address": "127.0.0.1"} for title in ("CT1", "OLD")],
            "receiver.tls_port": tls_port,
            **{f"tls.{name}": value for name, value in ours.settings().items()},
            "audit.host": "127.0.0.1",
            "audit.port": audit.port,
            "destinations": [
                {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": pacs.port},
                {"name": "away", "ae_title": "AWAY", "host": "127.0.0.1", "port": nobody},
            ],
            "sources": [{"name": "old", "ae_title": "OLD", "host": "127.0.0.1", "port": nobody}],
        }
        with running_node(folder / "node", pacs_port=pacs.port, settings=settings) as node:
            studies = _send_everything(node, tls_port, folder)
            _wait_for_outcomes(node, studies)
            said = _ask_everything(node, folder)
            eventually(lambda: len(audit.messages) == count(node.database, "audit_events"), within_s=200)
        # the last messages of the processes that ended are sent at the next start
        yield Watched(node=node, audit=audit, said=said, folder=folder)


def _send_everything(node, tls_port, folder):
    good = {
        "positive": ASCII.on(phantom_study(31, bleed="deep", size=256)),
        "negative": JAPANESE.on(phantom_study(32, bleed=None, size=256)),
        "declined": HOSTILE.on(ct_series(slices=3, study_uid="1.2.9.3")),
    }
    first, second = (ct_series(slices=12, study_uid="1.2.9.4", series_number=n) for n in (2, 3))
    good["conflict"] = CYRILLIC.on(first) + ACCENTS.on(second)
    for images in good.values():
        send(images, "127.0.0.1", node.port)
    _kill(node, "work")
    _send_odd(node, folder)
    _call_oddly(node, tls_port)
    _kill(node, "receive")
    eventually(lambda: listens("127.0.0.1", node.port), within_s=200)
    # the same images, under another name: a header that was mended
    mended = ASCII.on(phantom_study(31, bleed="deep", size=256))[:2]
    for image in mended:
        image.PatientName = "Quarrelsome^Zebulon^Maria"
    send(mended, "127.0.0.1", node.port)
    return [str(images[0].StudyInstanceUID) for images in good.values()] + ["1.2.9.5"]


def _send_odd(node, folder):
    """What cannot be read, belongs nowhere, contradicts itself, or is of nobody that is known."""
    broken = ACCENTS.on(ct_series(slices=10, study_uid="1.2.9.5"))
    for image in broken:
        image.PixelData = encapsulate([b"\xff\xd8 Quarrelsome^Zebulon, and no image"])
        image["PixelData"].VR = "OB"
        image["PixelData"].is_undefined_length = True
    compressed = [
        Message(
            sop_class_uid=CT,
            sop_instance_uid=image.SOPInstanceUID,
            dataset=Message.of(image).dataset,
            transfer_syntax_uid=JPEGLosslessSV1,
        )
        for image in broken
    ]
    nameless = HOSTILE.on(ct_series(slices=1, missing=["StudyInstanceUID"]))[0]
    image = CYRILLIC.on(ct_series(slices=1, seed=9))[0]
    garbage = Message(
        sop_class_uid=CT, sop_instance_uid="1.2.3.4.5", dataset=b"Quarrelsome^Zebulon QX-77120-ZB"
    )
    contradicts = Message(sop_class_uid=CT, sop_instance_uid="1.2.3.4.6", dataset=Message.of(image).dataset)
    for messages in (compressed, [garbage], [Message.of(nameless)], [contradicts]):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_config, "STORE_SEND_CHUNKED_DATASET", True)  # bytes as they are
            send_messages(node.port, messages, folder, calling="CT1", called="ICHNODE")


def _call_oddly(node, tls_port):
    """Callers who are not let in, with and without TLS."""
    for titles in ({"calling": "NOBODY", "called": "ICHNODE"}, {"calling": "CT1", "called": "OTHER"}):
        association = associate(node.port, [(CT, ["1.2.840.10008.1.2.1"])], **titles)
        assert association.is_rejected
    no_certificate = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    no_certificate.check_hostname, no_certificate.verify_mode = False, ssl.CERT_NONE
    with (
        suppress(OSError),
        create_connection(("127.0.0.1", tls_port), timeout=20) as plain,
        no_certificate.wrap_socket(plain) as secured,
    ):
        secured.recv(1)
    with create_connection(("127.0.0.1", tls_port), timeout=20) as plain, suppress(OSError):
        plain.sendall(b"Quarrelsome^Zebulon QX-77120-ZB in clear text\r\n\r\n")
        plain.recv(1)


def _kill(node, command):
    for process in psutil.process_iter(["cmdline", "environ"]):
        named = (process.info["environ"] or {}).get("ICH_NODE_SETTINGS") == str(node.settings_file)
        if named and (process.info["cmdline"] or [])[-2:] == ["ich_node", command]:
            os.kill(process.pid, signal.SIGKILL)
            process.wait(20)


def _wait_for_outcomes(node, studies):
    where = ", ".join(f"'{uid}'" for uid in studies)
    ended = f"state = 'finished' and study_uid in ({where})"
    eventually(lambda: count(node.database, "studies", ended) == len(studies), within_s=400)
    eventually(lambda: count(node.database, "deliveries", "state = 'failed'") >= 1, within_s=200)
    eventually(lambda: count(node.database, "deliveries", "state = 'sent'") >= 4, within_s=200)


def _ask_everything(node, folder):
    """What may not show who a patient is: HTTP, and commands whose output goes into tickets and mails."""
    images = write_files(
        HOSTILE.on(ct_series(slices=5)) + ACCENTS.on(ct_series(slices=12, seed=5)), folder / "dir"
    )
    (folder / "dir/odd").write_bytes(b"Quarrelsome^Zebulon" * 20)
    assert images
    table = folder / "labels.csv"
    rows = [f"{one.patient_id},{one.accession_number},present,x,{one.name}" for one in EVERYBODY]
    table.write_text("\n".join(["patient_id,accession_number,hemorrhage,location,reader", *rows]))
    said = {}
    for path in ("metrics", "health"):
        with suppress(OSError), urlopen(f"http://127.0.0.1:{node.web_port}/{path}", timeout=60) as answer:
            said[path] = answer.read()
    for words in (
        "doctor",
        f"explain {folder / 'dir'} --json",
        "studies quarantine",
        f"labels import {table}",
        "audit verify",
        f"fetch {ASCII.patient_id}",
    ):
        said[words] = _command(node, *words.split())
    return said


def _command(node, *words):
    command = [sys.executable, "-m", "ich_node", "--settings", str(node.settings_file), *words]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode in (0, 1, 2, 3)
    return done.stdout + done.stderr


def test_everything_happened_that_was_meant_to(watched):
    database = watched.node.database
    with database.engine.connect() as connection:
        outcomes = {
            (row.outcome, row.reason)
            for row in connection.exec_driver_sql("select outcome, reason from studies")
        }
    events = {
        json.loads(line)["event"]
        for line in watched.node.log_file.read_text().splitlines()
        if line[:1] == "{"
    }

    assert {("positive", None), ("negative", None), ("declined", "TOO_FEW_SLICES")} <= outcomes
    assert {("declined", "CONFLICT"), ("declined", "UNDECODABLE")} <= outcomes
    assert {
        "process.died",
        "instance.quarantined",
        "instance.refused",
        "caller.refused",
        "tls.refused",
    } <= events
    assert {"delivery.given_up", "destination.not_reached", "study.finished", "instance.came_twice"} <= events
    assert b"ich_node_audit_unsent" in watched.said["metrics"]
    assert b"is whole" in watched.said["audit verify"]


def test_no_log_of_a_process_names_a_patient_in_any_encoding(watched):
    assert Search(SECRETS).in_files([watched.node.log_file]) == []


def test_no_answer_over_http_and_no_output_of_a_command_names_a_patient(watched):
    search = Search(SECRETS)

    # what was typed may come back to who typed it
    found = [
        leak
        for words, content in watched.said.items()
        for leak in search.in_bytes(content.replace(ASCII.patient_id.encode(), b""), words)
    ]

    assert found == []


def test_no_name_of_a_file_names_a_patient(watched):
    found = Search(SECRETS).in_names(watched.folder)

    assert found == []


def test_no_picture_that_a_command_writes_names_a_patient(watched, tmp_path):
    _command(watched.node, "studies", "show", "1", "--out", str(tmp_path / "out"))

    pictures = [path for path in (tmp_path / "out").rglob("*") if path.suffix in (".png", ".svg", ".json")]
    assert [path.name for path in pictures] == ["key-slice.png"]
    assert Search(SECRETS).in_files(pictures) == []
    # the search can fail: the report itself is the patient's
    assert Search(SECRETS).in_files([tmp_path / "out/report.dcm"]) != []


def test_the_audit_trail_alone_carries_the_patient_id(watched):
    """Whoever receives it must be told; that the search finds it there shows that it can find it."""
    messages = "\n".join(watched.audit.messages).encode()

    found = {leak.what for leak in Search(SECRETS).in_bytes(messages, "audit")}

    assert "patient ID" in found
    assert "name" not in found
    for person in (ASCII, JAPANESE, CYRILLIC, ACCENTS):
        assert person.patient_id in messages.decode()
    for kind in ("DICOM Instances Transferred", "Security Alert", "Application Activity", "Query"):
        assert kind in messages.decode()
