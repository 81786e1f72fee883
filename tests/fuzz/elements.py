"""A DICOM file as a list of elements with raw values, so that any of them can be written wrong."""

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO

from pydicom.dataset import Dataset
from pydicom.tag import Tag

UNDEFINED = 0xFFFFFFFF
LONG_VRS = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)
VRS = (
    *(b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN", b"SH"),
    *(b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US", *sorted(LONG_VRS), b"??"),
)
_ITEM, _ITEM_END, _SEQUENCE_END = (
    struct.pack("<HHI", 0xFFFE, number, 0) for number in (0xE000, 0xE00D, 0xE0DD)
)
_OPEN_ITEM = _ITEM[:4] + struct.pack("<I", UNDEFINED)


@dataclass(frozen=True, kw_only=True)
class Element:
    """One element; `length` is what it says of its value, where that is not the truth."""

    tag: int
    vr: bytes
    value: bytes
    length: int | None = None

    def encoded(self, *, implicit: bool = False) -> bytes:
        """Write it in Little Endian."""
        length = len(self.value) if self.length is None else self.length
        tag = struct.pack("<HH", self.tag >> 16, self.tag & 0xFFFF)
        if implicit:
            return tag + struct.pack("<I", length) + self.value
        if self.vr in LONG_VRS:
            return tag + self.vr + b"\0\0" + struct.pack("<I", length) + self.value
        return tag + self.vr + struct.pack("<H", length & 0xFFFF) + self.value[:0xFFFF]


File = dict[int, Element]


def elements_of(dataset: Dataset) -> File:
    """Take a data set with file meta apart; it must be in Explicit VR Little Endian."""
    written = BytesIO()
    dataset.save_as(written, enforce_file_format=True)
    return {one.tag: one for one in _parsed(written.getvalue()[132:])}


def _parsed(content: bytes) -> Iterator[Element]:
    at = 0
    while at < len(content):
        group, number, vr, length = struct.unpack_from("<HH2sH", content, at)
        at += 8
        if vr in LONG_VRS:
            (length,) = struct.unpack_from("<I", content, at)
            at += 4
        yield Element(tag=group << 16 | number, vr=vr, value=content[at : at + length])
        at += length


def file_of(elements: Iterable[Element], *, implicit: bool = False) -> bytes:
    """Write preamble, prefix and all elements; the file meta is always explicit (PS3.10 7.1)."""
    ordered = sorted(elements, key=lambda one: one.tag)
    return (
        bytes(128)
        + b"DICM"
        + b"".join(one.encoded(implicit=implicit and one.tag >> 16 != 2) for one in ordered)
    )


def nested(inner: Sequence[Element], sequence: int, depth: int) -> bytes:
    """The value of a sequence within itself, `depth` times, of undefined lengths; `inner` is in each item."""
    opening = Element(tag=sequence, vr=b"SQ", value=b"", length=UNDEFINED).encoded()
    content = b"".join(one.encoded() for one in inner)
    closing = _ITEM_END + _SEQUENCE_END
    return _OPEN_ITEM + content + (opening + _OPEN_ITEM + content) * depth + closing * depth + closing


def items(contents: Iterable[Sequence[Element]]) -> bytes:
    """The value of a sequence of these items, of defined lengths."""
    encoded = (b"".join(one.encoded() for one in content) for content in contents)
    return b"".join(_ITEM[:4] + struct.pack("<I", len(item)) + item for item in encoded)


def tag_of(keyword: str) -> int:
    """The number of an attribute."""
    return int(Tag(keyword))
