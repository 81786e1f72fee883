"""The DICOM file format (PS3.10) around a data set that stays as it is: file meta in, file meta out. Pure."""

import struct
import zlib
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO

from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.errors import InvalidDicomError

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

_PREAMBLE = b"\x00" * 128 + b"DICM"
_LONG_LENGTH_VRS = (b"OB", b"UN", b"UT")
# whatever pydicom lets out of its parsers for bytes that are no DICOM
PARSE_ERRORS = (
    InvalidDicomError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    NotImplementedError,
    OverflowError,
    RecursionError,
    struct.error,
    zlib.error,
)


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


def read_header(content: bytes | BinaryIO) -> FileDataset:
    """Read all elements before the pixels; raises UnreadableInstance where the bytes are no DICOM."""
    try:
        file = BytesIO(content) if isinstance(content, bytes) else content
        return dcmread(file, stop_before_pixels=True)
    except PARSE_ERRORS as error:
        raise UnreadableInstance(Reason.NOT_DICOM, f"no DICOM data set ({type(error).__name__})") from None


def pixels_of(content: bytes) -> bytes | None:
    """The pixel data as encoded, None where there is none; raises UnreadableInstance."""
    try:
        dataset = dcmread(BytesIO(content))
        found = [dataset[keyword].value for keyword in PIXEL_KEYWORDS if keyword in dataset]
    except PARSE_ERRORS as error:
        raise UnreadableInstance(Reason.NOT_DICOM, f"no DICOM data set ({type(error).__name__})") from None
    return bytes(found[0]) if found else None
