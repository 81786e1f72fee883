"""What a header may take of memory; whatever announces more is refused before anything is allocated for it.

A small file can make a parser fill memory: of eight bytes for an empty item pydicom makes an object of 1200.
"""

import zlib
from io import SEEK_END, SEEK_SET, BytesIO
from typing import BinaryIO, cast

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset, read_sequence
from pydicom.sequence import Sequence

# with the items and ends of sequences: 110 MB of objects; a frame of an enhanced CT has 50 to 90 of them
MOST_ELEMENTS = 80_000
# of values that are converted: of a text pydicom makes an object for each value. Lengths of 16 bits end here
LONGEST_VALUE = 0xFFFF
_CHARSET = (b"\x08\x00\x05\x00", b"\x00\x08\x00\x05")  # (0008,0005) in both byte orders: always converted
_ELEMENT_START = 8  # tag and length
_EIGHT = (b"\x08\x00", b"\x00\x08")  # as a length of 16 bits in both byte orders
_LONG_EIGHT = (b"\x08\x00\x00\x00", b"\x00\x00\x00\x08")
_PIECE = 1 << 20


class OutOfBounds(ValueError):
    """A header takes more than it may."""


class BoundedFile:
    """A file for pydicom to parse; raises OutOfBounds at too many elements, or where it inflates too far.

    Nothing is read that is not there, whatever length an element announces. A deflated data set, which
    pydicom asks for as a whole, may inflate to `inflated` bytes, and holds no more elements either. `spare`
    elements more may come, for a file meta that the same data set did not have when it was received. What
    lies before `begin` is passed over.
    """

    def __init__(self, file: BinaryIO, *, begin: int = 0, inflated: int = 0, spare: int = 0) -> None:
        self._file, self._inflated, self._most = file, inflated, MOST_ELEMENTS + spare
        self._size = file.seek(0, SEEK_END)
        # asked for with each element, and of an open file it is a call of the system
        self._at = file.seek(begin)
        self._elements = 0
        self._start = b""

    def tell(self) -> int:
        """Where the next read begins."""
        return self._at

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        """Go elsewhere; past the end is allowed."""
        self._at = self._file.seek(offset, whence)
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Read so many bytes, fewer at the end; raises OutOfBounds, and zlib.error where it is deflated."""
        if size < 0:
            return self._deflated()
        if size > LONGEST_VALUE:
            if self._start[:4] in _CHARSET:
                raise OutOfBounds("an endless character set")
            size = max(0, min(size, self._size - self._at))
        content = self._file.read(size)
        self._at += len(content)
        if size == _ELEMENT_START:
            self._count(content)
        return content

    def _count(self, content: bytes) -> None:
        if self._announced_eight():
            self._start = b""
            return
        self._start = content
        self._elements += 1
        if self._elements > self._most:
            raise OutOfBounds(f"more than {MOST_ELEMENTS} elements and items")

    def _announced_eight(self) -> bool:
        """Say whether what was counted last began an element whose value of eight bytes has come now."""
        return (self._start[6:] in _EIGHT and self._start[4:6].isalpha()) or self._start[4:] in _LONG_EIGHT

    def _deflated(self) -> bytes:
        """Return the rest as it is, once it is known what pydicom will make of it."""
        begin, inflater, inflated = self._at, zlib.decompressobj(-zlib.MAX_WBITS), bytearray()
        while packed := inflater.unconsumed_tail or self._file.read(_PIECE):
            inflated += inflater.decompress(packed, _PIECE)
            if len(inflated) > self._inflated:
                raise OutOfBounds("deflated, and inflates too far")
        read_dataset(cast("BinaryIO", BoundedFile(BytesIO(inflated))), False, True)
        self._file.seek(begin)
        content = self._file.read()
        self._at += len(content)
        return content


def is_endless(element: RawDataElement) -> bool:
    """Say whether a value is too long to be converted, or was not even read for being so long."""
    return element.length > 0 if element.value is None else len(element.value) > LONGEST_VALUE


def open_sequence(element: RawDataElement, dataset: Dataset) -> Sequence:
    """Parse a sequence of a data set that is undecoded; raises OutOfBounds and whatever pydicom raises."""
    value = element.value or b""
    return read_sequence(
        cast("BinaryIO", BoundedFile(BytesIO(value))),
        element.is_implicit_VR,
        element.is_little_endian,
        len(value),
        dataset.original_character_set,
    )
