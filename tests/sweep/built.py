"""Studies that are built for the sweep, and the outcomes that each of their images may have."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO

from pydicom.dataset import Dataset
from pydicom.filebase import DicomFileLike
from pydicom.filewriter import write_dataset
from reception import Message
from sweep.offers import Offer

READ = ("positive", "negative", "indeterminate")
NOT_DICOM = "refused: status 0xC000 (NOT_DICOM)"
NO_IDENTITY = "refused: status 0xC000 (NO_IDENTITY)"
CONTEXT = "refused: context"

IMPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"


@dataclass(frozen=True, kw_only=True)
class Built:
    """The messages of one study, and the outcomes that each of them may have."""

    name: str
    messages: tuple[Message, ...]
    accepted: tuple[str, ...]

    def offers(self) -> Iterator[Offer]:
        """Each message as one thing to send."""
        for number, message in enumerate(self.messages):
            yield Offer(name=f"{self.name}/{number:04d}", folder=self.name, message=message)


def built(name: str, images: Iterable[Dataset], *accepted: str) -> Built:
    """Take a study as it is, in the syntax that its file meta names."""
    return Built(name=name, messages=tuple(map(message_of, images)), accepted=accepted)


def message_of(image: Dataset, dataset: bytes | None = None) -> Message:
    """One image as a sender encodes it, in the syntax that its file meta names; or these bytes instead."""
    syntax = str(image.file_meta.TransferSyntaxUID)
    return Message(
        sop_class_uid=image.SOPClassUID,
        sop_instance_uid=image.SOPInstanceUID,
        dataset=encoded_as(image, syntax) if dataset is None else dataset,
        transfer_syntax_uid=syntax,
    )


def with_bytes(image: Dataset, tag: int, raw: bytes) -> Message:
    """Put raw bytes before the first element from `tag` on; Explicit VR Little Endian."""
    return message_of(image, encoded_as(image[:tag]) + raw + encoded_as(image[tag:]))


def encoded_as(dataset: Dataset, syntax: str = "") -> bytes:
    """Encode a data set in one of the three uncompressed ways; pixels are taken as they are."""
    implicit, little = syntax == IMPLICIT, syntax != BIG_ENDIAN
    buffer = BytesIO()
    file = DicomFileLike(buffer)
    file.is_implicit_VR, file.is_little_endian = implicit, little
    plain = Dataset(dataset)
    plain.set_original_encoding(implicit, little)
    if "PixelData" in plain and plain["PixelData"].VR == "OB or OW":
        plain["PixelData"].VR = "OW"  # a part of a data set does not say how many bits it has
    write_dataset(file, plain)
    return buffer.getvalue()
