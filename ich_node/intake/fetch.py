"""Has a PACS send us a study that we name: C-FIND, C-MOVE to our own receiver, then C-FIND to compare.

Uses the network; what has come is read from the database and the archive, where the receiver puts it.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from socket import getaddrinfo

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import build_context
from pynetdicom.association import Association

from ich_node.core.retrieval import (
    Fetched,
    Gap,
    Held,
    SeriesThere,
    StudyThere,
    SubOperations,
    count_held,
    count_missing,
    gaps_between,
)
from ich_node.dicom.query import (
    PENDING,
    image_query,
    series_query,
    series_there,
    study_identifier,
    study_query,
    study_there,
    sub_operations,
)
from ich_node.dicom.values import text
from ich_node.errors import DeliveryFailed, DeliveryRefused, FetchFailed
from ich_node.network import FIND, SUCCESS, association_with, entries_of, listens, own_address
from ich_node.settings.sections import Receiver, RemoteEntity, Sender, Source
from ich_node.store.database import Database
from ich_node.store.files import Archive
from ich_node.store.images import images_under
from ich_node.tls import Credentials

# Study Root Query/Retrieve Information Model - MOVE (PS3.4 C.6.2)
MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
SOME_NOT_SENT = 0xB000  # the end, with failures or warnings
MOVE_DESTINATION_UNKNOWN = 0xA801
CANCELLED = 0xFE00
_REFUSALS = {
    0x0122: "it does not offer this (SOP class not supported)",
    0x0124: "it does not let us (not authorized)",
    0xA700: "it is out of resources",
    0xA701: "it is out of resources and cannot count what matches",
    0xA702: "it could not send (out of resources)",
    0xA900: "it does not understand the request",
    CANCELLED: "it was cancelled",
}
TICK_S = 0.05
CANCEL_WITHIN_S = 10.0
LOOK_EVERY_S = 0.5

Answer = tuple[Dataset, Dataset | None]


@dataclass(frozen=True, kw_only=True)
class Fetching:
    """Whom we ask, where the images go, how long a silence may be; `stop` ends what runs (C-CANCEL).

    `settle_s` is how long a PACS that answers before it sends may pause between two images.
    """

    source: Source
    receiver: Receiver
    timeout_s: float
    credentials: Credentials | None = None
    settle_s: float = 10.0
    stop: threading.Event = field(default_factory=threading.Event)


def may_send(source: RemoteEntity, senders: tuple[Sender, ...]) -> bool:
    """Whether our receiver lets the PACS in, as far as its own title and host tell.

    Raises FetchFailed where the host name cannot be resolved.
    """
    return any(entries_of(senders, source.ae_title, address) for address in addresses_of(source))


def addresses_of(source: RemoteEntity) -> list[str]:
    """The addresses of a PACS; raises FetchFailed where its host name cannot be resolved."""
    try:
        found = getaddrinfo(source.host, source.port)
    except OSError as error:
        raise FetchFailed(f"the host name of {source.name} cannot be resolved: {source.host}") from error
    return sorted({str(address[0]) for *_, address in found})


def receiver_listens(receiver: Receiver) -> bool:
    """Whether our receiver runs on this machine."""
    return listens("localhost" if receiver.listens_anywhere else receiver.host, receiver.first_port)


def held(database: Database, archive: Archive, study_uid: str) -> Held:
    """What of a study has come and is still there."""
    with database.transaction() as connection:
        rows = images_under(connection, study_uid)
    series: defaultdict[str, set[str]] = defaultdict(set)
    for series_uid, sop_instance_uid, file in rows:
        if archive.exists(file):
            series[series_uid].add(sop_instance_uid)
    return series


def find_studies(fetching: Fetching, accession_number: str) -> tuple[list[StudyThere], int]:
    """Ask for the studies under an accession number; beside them the number of answers with another one.

    A PACS that cannot search by accession number answers with everything: that must not be fetched.
    Raises FetchFailed, DeliveryFailed.
    """
    with _association(fetching, FIND) as association:
        answers = _find(association, fetching, study_query(accession_number))
    found = {study.study_uid: study for study in map(study_there, answers) if study.study_uid}
    asked = [study for study in found.values() if study.accession_number == accession_number]
    return asked, len(found) - len(asked)


def fetch(
    fetching: Fetching,
    study: StudyThere,
    *,
    here: Callable[[], Held],
    tell: Callable[[SubOperations], None],
) -> Fetched:
    """Have one study sent to us and compare what the PACS lists with what is `here`.

    `tell` hears of each response. What goes wrong is in the result, so that other studies can follow.
    """
    counts, trouble = _move(fetching, study, here, tell)
    series: list[SeriesThere] = []
    gaps: list[Gap] = []
    try:
        if not fetching.stop.is_set():
            series = list_series(fetching, study.study_uid)
            gaps = _settled(fetching, series, here, said_missing=None if trouble else counts.failed)
    except (DeliveryFailed, FetchFailed) as error:
        trouble = "; ".join(filter(None, (trouble, str(error))))
    return Fetched(
        study=study,
        counts=counts,
        trouble=trouble,
        here=count_held(here()),
        there=sum(one.expected for one in series),
        gaps=tuple(gaps),
    )


def _move(
    fetching: Fetching, study: StudyThere, here: Callable[[], Held], tell: Callable[[SubOperations], None]
) -> tuple[SubOperations, str | None]:
    """Run the C-MOVE to its end; returns its counts and what was wrong with it, None where nothing was."""
    counts, status, seen = SubOperations(), SUCCESS, count_held(here())

    def more_came() -> bool:
        """A PACS need not say how far it is: then the images themselves say that it is at work."""
        nonlocal seen
        before, seen = seen, count_held(here())
        return seen > before

    try:
        with _association(fetching, MOVE) as association:
            address = own_address(association)
            identifier, title = study_identifier(study.study_uid), fetching.receiver.ae_title
            request = partial(association.send_c_move, identifier, title, MOVE)
            for response, _ in _Exchange(association, fetching, MOVE, more_came).answers(request):
                status, counts = int(response.Status), sub_operations(response, counts)
                tell(counts)
    except (DeliveryFailed, FetchFailed) as error:
        return counts, str(error)
    return counts, _trouble_of(status, counts, fetching, address)


def _trouble_of(status: int, counts: SubOperations, fetching: Fetching, address: str) -> str | None:
    name, ended_well = fetching.source.name, status in (SUCCESS, SOME_NOT_SENT)
    if ended_well and (counts.sent or not counts.failed):
        return None
    if status == CANCELLED:
        return f"{name} stopped sending: {_REFUSALS[CANCELLED]}"
    at = address if fetching.receiver.listens_anywhere else fetching.receiver.host
    port = fetching.receiver.port_for(tls=fetching.source.tls)
    us = f"AE title {fetching.receiver.ae_title}, host {at}, port {port}"
    us += " (TLS)" if port == fetching.receiver.tls_port else ""
    if status == MOVE_DESTINATION_UNKNOWN:
        return f"{name} does not know where to send (A801, move destination unknown): enter there {us}"
    because = "it sent nothing" if ended_well else _refusal(status)
    return f"{name} did not carry out the C-MOVE: {because}; it must know us as {us}, and reach us there"


def _refusal(status: int) -> str:
    return f"{_REFUSALS.get(status, 'it was unable to process the request')} (status {status:04X})"


def list_series(fetching: Fetching, study_uid: str) -> list[SeriesThere]:
    """List the series of a study with their images; where it lists no images, with their number.

    Raises FetchFailed, DeliveryFailed.
    """
    with _association(fetching, FIND) as association:
        series = _find(association, fetching, series_query(study_uid))
        return [
            series_there(one, _images(association, fetching, study_uid, text(one, "SeriesInstanceUID")))
            for one in series
        ]


def _images(association: Association, fetching: Fetching, study_uid: str, series_uid: str) -> frozenset[str]:
    try:
        answers = _find(association, fetching, image_query(study_uid, series_uid))
    except FetchFailed:
        if association.is_established:
            return frozenset()  # not every PACS searches at IMAGE level
        raise
    return frozenset(filter(None, (text(answer, "SOPInstanceUID") for answer in answers)))


def _find(association: Association, fetching: Fetching, identifier: Dataset) -> list[Dataset]:
    """All answers to a C-FIND; raises FetchFailed unless it ends with success."""
    exchange = _Exchange(association, fetching, FIND)
    found, status = [], SUCCESS
    for response, answer in exchange.answers(partial(association.send_c_find, identifier, FIND)):
        status = int(response.Status)
        if status in PENDING and answer is not None:
            found.append(answer)
    if status != SUCCESS:
        raise FetchFailed(f"{fetching.source.name} did not answer the C-FIND: {_refusal(status)}")
    return found


def _settled(
    fetching: Fetching, series: list[SeriesThere], here: Callable[[], Held], *, said_missing: int | None
) -> list[Gap]:
    """Compare; wait while more is missing than the PACS said: some answer first and send afterwards."""
    gaps = gaps_between(series, here())
    since = time.monotonic()
    while said_missing is not None and count_missing(gaps) > said_missing:
        if time.monotonic() - since > fetching.settle_s or fetching.stop.wait(LOOK_EVERY_S):
            break
        before, gaps = gaps, gaps_between(series, here())
        since = since if gaps == before else time.monotonic()
    return gaps


@contextmanager
def _association(fetching: Fetching, model: str) -> Iterator[Association]:
    source = fetching.source
    contexts = [build_context(model, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])]
    title = fetching.receiver.ae_title
    try:
        with association_with(
            source,
            contexts,
            calling_ae_title=title,
            timeout_s=fetching.timeout_s,
            credentials=fetching.credentials,
        ) as association:
            yield association
    except DeliveryRefused as error:
        what = "C-FIND" if model == FIND else "C-MOVE"
        raise FetchFailed(f"{source.name} offers no {what} (Study Root) to {title}") from error


class _Exchange:
    """One request and its answers, as they come; ended where the PACS is silent or a person says stop."""

    def __init__(
        self,
        association: Association,
        fetching: Fetching,
        model: str,
        still_at_work: Callable[[], bool] = lambda: False,
    ) -> None:
        self._association = association
        self._fetching = fetching
        self._model = model
        self._still_at_work = still_at_work
        self._cancelled = False
        self._until = 0.0

    def answers(self, request: Callable[[], Iterator[Answer]]) -> Iterator[Answer]:
        """Send the request; raises FetchFailed where the PACS hangs up or stays silent."""
        hung_up = FetchFailed(f"{self._fetching.source.name} hung up in the middle of a request")
        try:
            pending, ended = request(), False
        except RuntimeError as error:  # no association any more
            raise hung_up from error
        try:
            while not ended:
                self._wait()
                response, identifier = next(pending)
                if "Status" not in response:
                    raise hung_up
                ended = response.Status not in PENDING
                yield response, identifier
        finally:
            if not ended:
                self._association.abort()

    def _wait(self) -> None:
        """Until there is an answer, or the connection is gone (which is queued too)."""
        if not self._cancelled:
            self._until = time.monotonic() + self._fetching.timeout_s
        while True:
            if self._fetching.stop.is_set() and not self._cancelled:
                self._cancel()
            overdue = time.monotonic() > self._until
            answered = not self._association.dimse.msg_queue.empty()
            if answered and not (overdue and self._cancelled):
                return
            if overdue:
                self._go_on_or_give_up()
            time.sleep(TICK_S)

    def _cancel(self) -> None:
        self._association.send_c_cancel(1, query_model=self._model)
        self._cancelled = True
        self._until = time.monotonic() + min(CANCEL_WITHIN_S, self._fetching.timeout_s)

    def _go_on_or_give_up(self) -> None:
        name, seconds = self._fetching.source.name, self._fetching.timeout_s
        if self._cancelled:
            raise FetchFailed(f"{name} did not heed the C-CANCEL: the association was aborted")
        if not self._still_at_work():
            raise FetchFailed(f"{name} was silent for {seconds:.0f} s: given up (fetch.timeout_s)")
        self._until = time.monotonic() + seconds
