"""How a content stands to what is stored under its UID already. Reads the archive, never decodes a pixel."""

from enum import StrEnum
from hashlib import sha256
from pathlib import Path

from ich_node.dicom.part10 import pixels_of, read_header
from ich_node.dicom.values import IDENTITY, decimals, quietly, text
from ich_node.errors import UnreadableInstance
from ich_node.store.files import Archive
from ich_node.store.studies import NewInstance, StoredInstance

# Implicit and Explicit VR Little Endian hold the same bytes of pixels (PS3.5 A.1, A.2)
_NATIVE = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.1"})
# what a PACS leaves alone when it sends an image in another transfer syntax
_GEOMETRY = (
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "RescaleIntercept",
    "RescaleSlope",
)


class Standing(StrEnum):
    """How a content stands to what is stored under its UID already."""

    NEW = "new"
    STORED_BEFORE = "stored before"
    OTHER_SYNTAX = "stored before in another transfer syntax"
    MENDED = "mended"  # the same pixels under another header
    CONFLICT = "conflict"


def standing_of_rows(new: NewInstance, stored: list[StoredInstance]) -> Standing | None:
    """Compare a content with those under the same UID, `stored`; None where only their files can tell."""
    if not stored:
        return Standing.NEW
    if any(one.sha256 == new.sha256 for one in stored):
        return Standing.STORED_BEFORE
    return Standing.CONFLICT if _place(_first(stored)) != _place(new) else None


def standing_of_files(new: NewInstance, stored: list[StoredInstance], archive: Archive) -> Standing:
    """Compare a content whose file is written with those of `stored`; it takes as long as reading both."""
    try:
        return _compared(_first(stored), new, archive)
    except FileNotFoundError:
        return Standing.MENDED  # a forgotten file leaves nothing to contradict
    except (UnreadableInstance, OSError):
        return Standing.CONFLICT


def _first(stored: list[StoredInstance]) -> StoredInstance:
    return next((one for one in stored if one.in_use), stored[0])


def _place(instance: NewInstance | StoredInstance) -> tuple[str, str, str]:
    return instance.study_uid, instance.series_uid, instance.sop_class_uid


def _compared(first: StoredInstance, new: NewInstance, archive: Archive) -> Standing:
    syntaxes = {first.transfer_syntax_uid, new.transfer_syntax_uid}
    comparable = len(syntaxes) == 1 or syntaxes <= _NATIVE
    files = [archive.path(one.file) for one in (first, new)]
    if comparable and _pixels(files[0]) != _pixels(files[1]):
        return Standing.CONFLICT
    if len(syntaxes) > 1 and _image(files[0]) == _image(files[1]):
        return Standing.OTHER_SYNTAX
    return Standing.MENDED if comparable else Standing.CONFLICT


def _pixels(file: Path) -> str | None:
    """The hash of the pixels as encoded: two images may each be as large as the receiver takes."""
    with file.open("rb") as opened:
        pixels = pixels_of(opened)
    return None if pixels is None else sha256(pixels).hexdigest()


def _image(file: Path) -> tuple[object, ...]:
    """What must be the same for two encodings to be of one image: whose it is, and the geometry."""
    with file.open("rb") as opened, quietly():
        header = read_header(opened)
        whose = (text(header, keyword) for keyword in IDENTITY)
        return *whose, *(decimals(header, keyword) for keyword in _GEOMETRY)
