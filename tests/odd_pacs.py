"""A PACS for tests that lists images (C-FIND) and answers a C-MOVE as a test says; a node that asks it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from builders import ct_series
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.events import Event
from reception import settings_for

from ich_node.dicom.query import PENDING
from ich_node.intake.fetch import MOVE
from ich_node.network import FIND, VERIFICATION
from ich_node.settings.tree import Settings
from ich_node.store.database import Database

PACS = "ORTHANC"
LOOPBACK = "127.0.0.1"
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
_LEVELS = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}
Handler = Callable[[Event], Iterator[Any]]


def node(folder: Path, database: Database, port: int, *, pacs_port: int, **sections: Any) -> Settings:
    """Settings of a node that may ask one PACS on the loopback."""
    values: dict[str, Any] = {
        "senders": [{"ae_title": PACS, "address": LOOPBACK}],
        "sources": [{"name": "pacs", "ae_title": PACS, "host": LOOPBACK, "port": pacs_port}],
        "fetch": {"timeout_s": 20},
        **sections,
    }
    return settings_for(folder, database.url, port, **values)


def study(accession: str = "A-1", *, seed: int = 1) -> list[Dataset]:
    """A small study of four images."""
    return ct_series(seed=seed, slices=4, rows=16, columns=16, AccessionNumber=accession)


def listing(images: Sequence[Dataset], *, refused_level: str | None = None) -> Handler:
    """Answer a C-FIND with these images, as if it knew no key but the UIDs; one level may be refused."""

    def find(event: Event) -> Iterator[tuple[int, Dataset | None]]:
        level = event.identifier.QueryRetrieveLevel
        if level == refused_level:
            yield 0xA900, None
            return
        key = _LEVELS[level]
        matching = [image for image in images if _matches(image, event.identifier)]
        for uid in dict.fromkeys(image[key].value for image in matching):
            yield min(PENDING), _answer(level, [image for image in matching if image[key].value == uid])

    return find


def _matches(image: Dataset, identifier: Dataset) -> bool:
    return all(identifier.get(key) in (None, "", image[key].value) for key in _LEVELS.values())


def _answer(level: str, images: Sequence[Dataset]) -> Dataset:
    first, answer = images[0], Dataset()
    answer.QueryRetrieveLevel = level
    answer.StudyInstanceUID = first.StudyInstanceUID
    if level == "STUDY":
        answer.AccessionNumber = first.AccessionNumber
        answer.NumberOfStudyRelatedInstances = len(images)
        return answer
    answer.SeriesInstanceUID = first.SeriesInstanceUID
    answer.SeriesNumber = first.SeriesNumber
    if level == "IMAGE":
        answer.SOPInstanceUID = first.SOPInstanceUID
    else:
        answer.NumberOfSeriesRelatedInstances = len(images)
    return answer


def sending(images: Sequence[Dataset], port: int | None = None) -> Handler:
    """Answer a C-MOVE by sending these images to a port of this machine, else to the PACS itself."""

    def move(event: Event) -> Iterator[Any]:
        yield LOOPBACK, port or event.assoc.acceptor.port
        yield len(images)
        for image in images:
            yield min(PENDING), image

    return move


def begun(moves: Iterator[Any], *, images: int) -> Iterator[Any]:
    """Of an answer to a C-MOVE only the destination, the number of images, and so many images."""
    for _ in range(2 + images):
        yield next(moves)


def answering(status: int) -> Handler:
    """Answer a C-MOVE at once with this status."""

    def move(event: Event) -> Iterator[Any]:
        yield LOOPBACK, event.assoc.acceptor.port
        yield 1
        yield status, None

    return move


@contextmanager
def odd_pacs(
    find: Handler, move: Handler | None, *, knows: Sequence[str] = (), stores_with: int = 0, port: int = 0
) -> Iterator[int]:
    """Run the PACS, on any port if none is given; its port. Without `move` it offers none.

    `knows` are the callers that it lets in. What it sends to itself it answers with the status `stores_with`.
    """
    entity = AE(ae_title=PACS)
    entity.require_calling_aet = list(knows)
    entity.add_supported_context(VERIFICATION)
    entity.add_supported_context(FIND)
    entity.add_supported_context(CT_IMAGE)
    entity.add_requested_context(CT_IMAGE)
    if move is not None:
        entity.add_supported_context(MOVE)
    handlers = [
        (evt.EVT_C_FIND, find),
        (evt.EVT_C_MOVE, move or answering(0xC000)),
        (evt.EVT_C_STORE, lambda _event: stores_with),
    ]
    server = entity.start_server((LOOPBACK, port), block=False, evt_handlers=handlers)
    assert server is not None
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
