"""The DICOM file format (PS3.10) around a data set that stays as it is: file meta in, file meta out. Pure."""

import struct
import zlib
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO, cast

from pydicom import dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileDataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from ich_node.dicom.bounds import LONGEST_VALUE, BoundedFile
from ich_node.dicom.values import ODD_VALUE
from ich_node.errors import UnreadableInstance
from ich_node.vocabulary import Reason

# derived once from a random UUID (PS3.5 B.2); names this implementation in associations and files
IMPLEMENTATION_CLASS_UID = "2.25.269012287455403126310489920158712830157"
IMPLEMENTATION_VERSION_NAME = "ICH_NODE_0_1"  # at most 16 characters

# the whole data set is a zlib stream in these (PS3.5 A.5, A.4.7, A.4.12)
DEFLATED_TRANSFER_SYNTAXES = frozenset(
    {"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"}
)

PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")

_PIXEL_VRS = (None, "OB", "OW", "OF", "OD", "UN")  # none in Implicit VR
_PIXEL_TAGS = frozenset(tag_for_keyword(keyword) for keyword in PIXEL_KEYWORDS)
_META_GROUP = (b"\x02\x00", b"\x00\x02")
_PREAMBLE = b"\x00" * 128 + b"DICM"
_LONG_LENGTH_VRS = (b"OB", b"UN", b"UT")
# whatever pydicom lets out of its parsers for bytes that are no DICOM
PARSE_ERRORS = (InvalidDicomError, *ODD_VALUE, zlib.error)


@dataclass(frozen=True, kw_only=True)
class FileMeta:
    """What the file meta information says of the data set behind it."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    source_ae_title: str = ""


def encode_file_meta(meta: FileMeta) -> bytes:
    """Encode preamble, prefix and group 0002 (PS3.10 7.1); UIDs are written as they came, valid or not."""
    elements = b"".join(
        (
            b"\x02\x00\x01\x00OB\x00\x00\x02\x00\x00\x00\x00\x01",
            _element(0x0002, b"UI", meta.sop_class_uid, b"\x00"),
            _element(0x0003, b"UI", meta.sop_instance_uid, b"\x00"),
            _element(0x0010, b"UI", meta.transfer_syntax_uid, b"\x00"),
            _element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID, b"\x00"),
            _element(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME, b" "),
            _element(0x0016, b"AE", meta.source_ae_title, b" ") if meta.source_ae_title else b"",
        )
    )
    return _PREAMBLE + b"\x02\x00\x00\x00UL\x04\x00" + struct.pack("<I", len(elements)) + elements


def _element(number: int, vr: bytes, text: str, padding: bytes) -> bytes:
    value = text.encode("ascii", "replace")
    value += padding * (len(value) % 2)
    return struct.pack("<HH2sH", 2, number, vr, len(value)) + value


def split(content: bytes) -> tuple[FileMeta, memoryview]:
    """Part a file into its meta information and the data set's bytes; raises UnreadableInstance."""
    if content[128:138] != b"DICM\x02\x00\x00\x00UL":
        raise UnreadableInstance(Reason.NOT_DICOM)
    try:
        end = 144 + int(struct.unpack_from("<I", content, 140)[0])
        values = _texts(content, 144, end)
    except struct.error:
        raise UnreadableInstance(Reason.NOT_DICOM) from None
    meta = FileMeta(
        sop_class_uid=values.get(0x0002, ""),
        sop_instance_uid=values.get(0x0003, ""),
        transfer_syntax_uid=values.get(0x0010, ""),
        source_ae_title=values.get(0x0016, ""),
    )
    return meta, memoryview(content)[end:]


def _texts(content: bytes, start: int, end: int) -> dict[int, str]:
    """The values of group 0002 by element number, as text."""
    values = {}
    while start < end:
        _, number, vr, length = struct.unpack_from("<HH2sH", content, start)
        start += 8
        if vr in _LONG_LENGTH_VRS:
            (length,) = struct.unpack_from("<I", content, start)
            start += 4
        values[number] = content[start : start + length].decode("ascii", "replace").rstrip("\x00 ")
        start += length
    return values


def read_data_set(content: bytes | BinaryIO, transfer_syntax_uid: str, *, begin: int = 0) -> Dataset:
    """Read all elements before the pixels of a bare data set, of which long values stay unread.

    It is the bytes, or what a file holds from `begin` on. Raises UnreadableInstance where it is no DICOM, or
    takes more than a header may.
    """
    file = BytesIO(content) if isinstance(content, bytes) else content
    file.seek(begin)
    # behind our file meta such elements would say in which syntax the data set is
    if file.read(2) in _META_GROUP:
        raise UnreadableInstance(Reason.NOT_DICOM, "the data set begins with a file meta of its own")
    try:
        return read_dataset(
            cast("BinaryIO", BoundedFile(file, begin=begin)),
            transfer_syntax_uid == ImplicitVRLittleEndian,
            transfer_syntax_uid != ExplicitVRBigEndian,
            stop_when=_at_pixels,
            defer_size=LONGEST_VALUE,
        )
    except PARSE_ERRORS as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk's, where it is an open file
            raise
        raise UnreadableInstance(Reason.NOT_DICOM, f"no DICOM data set ({type(error).__name__})") from None


def _at_pixels(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return tag in _PIXEL_TAGS


def read_header(content: bytes | BinaryIO) -> FileDataset:
    """Read all elements before the pixels, of what is not deflated.

    Raises UnreadableInstance where the bytes are no DICOM, or take more than a header may.
    """
    try:
        file = BytesIO(content) if isinstance(content, bytes) else content
        return dcmread(BoundedFile(file), stop_before_pixels=True)
    except PARSE_ERRORS as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk's, where it is an open file
            raise
        raise UnreadableInstance(Reason.NOT_DICOM, f"no DICOM data set ({type(error).__name__})") from None


def pixels_of(content: bytes | BinaryIO) -> bytes | None:
    """The pixel data as encoded, None where there is none; raises UnreadableInstance."""
    try:
        file = BytesIO(content) if isinstance(content, bytes) else content
        dataset = dcmread(BoundedFile(file))
        # as they are encoded: converted by another value representation they could fill memory
        found = [dataset.get_item(keyword) for keyword in PIXEL_KEYWORDS if keyword in dataset]
    except PARSE_ERRORS as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise UnreadableInstance(Reason.NOT_DICOM, f"no DICOM data set ({type(error).__name__})") from None
    if not found:
        return None
    pixels = b"" if found[0].value is None else found[0].value  # pydicom's word for an element of no length
    if found[0].VR not in _PIXEL_VRS or not isinstance(pixels, bytes):
        raise UnreadableInstance(Reason.NOT_DICOM, "the pixel data has a value representation of no pixels")
    return pixels
