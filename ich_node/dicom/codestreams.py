"""What a compressed frame announces of itself, read before a decoder allocates for it. Pure."""

from dataclasses import dataclass

_JPEG_START, _J2K_START = b"\xff\xd8", b"\xff\x4f\xff\x51"
_JP2_BOX = b"\x00\x00\x00\x0cjP  "
# start-of-frame markers of JPEG (C0 to CF without DHT, JPG, DAC) and of JPEG-LS (F7)
_FRAME_MARKERS = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
_BARE_MARKERS = frozenset({0x01, *range(0xD0, 0xD8)})
_LONGEST_HEADER = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Announced:
    """Size and sample precision by the codestream's own header."""

    rows: int
    columns: int
    bits: int


def announced(frame: bytes) -> Announced | None:
    """Read the header of a JPEG, JPEG-LS or JPEG 2000 codestream; None where it has none of these."""
    if frame.startswith(_JP2_BOX):
        start = frame.find(_J2K_START)
        return _of_j2k(frame[start:]) if start >= 0 else None
    if frame.startswith(_J2K_START):
        return _of_j2k(frame)
    return _of_jpeg(frame) if frame.startswith(_JPEG_START) else None


def _of_j2k(stream: bytes) -> Announced | None:
    """Read the SIZ segment (ISO/IEC 15444-1 A.5.1)."""
    if len(stream) < 43:
        return None
    width, height, left, top = (int.from_bytes(stream[at : at + 4], "big") for at in (8, 12, 16, 20))
    return Announced(rows=height - top, columns=width - left, bits=(stream[42] & 0x7F) + 1)


def _of_jpeg(stream: bytes) -> Announced | None:
    """Walk the segments to the frame header (ISO/IEC 10918-1 B.2.2)."""
    at = 2
    while at + 9 <= min(len(stream), _LONGEST_HEADER):
        if stream[at] != 0xFF:
            return None
        marker = stream[at + 1]
        if marker in _FRAME_MARKERS:
            rows, columns = (int.from_bytes(stream[place : place + 2], "big") for place in (at + 5, at + 7))
            return Announced(rows=rows, columns=columns, bits=stream[at + 4])
        if marker == 0xFF:
            at += 1
        elif marker in _BARE_MARKERS:
            at += 2
        else:
            at += 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    return None
