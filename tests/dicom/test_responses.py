"""Responses that we encode ourselves, against the library that did it before."""

from io import BytesIO

import pytest
from pydicom.filereader import read_dataset

from ich_node.dicom.responses import store_response


@pytest.mark.parametrize("uid", ["1.2.3", "1.2.34"])  # of odd and of even length
def test_a_response_to_a_store_reads_back_as_what_it_says(uid: str) -> None:
    pdu = store_response(
        context_id=5,
        message_id=77,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        sop_instance_uid=uid,
        status=0xA700,
        comment="Out of resources",
    )

    command = read_dataset(BytesIO(pdu[12:]), is_implicit_VR=True, is_little_endian=True)
    assert pdu[:1] == b"\x04"
    assert int.from_bytes(pdu[2:6], "big") == len(pdu) - 6
    assert int.from_bytes(pdu[6:10], "big") == len(pdu) - 10
    assert pdu[10:12] == b"\x05\x03"
    assert command.CommandGroupLength == len(pdu) - 12 - 12
    assert command.CommandField == 0x8001
    assert command.MessageIDBeingRespondedTo == 77
    assert command.CommandDataSetType == 0x0101
    assert (command.Status, command.ErrorComment) == (0xA700, "Out of resources")
    assert (command.AffectedSOPClassUID, command.AffectedSOPInstanceUID) == ("1.2.840.10008.5.1.4.1.1.2", uid)
