"""The request of a C-STORE, read from its bytes (PS3.7 9.3.1.1). Pure."""

import re
import struct
from dataclasses import dataclass

_ELEMENT = struct.Struct("<HHI")  # Implicit VR Little Endian, as every command is (PS3.7 6.3.1)
_C_STORE_RQ, _NO_DATA_SET = 0x0001, 0x0101  # PS3.7 E.1
_UID = re.compile(rb"([0-9.]{1,64})\0?")
_UIDS = frozenset({0x0002, 0x1000})
_NUMBERS = frozenset({0x0100, 0x0110, 0x0700, 0x0800})
_UNUSED = frozenset({0x0000, 0x1030, 0x1031})  # group length; who asked a PACS to send


@dataclass(frozen=True, kw_only=True)
class StoreRequest:
    """What a command says of the data set that follows it."""

    message_id: int
    priority: int
    sop_class_uid: str
    sop_instance_uid: str


def store_request(command: memoryview) -> StoreRequest | None:
    """Read a whole command; None where it is no C-STORE request, or one with anything odd about it.

    A parser for all of DICOM takes ten times as long, and is there for the odd ones.
    """
    numbers: dict[int, int] = {}
    uids: dict[int, str] = {}
    offset = 0
    while offset + _ELEMENT.size <= len(command):
        group, element, length = _ELEMENT.unpack_from(command, offset)
        offset += _ELEMENT.size
        value = bytes(command[offset : offset + length])
        offset += length
        if group or len(value) != length:
            return None
        if element in _NUMBERS and length == 2:
            numbers[element] = int.from_bytes(value, "little")
        elif element in _UIDS and (uid := _UID.fullmatch(value)):
            uids[element] = uid[1].decode("ascii")
        elif element not in _UNUSED:
            return None
    whole = offset == len(command) and numbers.keys() == _NUMBERS and uids.keys() == _UIDS
    if not whole or numbers[0x0100] != _C_STORE_RQ or numbers[0x0800] == _NO_DATA_SET:
        return None
    return StoreRequest(
        message_id=numbers[0x0110],
        priority=numbers[0x0700],
        sop_class_uid=uids[0x0002],
        sop_instance_uid=uids[0x1000],
    )
