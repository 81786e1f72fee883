"""What a sender can offer of a file: class, UID, transfer syntax, and the data set's bytes as they lie."""

from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset
from pynetdicom.dsutils import split_dataset
from reception import Message

from ich_node.analysis.files import read_file
from ich_node.dicom.headers import IDENTIFYING
from ich_node.dicom.part10 import PARSE_ERRORS
from ich_node.dicom.values import ODD_VALUE, quietly, text
from ich_node.errors import UnreadableInstance

LONGEST_UID = 64


@dataclass(frozen=True, kw_only=True)
class Offer:
    """One thing to send: a file of the data, or a built one (`path` is None, its bytes are in `message`)."""

    name: str
    folder: str
    message: Message
    study_uid: str = ""
    path: Path | None = None


def offer_of(path: Path, data: Path) -> Offer | None:
    """What a sender could offer of this file; None where it lacks preamble, class, UID or syntax."""
    name, folder = str(path.relative_to(data)), str(path.parent.relative_to(data))
    try:
        with quietly():
            meta, offset = split_dataset(path)
            header = _header(path)
            message = Message(
                sop_class_uid=text(header, "SOPClassUID") or text(meta, "MediaStorageSOPClassUID"),
                sop_instance_uid=text(header, "SOPInstanceUID") or text(meta, "MediaStorageSOPInstanceUID"),
                transfer_syntax_uid=text(meta, "TransferSyntaxUID"),
                dataset=path.read_bytes()[offset:],
            )
            study_uid = text(header, IDENTIFYING[0])
    except (*PARSE_ERRORS, *ODD_VALUE):
        return None
    uids = (message.sop_class_uid, message.sop_instance_uid, message.transfer_syntax_uid)
    # a command carries its UIDs in ASCII, and none that is longer
    if not all(uid and uid.isascii() and len(uid) <= LONGEST_UID for uid in uids) or not message.dataset:
        return None
    return Offer(name=name, folder=folder, message=message, study_uid=study_uid, path=path)


def _header(path: Path) -> Dataset:
    try:
        return read_file(path, pixels=False)
    except UnreadableInstance:
        return Dataset()  # the file meta may be enough to offer it: the node shall judge the rest
