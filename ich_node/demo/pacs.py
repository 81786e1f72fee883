"""A stand-in PACS for demo and tests: keeps what it receives in a folder, misbehaves when told to.

    python -m ich_node.demo.pacs --folder DIR --port 0 --ae-title PACS

prints one JSON line with its port and runs until it is ended. Uses the network and one folder.
"""

import argparse
import hashlib
import json
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import Event
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # made at import time
    StudyRootQueryRetrieveInformationModelFind,
    Verification,
)

from ich_node.errors import IchNodeError
from ich_node.network import prepare_connection

SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
_SUCCESS, _PENDING, _CANNOT_UNDERSTAND = 0x0000, 0xFF00, 0xC000
_IDENTIFIERS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """One line of log.jsonl: what was received from whom and which status it got."""

    at: str
    calling_ae: str
    sop_class_uid: str
    sop_instance_uid: str
    bytes: int
    sha256: str
    status: int


class StandInPacs:
    """The archive itself: a folder of SOP_UID.dcm files, log.jsonl, and what it was told to refuse."""

    def __init__(self, folder: Path, *, delay_s: float = 0.0) -> None:
        self.folder = folder
        self.delay_s = delay_s
        self.port = 0
        self._refusals: list[int] = []
        self._lock = threading.Lock()

    def refuse(self, times: int, status: int = 0xA700) -> None:
        """Answer the next `times` stores with this status and keep nothing of them."""
        with self._lock:
            self._refusals.extend([status] * times)

    def receipts(self) -> list[Receipt]:
        """List all stores so far, refused ones too, oldest first."""
        log = self.folder / "log.jsonl"
        with self._lock:
            lines = log.read_text().splitlines() if log.exists() else []
        return [Receipt(**json.loads(line)) for line in lines]

    def files(self) -> list[Path]:
        """List the stored instances by name."""
        return sorted(self.folder.glob("*.dcm"))

    def keep(self, uid: str, content: bytes) -> int:
        """Write an instance so that it is there as a whole or not at all; return the status."""
        if not uid or len(uid) > 64 or not uid.replace(".", "").isdigit():
            return _CANNOT_UNDERSTAND
        part = self.folder / f"{uid}.{threading.get_ident()}.part"
        part.write_bytes(content)
        part.replace(self.folder / f"{uid}.dcm")
        return _SUCCESS

    def store(self, event: Event) -> int:
        """Answer a C-STORE (PS3.4 B)."""
        if self.delay_s:
            time.sleep(self.delay_s)
        with self._lock:
            status = self._refusals.pop(0) if self._refusals else _SUCCESS
        request = cast("C_STORE", event.request)
        content = event.encoded_dataset()
        uid = str(request.AffectedSOPInstanceUID)
        if status == _SUCCESS:
            status = self.keep(uid, content)
        self._note(event, request, content, status)
        return status

    def _note(self, event: Event, request: C_STORE, content: bytes, status: int) -> None:
        receipt = Receipt(
            at=datetime.now(UTC).isoformat(),
            calling_ae=str(event.assoc.requestor.ae_title),
            sop_class_uid=str(request.AffectedSOPClassUID),
            sop_instance_uid=str(request.AffectedSOPInstanceUID),
            bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            status=status,
        )
        with self._lock, (self.folder / "log.jsonl").open("a") as log:
            log.write(json.dumps(vars(receipt)) + "\n")

    def find(self, event: Event) -> Iterator[tuple[int, Dataset | None]]:
        """Answer a C-FIND at IMAGE level by the three UIDs, each one value, several or none (PS3.4 C)."""
        query = event.identifier
        for path in self.files():
            header = dcmread(path, specific_tags=[*_IDENTIFIERS, "SOPClassUID"])
            if all(_matches(query, header, keyword) for keyword in _IDENTIFIERS):
                answer = Dataset()
                answer.QueryRetrieveLevel = "IMAGE"
                for keyword in (*_IDENTIFIERS, "SOPClassUID"):
                    setattr(answer, keyword, header[keyword].value)
                yield _PENDING, answer


def _matches(query: Dataset, header: Dataset, keyword: str) -> bool:
    wanted = query.get(keyword)
    if not wanted:
        return True
    values = [wanted] if isinstance(wanted, str) else list(wanted)
    return str(header.get(keyword, "")) in map(str, values)


@contextmanager
def stand_in_pacs(
    folder: Path,
    *,
    port: int = 0,
    ae_title: str = "PACS",
    host: str = "127.0.0.1",
    delay_s: float = 0.0,
) -> Iterator[StandInPacs]:
    """Run a stand-in PACS in threads of this process; port 0 takes any free one, see `pacs.port`."""
    folder.mkdir(parents=True, exist_ok=True)
    pacs = StandInPacs(folder, delay_s=delay_s)
    server = _entity(ae_title).start_server(
        (host, port),
        block=False,
        evt_handlers=[
            (evt.EVT_C_STORE, pacs.store),
            (evt.EVT_C_FIND, pacs.find),
            (evt.EVT_CONN_OPEN, prepare_connection),
        ],
    )
    if server is None:
        raise IchNodeError(f"the stand-in PACS could not listen on {host}:{port}")
    pacs.port = int(server.server_address[1])
    try:
        yield pacs
    finally:
        server.shutdown()


def _entity(ae_title: str) -> AE:
    entity = AE(ae_title=ae_title)
    entity.require_called_aet = True
    entity.maximum_pdu_size = 131072
    for context in AllStoragePresentationContexts:
        entity.add_supported_context(str(context.abstract_syntax), SYNTAXES)
    entity.add_supported_context(Verification, SYNTAXES)
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind, SYNTAXES)
    return entity


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stand-in PACS until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(
        prog="ich_node.demo.pacs", description="Stand-in PACS for demo and tests"
    )
    parser.add_argument("--folder", type=Path, required=True, help="where instances and log.jsonl are kept")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="0 takes any free port")
    parser.add_argument("--ae-title", default="PACS", help="own AE title; others are rejected")
    parser.add_argument("--delay-s", type=float, default=0.0, help="wait before each answer to a store")
    parser.add_argument("--refuse-next", type=int, default=0, help="how many stores to refuse at first")
    parser.add_argument("--refuse-status", default="A700", help="status of the refusals, hexadecimal")
    chosen = parser.parse_args(arguments)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    place = {"port": chosen.port, "ae_title": chosen.ae_title, "host": chosen.host, "delay_s": chosen.delay_s}
    with stand_in_pacs(chosen.folder, **place) as pacs:
        pacs.refuse(chosen.refuse_next, int(chosen.refuse_status, 16))
        line = {"port": pacs.port, "ae_title": chosen.ae_title, "folder": str(chosen.folder)}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
        ended.wait()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
