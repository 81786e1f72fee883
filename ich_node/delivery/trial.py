"""Tries one destination with a test report: sends it as any report goes, and looks whether it is kept.

Uses the network, and no database: nothing of it is in the outbox.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from pydicom.uid import generate_uid
from pynetdicom import build_context, evt
from pynetdicom.association import Association
from pynetdicom.events import Event, EventHandlerType
from pynetdicom.presentation import PresentationContext

from ich_node.core.confirmation import Finding
from ich_node.delivery.confirm import (
    LINGER_S,
    SYNTAXES,
    Looked,
    ask_to_commit,
    look_for,
    told_by_commitment,
)
from ich_node.delivery.reach import WAITS_PER_CALL
from ich_node.delivery.send import send
from ich_node.dicom.commitment import PROCESSING_FAILURE, PUSH_MODEL, commitment_of, commitment_request
from ich_node.dicom.part10 import split
from ich_node.dicom.trial_report import TrialObject
from ich_node.errors import DeliveryFailed, DeliveryRefused
from ich_node.network import FIND, SUCCESS, association_with, report_contexts, within
from ich_node.settings.sections import Destination
from ich_node.tls import Credentials

# an archive may list what it took a while later; seconds before each look
PAUSES_S = (0.2, 0.8, 2.0, 3.0, 4.0)
_WELL = frozenset({None, Finding.KEPT, Finding.ASKED})
_GONE = frozenset({Finding.NOT_LISTED, Finding.REPORTED_MISSING})


@dataclass(frozen=True, kw_only=True)
class Calling:
    """Whom a trial calls, and how."""

    destination: Destination
    calling_ae_title: str
    timeout_s: float
    credentials: Credentials | None = None

    @contextmanager
    def reached(
        self, contexts: Sequence[PresentationContext], handlers: Sequence[EventHandlerType] = ()
    ) -> Iterator[Association]:
        """Hold an association for no longer than a delivery would."""
        with (
            association_with(
                self.destination,
                contexts,
                calling_ae_title=self.calling_ae_title,
                timeout_s=self.timeout_s,
                credentials=self.credentials,
                handlers=handlers,
            ) as association,
            within(association, self.timeout_s * WAITS_PER_CALL),
        ):
            yield association


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What became of one object: taken or why not (`refused`: for good), and what was seen of it afterwards.

    `finding` is None where no proof was asked for. `after_picture` says that it was taken, or kept, only when
    the archive had an image of its study.
    """

    about: TrialObject
    sop_class_uid: str
    sop_instance_uid: str
    seconds: float = 0.0
    trouble: str | None = None
    refused: bool = False
    finding: Finding | None = None
    told: str = ""
    after_picture: bool = False

    @property
    def well(self) -> bool:
        return self.trouble is None and self.finding in _WELL


def try_out(objects: Sequence[TrialObject], calling: Calling) -> list[Tried]:
    """Send these objects and look for each; a report that is lost is sent once more behind its picture."""
    tried: list[Tried] = []
    for one in objects:
        tried.append(_send(one, calling))
        if tried[-1].trouble is not None and tried[-1].seconds >= calling.timeout_s:
            break  # the others would be waited for as long
    tried = _look_back(tried, calling)
    return [_once_more(one, calling) if _may_want_images(one, tried) else one for one in tried]


def _send(one: TrialObject, calling: Calling) -> Tried:
    meta, _ = split(one.content)
    tried = Tried(about=one, sop_class_uid=meta.sop_class_uid, sop_instance_uid=meta.sop_instance_uid)
    began = time.monotonic()
    try:
        with calling.reached(report_contexts()) as association:
            sent_as = send(association, one.content)
    except (DeliveryFailed, DeliveryRefused) as error:
        refused = isinstance(error, DeliveryRefused)
        return replace(tried, trouble=str(error), refused=refused, seconds=time.monotonic() - began)
    if sent_as is not None:
        tried = replace(tried, sop_class_uid=sent_as[0], sop_instance_uid=sent_as[1])
    return replace(tried, seconds=time.monotonic() - began)


def _may_want_images(report: Tried, tried: Sequence[Tried]) -> bool:
    """Whether a report is lost whose picture is not: some archives know no study by a report alone."""
    lost = report.about.kind == "SR" and (report.trouble is not None or report.finding in _GONE)
    return lost and any(one.well for one in tried if one.about.kind == "SC")


def _once_more(report: Tried, calling: Calling) -> Tried:
    (again,) = _look_back([_send(report.about, calling)], calling)
    return replace(again, after_picture=True) if again.well else report


def _look_back(tried: Sequence[Tried], calling: Calling) -> list[Tried]:
    taken = [one for one in tried if one.trouble is None]
    look = _LOOKS.get(calling.destination.confirm)
    seen = look(taken, calling) if look and taken else {}
    return [
        replace(one, finding=seen[uid][0], told=seen[uid][1])
        if (uid := one.sop_instance_uid) in seen
        else one
        for one in tried
    ]


def _by_find(taken: Sequence[Tried], calling: Calling) -> dict[str, Looked]:
    seen: dict[str, Looked] = {}
    missing = list(taken)
    for pause_s in PAUSES_S:
        time.sleep(pause_s)
        seen |= _look(missing, calling)
        missing = [one for one in missing if seen[one.sop_instance_uid][0] is Finding.NOT_LISTED]
        if not missing:
            break
    return seen


def _look(missing: Sequence[Tried], calling: Calling) -> dict[str, Looked]:
    try:
        with calling.reached([build_context(FIND, SYNTAXES)]) as association:
            return {
                one.sop_instance_uid: look_for(
                    association, one.about.study_uid, one.about.series_uid, one.sop_instance_uid
                )
                for one in missing
            }
    except (DeliveryFailed, DeliveryRefused) as error:
        return _of_all(missing, (Finding.UNANSWERED, f"asked by C-FIND: {error}"))


def _by_commitment(taken: Sequence[Tried], calling: Calling) -> dict[str, Looked]:
    """Ask for all in one transaction; what is not answered on this association is looked for by C-FIND."""
    answered = threading.Event()
    failures: dict[str, int | None] = {}

    def take(event: Event) -> tuple[int, None]:
        try:
            failures.update(commitment_of(event.event_information).instances)
        except Exception:  # noqa: BLE001  # whatever the peer wrote, it hears that we did not take it
            return PROCESSING_FAILURE, None
        answered.set()
        return SUCCESS, None

    request = commitment_request(
        generate_uid(prefix=None), [(one.sop_class_uid, one.sop_instance_uid) for one in taken]
    )
    try:
        with calling.reached(
            [build_context(PUSH_MODEL, SYNTAXES)], [(evt.EVT_N_EVENT_REPORT, take)]
        ) as association:
            looked = ask_to_commit(association, request)
            if looked[0] is Finding.ASKED:
                answered.wait(LINGER_S)
    except (DeliveryFailed, DeliveryRefused) as error:
        looked = Finding.UNANSWERED, f"asked for Storage Commitment: {error}"
    told = {uid: told_by_commitment(failure) for uid, failure in failures.items()}
    seen = _of_all(taken, looked) | told
    asked = [one for one in taken if seen[one.sop_instance_uid][0] is Finding.ASKED]
    for uid, (finding, words) in (_by_find(asked, calling) if asked else {}).items():
        if finding is not Finding.UNANSWERED:
            seen[uid] = finding, f"{looked[1]}; {words}"
    return seen


def _of_all(tried: Sequence[Tried], looked: Looked) -> dict[str, Looked]:
    return {one.sop_instance_uid: looked for one in tried}


_LOOKS = {"find": _by_find, "commitment": _by_commitment}
