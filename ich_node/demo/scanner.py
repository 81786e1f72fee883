"""A CT scanner: makes the series of a head CT from a phantom and sends studies by C-STORE (network)."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID
from pynetdicom import AE, evt
from pynetdicom.association import Association

from ich_node.analysis.files import read_file
from ich_node.demo.ct_images import AXIAL, Exam, Series, ct_image, derived_uid, made_up_exam
from ich_node.demo.phantom import HeadPhantom
from ich_node.dicom.headers import transfer_syntax
from ich_node.errors import DeliveryFailed, UnreadableInstance
from ich_node.network import leave_answers_to_askers, prepare_connection

_LONGEST_PDU = 131072
_TOPOGRAM = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)  # lateral view: columns to the back, rows to the foot


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What became of one instance (PS3.7 C).

    `status` is None where it was not sent, its class or transfer syntax being refused, or not answered.
    """

    sop_instance_uid: str
    status: int | None


def scan(phantom: HeadPhantom, *, started: datetime | None = None, exam: Exam | None = None) -> list[Dataset]:
    """Make the study of a phantom: a localizer, then the head series foot to head.

    Without an exam the seed and the bleed decide all UIDs; the head of one seed with and without a bleed are
    two studies.
    """
    exam = exam or _exam_of(phantom, started)
    frame_of_reference = derived_uid("frame of reference", exam.key)
    return [_localizer(exam, phantom, frame_of_reference), *_head(exam, phantom, frame_of_reference)]


def _exam_of(phantom: HeadPhantom, started: datetime | None) -> Exam:
    exam = made_up_exam(phantom.seed, started=started)
    if not phantom.truth.location:
        return exam
    key = f"{exam.key} {phantom.truth.location}"
    return Exam(**{**vars(exam), "key": key, "study_uid": derived_uid("study", key)})


def _head(exam: Exam, phantom: HeadPhantom, frame_of_reference: str) -> Iterator[Dataset]:
    series = Series(
        uid=derived_uid("series", exam.key, 2),
        number=2,
        frame_of_reference_uid=frame_of_reference,
        description=f"Head {phantom.slice_spacing_mm:.1f} H30s",
        pixel_spacing_mm=(phantom.pixel_spacing_mm, phantom.pixel_spacing_mm),
        thickness_mm=phantom.slice_spacing_mm,
        orientation=AXIAL,
    )
    for index, (plane, corner) in enumerate(zip(phantom.hu, phantom.positions_mm, strict=True)):
        yield ct_image(exam, series, index + 1, plane, corner)


def _localizer(exam: Exam, phantom: HeadPhantom, frame_of_reference: str) -> Dataset:
    """Make the lateral view: the mean along the patient's left-right axis, vertex on top."""
    through = phantom.hu.mean(axis=2, dtype=np.float32)[::-1]  # (N, H): rows from vertex to foot
    rows = np.repeat(through, 8, axis=0)
    series = Series(
        uid=derived_uid("series", exam.key, 1),
        number=1,
        frame_of_reference_uid=frame_of_reference,
        description="Topogram 0.6 T20s",
        pixel_spacing_mm=(phantom.slice_spacing_mm / 8, phantom.pixel_spacing_mm),
        thickness_mm=0.6,
        orientation=_TOPOGRAM,
        image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"),
        kernel="T20s",
    )
    corner = (0.0, phantom.positions_mm[0][1], phantom.positions_mm[-1][2])
    return ct_image(exam, series, 1, rows.astype(np.int16), corner)


def send(
    items: Iterable[Dataset | Path],
    host: str,
    port: int,
    *,
    calling_ae: str = "CT1",
    called_ae: str = "ICHNODE",
    on_sent: Callable[[Sent], None] | None = None,
) -> list[Sent]:
    """Send data sets or files as a scanner would, one association per study.

    Every instance is offered in the transfer syntax in which it is; nothing is transcoded. A file may lack
    its preamble. Raises DeliveryFailed where the peer accepts no association, UnreadableInstance where a
    file is no DICOM.
    """
    datasets = [item if isinstance(item, Dataset) else _opened(item) for item in items]
    datasets.sort(key=lambda dataset: str(dataset.StudyInstanceUID))  # stable: keeps each study's own order
    results: list[Sent] = []
    for _, study in groupby(datasets, key=lambda dataset: str(dataset.StudyInstanceUID)):
        images = list(study)
        association = associate(images, host, port, calling_ae=calling_ae, called_ae=called_ae)
        for image in images:
            results.append(store(association, image))
            if on_sent is not None:
                on_sent(results[-1])
        association.release()
    return results


def _opened(path: Path) -> Dataset:
    try:
        dataset = read_file(path, pixels=True)
    except UnreadableInstance:
        dataset = read_file(path, pixels=False)  # broken behind the header: the peer shall judge it
    if not getattr(dataset, "file_meta", None):
        dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(transfer_syntax(dataset))
    return dataset


def associate(
    images: Sequence[Dataset], host: str, port: int, *, calling_ae: str = "CT1", called_ae: str = "ICHNODE"
) -> Association:
    """Open an association that offers every class and syntax of the images; raises DeliveryFailed."""
    entity = AE(ae_title=calling_ae)
    kinds = {(str(image.SOPClassUID), str(image.file_meta.TransferSyntaxUID)) for image in images}
    for sop_class, syntax in sorted(kinds):
        entity.add_requested_context(sop_class, syntax)
    association = entity.associate(
        host,
        port,
        ae_title=called_ae,
        max_pdu=_LONGEST_PDU,
        evt_handlers=[(evt.EVT_CONN_OPEN, prepare_connection)],
    )
    leave_answers_to_askers(association)
    if not association.is_established and not association.rejected_contexts:
        raise DeliveryFailed(f"{called_ae} at {host}:{port} accepted no association")
    return association


def store(association: Association, image: Dataset) -> Sent:
    """Send one image and say what became of it."""
    uid = str(image.SOPInstanceUID)
    if not association.is_established:
        return Sent(sop_instance_uid=uid, status=None)
    try:
        answer = association.send_c_store(image)
    except (AttributeError, ValueError):  # no accepted context, or not what its file meta says: not sent
        return Sent(sop_instance_uid=uid, status=None)
    return Sent(sop_instance_uid=uid, status=int(answer.Status) if "Status" in answer else None)
