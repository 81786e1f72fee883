"""What is asked and answered in Storage Commitment, Push Model (PS3.4 J.3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, cast

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import UID

from ich_node.dicom.bounds import BoundedFile, open_sequence
from ich_node.dicom.values import quietly, text, whole

PUSH_MODEL = "1.2.840.10008.1.20.1"
PUSH_MODEL_INSTANCE = "1.2.840.10008.1.20.1.1"  # one for all (PS3.4 J.3.5)
REQUEST = 1  # Action Type ID
PROCESSING_FAILURE = 0x0110  # PS3.7 C


@dataclass(frozen=True, kw_only=True)
class Commitment:
    """The answer to one transaction: by SOP Instance UID None for what is kept, else the Failure Reason."""

    transaction_uid: str
    instances: Mapping[str, int | None]


def commitment_request(transaction_uid: str, instances: Sequence[tuple[str, str]]) -> Dataset:
    """Ask for safekeeping of instances, each a SOP class and a SOP Instance UID."""
    request = Dataset()
    request.TransactionUID = transaction_uid
    request.ReferencedSOPSequence = [_reference(*instance) for instance in instances]
    return request


def _reference(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID = sop_class_uid
    reference.ReferencedSOPInstanceUID = sop_instance_uid
    return reference


def read_commitment(content: BinaryIO, transfer_syntax: UID) -> Commitment:
    """Read an N-EVENT-REPORT from its bytes, within bounds; raises whatever pydicom raises."""
    file = cast("BinaryIO", BoundedFile(content))
    report = read_dataset(file, transfer_syntax.is_implicit_VR, transfer_syntax.is_little_endian)
    return commitment_of(report)


def commitment_of(report: Dataset) -> Commitment:
    """Read an N-EVENT-REPORT; what it names in both lists is not kept."""
    with quietly():
        kept = {
            text(item, "ReferencedSOPInstanceUID"): None for item in _items(report, "ReferencedSOPSequence")
        }
        failed = {
            text(item, "ReferencedSOPInstanceUID"): whole(item, "FailureReason") or 0
            for item in _items(report, "FailedSOPSequence")
        }
        return Commitment(transaction_uid=text(report, "TransactionUID"), instances={**kept, **failed})


def _items(report: Dataset, keyword: str) -> Sequence[Dataset]:
    raw = cast("object", report.get_item(keyword)) if keyword in report else None
    if isinstance(raw, RawDataElement):
        return open_sequence(raw, report)
    return report.get(keyword) or ()
