"""Heads whose headers are built to fill memory, to nest without end, or to lie about their lengths."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from builders import ct_series
from pydicom.dataset import Dataset
from pydicom.uid import UID
from reception import DEFLATED, Message
from sweep.built import (
    BIG_ENDIAN,
    CONTEXT,
    IMPLICIT,
    NO_IDENTITY,
    NOT_DICOM,
    READ,
    Built,
    built,
    encoded_as,
    message_of,
    with_bytes,
)

UNDEFINED = 0xFFFFFFFF
PRIVATE = 0x00091010  # between the SOP Instance UID and the Study Instance UID
THICKNESS, PIXELS, BEHIND_PIXELS = 0x00180050, 0x7FE00010, 0x7FE11010
PER_FRAME = 0x52009230
DEEP, MANY = 5_000, 6_000_000
THREE_GB = 3_000_000_000
_ITEM, _END_ITEM, _END_SEQUENCE = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD


def hostile_headers(first_seed: int) -> Iterator[Built]:
    """Make one study of each kind; all are heads otherwise."""
    for number, make in enumerate(_KINDS):
        yield make(ct_series(seed=first_seed + number, slices=20))


def _nested(images: list[Dataset]) -> Built:
    sequence = _long(PRIVATE, b"SQ", UNDEFINED)
    raw = sequence + (_tag(_ITEM, UNDEFINED) + sequence) * DEEP
    raw += (_tag(_END_SEQUENCE, 0) + _tag(_END_ITEM, 0)) * DEEP + _tag(_END_SEQUENCE, 0)
    return _one(f"{DEEP} sequences deep", with_bytes(images[0], PRIVATE, raw), NOT_DICOM)


def _nested_with_lengths(images: list[Dataset]) -> Built:
    raw = b""
    for _ in range(DEEP):
        item = _tag(_ITEM, len(raw)) + raw
        raw = _long(PRIVATE, b"SQ", len(item)) + item
    return _beside(f"{DEEP} sequences deep, with lengths", with_bytes(images[0], PRIVATE, raw), images)


def _cut_in_a_sequence(images: list[Dataset]) -> Built:
    cut = encoded_as(images[0][:PIXELS]) + _long(PER_FRAME, b"SQ", UNDEFINED) + _tag(_ITEM, 0)
    return _one("cut within a sequence", message_of(images[0], cut), NOT_DICOM)


def _three_gb_of_pixels(images: list[Dataset]) -> Built:
    raw = _long(PIXELS, b"OW", THREE_GB) + bytes(100)
    messages = tuple(message_of(one, encoded_as(one[:PIXELS]) + raw) for one in images)
    return Built(name="3 GB of pixels announced", messages=messages, accepted=("declined UNDECODABLE",))


def _three_gb_before(images: list[Dataset]) -> Built:
    lying = with_bytes(images[0], PRIVATE, _long(PRIVATE, b"OB", THREE_GB))
    return _one("3 GB announced before the study's UID", lying, NO_IDENTITY)


def _three_gb_behind(images: list[Dataset]) -> Built:
    raw = _long(BEHIND_PIXELS, b"OB", THREE_GB)
    messages = tuple(message_of(one, encoded_as(one) + raw) for one in images)
    return Built(name="3 GB announced behind the pixels", messages=messages, accepted=READ)


def _tiny_elements(images: list[Dataset]) -> Built:
    return _one("200000 tiny elements", with_bytes(images[0], PRIVATE, _elements(200_000)), NOT_DICOM)


def _fewer_elements(images: list[Dataset]) -> Built:
    return _beside("70000 tiny elements", with_bytes(images[0], PRIVATE, _elements(70_000)), images)


def _large_private(images: list[Dataset]) -> Built:
    raw = _long(PRIVATE, b"OB", 50_000_000) + bytes(50_000_000)
    return _beside("one private element of 50 MB", with_bytes(images[0], PRIVATE, raw), images)


def _empty_items(images: list[Dataset]) -> Built:
    raw = _long(PRIVATE, b"SQ", UNDEFINED) + _tag(_ITEM, 0) * MANY + _tag(_END_SEQUENCE, 0)
    return _one(f"{MANY} empty items", with_bytes(images[0], PRIVATE, raw), NOT_DICOM)


def _empty_frames(images: list[Dataset]) -> Built:
    raw = _long(PER_FRAME, b"SQ", 8 * MANY) + _tag(_ITEM, 0) * MANY
    return _beside(f"{MANY} empty frames", with_bytes(images[0], PER_FRAME, raw), images)


def _endless_text(images: list[Dataset]) -> Built:
    """In Implicit VR a text may be as long as it likes, and each of its values becomes an object."""
    for image in images:
        image.file_meta.TransferSyntaxUID = UID(IMPLICIT)
    text = b"5\\" * 20_000_000
    start, rest = images[0][:THICKNESS], images[0][THICKNESS + 1 :]
    endless = encoded_as(start, IMPLICIT) + struct.pack("<HHL", 0x18, 0x50, len(text)) + text
    endless += encoded_as(rest, IMPLICIT)
    return _beside("40 MB of numbers in one text", message_of(images[0], endless), images)


def _own_file_meta(images: list[Dataset]) -> Built:
    """A data set that starts as a file meta does, and says that the rest is deflated: 2 GB of zeros."""
    syntax = DEFLATED.encode() + b"\0" * (len(DEFLATED) % 2)
    meta = struct.pack("<HH2sH", 2, 0x10, b"UI", len(syntax)) + syntax
    deflater = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    body = deflater.compress(encoded_as(images[0][:PIXELS]) + _long(PIXELS, b"OW", 2_000_000_000))
    body += b"".join(deflater.compress(bytes(10_000_000)) for _ in range(200)) + deflater.flush()
    return _one("a deflating file meta in the data set", message_of(images[0], meta + body), NOT_DICOM)


def _deflated(images: list[Dataset]) -> Built:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = deflater.compress(encoded_as(images[0])) + deflater.flush()
    deflated = replace(message_of(images[0], packed), transfer_syntax_uid=DEFLATED)
    return _one("deflated", deflated, CONTEXT)


def _big_endian(images: list[Dataset]) -> Built:
    for image in images:
        image.file_meta.TransferSyntaxUID = UID(BIG_ENDIAN)
        image.PixelData = np.frombuffer(image.PixelData, "<u2").astype(">u2").tobytes()
    return built("big endian", images, *READ)


def _frames(images: list[Dataset]) -> Built:
    images[0].NumberOfFrames = 100_000
    return built("100000 frames announced", images[:1], "declined TOO_LARGE")


_KINDS = (
    _nested,
    _nested_with_lengths,
    _cut_in_a_sequence,
    _three_gb_of_pixels,
    _three_gb_before,
    _three_gb_behind,
    _tiny_elements,
    _fewer_elements,
    _large_private,
    _empty_items,
    _empty_frames,
    _endless_text,
    _own_file_meta,
    _deflated,
    _big_endian,
    _frames,
)


def _one(name: str, message: Message, *accepted: str) -> Built:
    return Built(name=name, messages=(message,), accepted=accepted)


def _beside(name: str, odd: Message, images: list[Dataset]) -> Built:
    """A head one of whose images is odd where nobody needs to look: it is read."""
    messages = (odd, *map(message_of, images[1:]))
    return Built(name=name, messages=messages, accepted=READ)


def _elements(count: int) -> bytes:
    places = ((0x0009 + 2 * (n // 50_000), 0x1000 + n % 50_000) for n in range(count))
    return b"".join(struct.pack("<HH2sH", *place, b"SH", 2) + b"ab" for place in places)


def _tag(tag: int, length: int) -> bytes:
    return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, length)


def _long(tag: int, vr: bytes, length: int) -> bytes:
    return struct.pack("<HH2sHL", tag >> 16, tag & 0xFFFF, vr, 0, length)
