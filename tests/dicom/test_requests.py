"""Requests that we read ourselves, against the library that reads all of them."""

from struct import pack
from typing import cast

import pytest
from pynetdicom import _config
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import P_DATA

from ich_node.dicom.requests import store_request
from ich_node.dicom.values import quietly

CT = "1.2.840.10008.5.1.4.1.1.2"


@pytest.mark.parametrize(
    "uid", ["1.2.3", "1.2.34", "1.02..3", "1" * 64]
)  # of odd and of even length, and odd
@pytest.mark.parametrize("asked_by", [None, "PACS"])
def test_a_request_says_what_the_library_reads_in_it(
    uid: str, asked_by: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(_config.VALIDATORS, "UI", lambda _: (True, ""))  # as the receiver sets it
    command = _command(uid, asked_by)

    with quietly():
        ours, theirs = store_request(memoryview(command)), _read_by_the_library(command)

    assert ours is not None
    assert (ours.message_id, ours.priority) == (theirs.MessageID, theirs.Priority) == (77, 1)
    assert (ours.sop_class_uid, ours.sop_instance_uid) == (CT, uid)
    assert (theirs.AffectedSOPClassUID, theirs.AffectedSOPInstanceUID) == (CT, uid)


@pytest.mark.parametrize(
    "odd",
    [
        b"",
        bytes.fromhex("0000000104000000") + b"\x01\x00\x00\x00",  # a number of four bytes
        b"\x00\x00\x00\x08\x02\x00\x00\x00\x01\x01",
        b"\x00\x00\x00\x01\x02\x00\x00\x00\x30\x00",  # a C-ECHO
        b"\x00\x00\x00\x10\x06\x00\x00\x001.2\\3\x00",  # two UIDs
        b"\x00\x00\x00\x10\x06\x00\x00\x001.2 x\x00",
        b"\x00\x00\x00\x10\xff\xff\xff\xff1.2.34",  # longer than what is there
        b"\x00\x00\x10\x10\x02\x00\x00\x00  ",  # an element that no such request has
        b"\x08\x00\x05\x00\x02\x00\x00\x00AB",  # not of a command
    ],
)
def test_an_odd_request_is_left_to_the_library(odd: bytes) -> None:
    whole = _command("1.2.3", None)

    assert store_request(memoryview(whole + odd)) is None or not odd
    assert store_request(memoryview(whole[:-1])) is None
    assert store_request(memoryview(odd)) is None


def _command(uid: str, asked_by: str | None) -> bytes:
    elements = (
        _element(0x0002, _padded(CT)) + _element(0x0100, pack("<H", 1)) + _element(0x0110, pack("<H", 77))
    )
    elements += (
        _element(0x0700, pack("<H", 1)) + _element(0x0800, pack("<H", 1)) + _element(0x1000, _padded(uid))
    )
    if asked_by:
        elements += _element(0x1030, asked_by.encode()) + _element(0x1031, pack("<H", 5))
    return _element(0x0000, pack("<I", len(elements))) + elements


def _element(number: int, value: bytes) -> bytes:
    return pack("<HHI", 0, number, len(value)) + value


def _padded(uid: str) -> bytes:
    return uid.encode() + b"\x00" * (len(uid) % 2)


def _read_by_the_library(command: bytes) -> C_STORE:
    message, pdu = DIMSEMessage(), P_DATA()
    pdu.presentation_data_value_list = []
    pdu.presentation_data_value_list.append((1, b"\x03" + command))
    message.decode_msg(pdu)
    return cast("C_STORE", message.message_to_primitive())
