"""The response to a C-STORE request, in bytes (PS3.7 9.3.1.2, PS3.8 9.3.5). Pure."""

import struct

_C_STORE_RSP, _NO_DATA_SET = 0x8001, 0x0101  # PS3.7 E.1
_WHOLE_COMMAND = 0x03  # message control header: a command, its last fragment (PS3.8 E.2)
_P_DATA = 0x04


def store_response(
    *,
    context_id: int,
    message_id: int,
    sop_class_uid: str,
    sop_instance_uid: str,
    status: int,
    comment: str = "",
) -> bytes:
    """Encode a P-DATA-TF PDU with the whole response, in Implicit VR Little Endian as every command is.

    pydicom would take as long for it as the row of the instance takes in the database.
    """
    command = b"".join(
        (
            _text(0x0002, sop_class_uid, b"\x00"),
            _number(0x0100, _C_STORE_RSP),
            _number(0x0120, message_id),
            _number(0x0800, _NO_DATA_SET),
            _number(0x0900, status),
            _text(0x0902, comment, b" ") if comment else b"",
            _text(0x1000, sop_instance_uid, b"\x00"),
        )
    )
    command = struct.pack("<HHII", 0, 0, 4, len(command)) + command
    value = struct.pack(">IBB", len(command) + 2, context_id, _WHOLE_COMMAND) + command
    return struct.pack(">BBI", _P_DATA, 0, len(value)) + value


def _number(element: int, value: int) -> bytes:
    return struct.pack("<HHIH", 0, element, 2, value)


def _text(element: int, text: str, padding: bytes) -> bytes:
    value = text.encode("ascii", "replace")
    value += padding * (len(value) % 2)
    return struct.pack("<HHI", 0, element, len(value)) + value
