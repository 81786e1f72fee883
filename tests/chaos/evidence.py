"""Gathers what the observer counts, reading only: sender's logs, storage folder, database, PACS."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from chaos.databases import Rows
from chaos.observer import Evidence, Received, SentStudy, StudyRow
from chaos.studies import pixels_sha256
from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from ich_node.demo.pacs import StandInPacs
from ich_node.store.deliveries import SUPERSEDED

Read = Callable[[str, Sequence[object]], Rows]
CHUNK = 500  # values in one statement
_INSTANCES = (
    "select i.sop_instance_uid, i.file from instances i join studies s on s.id = i.study_id "
    "where i.in_use and s.study_uid in %s"
)
_STUDIES = "select study_uid, state, outcome from studies where study_uid in %s"
_REPORTS = (
    "select s.study_uid, r.sop_instance_uid, r.revision from reports r join studies s on s.id = r.study_id "
    "where s.study_uid in %s and not exists "  # what a newer one overtook is not to come any more
    f"(select 1 from deliveries d where d.report_id = r.id and d.last_error = '{SUPERSEDED}')"
)
Digest = Callable[[Path, str], str | None]


def gather(
    sent: Sequence[SentStudy], read: Read, images: Path, pacs: StandInPacs, digest: Digest
) -> Evidence:
    """Look at everything that there is of these studies; `images` is the storage folder's."""
    uids = [study.study_uid for study in sent]
    stored = {}
    for uid, file in _all(read, _INSTANCES, uids):
        if (pixels := digest(images / file, uid)) is not None:
            stored[uid] = pixels
    return Evidence(
        sent=tuple(sent), stored=stored, rows=_rows(read, uids), received=_received(pacs, set(uids))
    )


def pixels_in(path: Path, sop_instance_uid: str) -> str | None:
    """Name the pixels of a stored image; None where the file is not there, or not that image as a whole."""
    try:
        image = dcmread(path)
        return pixels_sha256(image) if image.SOPInstanceUID == sop_instance_uid else None
    except (OSError, InvalidDicomError, AttributeError, EOFError):
        return None


def _rows(read: Read, uids: Sequence[str]) -> dict[str, StudyRow]:
    reports: dict[str, dict[str, int]] = defaultdict(dict)
    for study_uid, sop_instance_uid, revision in _all(read, _REPORTS, uids):
        reports[study_uid][sop_instance_uid] = revision
    return {
        study_uid: StudyRow(state=state, outcome=outcome, reports=reports[study_uid])
        for study_uid, state, outcome in _all(read, _STUDIES, uids)
    }


def _all(read: Read, statement: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
    chunks = (values[start : start + CHUNK] for start in range(0, len(values), CHUNK))
    return [row for chunk in chunks for row in read(statement, chunk)]


def _received(pacs: StandInPacs, uids: set[str]) -> tuple[Received, ...]:
    found = []
    for receipt in pacs.receipts():
        if receipt.status != 0x0000:
            continue
        study_uid = _study_of(pacs.folder / f"{receipt.sop_instance_uid}.dcm")
        if study_uid in uids:
            found.append(
                Received(
                    study_uid=study_uid,
                    sop_class_uid=receipt.sop_class_uid,
                    sop_instance_uid=receipt.sop_instance_uid,
                    sha256=receipt.sha256,
                )
            )
    return tuple(found)


@cache  # an object never changes its study
def _study_of(path: Path) -> str:
    return str(dcmread(path, specific_tags=["StudyInstanceUID"]).StudyInstanceUID)
