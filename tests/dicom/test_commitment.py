"""What a PACS says that it keeps is read within bounds."""

from io import BytesIO

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from reception import encoded

from ich_node.dicom.bounds import MOST_ELEMENTS, OutOfBounds
from ich_node.dicom.commitment import commitment_request, read_commitment

INSTANCES = [("1.2.840.10008.5.1.4.1.1.88.11", f"1.2.3.{number}") for number in range(3)]


def test_what_is_kept_and_what_is_not_is_read_from_the_bytes() -> None:
    report = commitment_request("1.2.3", INSTANCES)
    failed = Dataset()
    failed.ReferencedSOPInstanceUID, failed.FailureReason = "1.2.3.2", 0x0112
    report.FailedSOPSequence = [failed]

    commitment = read_commitment(BytesIO(encoded(report)), ExplicitVRLittleEndian)

    assert commitment.transaction_uid == "1.2.3"
    assert commitment.instances == {"1.2.3.0": None, "1.2.3.1": None, "1.2.3.2": 0x0112}


@pytest.mark.parametrize("length", [(MOST_ELEMENTS + 1) * 8, 0xFFFFFFFF])
def test_items_without_end_are_not_taken(length: int) -> None:
    sequence = b"\x08\x00\x99\x11SQ\x00\x00" + length.to_bytes(4, "little")
    items = (MOST_ELEMENTS + 1) * b"\xfe\xff\x00\xe0\x00\x00\x00\x00"

    end = b"\xfe\xff\xdd\xe0\x00\x00\x00\x00" if length == 0xFFFFFFFF else b""

    with pytest.raises((OSError, OutOfBounds)):  # pydicom hides some of ours
        read_commitment(BytesIO(sequence + items + end), ExplicitVRLittleEndian)
