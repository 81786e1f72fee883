"""However little a file holds and however much it announces: a header takes no more than it may."""

import struct
from io import BytesIO
from pathlib import Path

import pytest
from builders import ct_series
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from reception import encoded

from ich_node.analysis.files import read_file
from ich_node.dicom import bounds
from ich_node.dicom.bounds import LONGEST_VALUE
from ich_node.dicom.frames import frames_of
from ich_node.dicom.headers import identity, instance_facts
from ich_node.dicom.part10 import FileMeta, encode_file_meta, read_data_set, read_header
from ich_node.dicom.values import items, text
from ich_node.errors import UnreadableInstance
from ich_node.vocabulary import Reason

PRIVATE, CHARSET, PIXELS = 0x00091010, 0x00080005, 0x7FE00010
FRAMES = "PerFrameFunctionalGroupsSequence"
UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = (struct.pack("<HHL", 0xFFFE, n, 0) for n in (0xE000, 0xE00D, 0xE0DD))
OPEN_ITEM = ITEM[:4] + struct.pack("<L", UNDEFINED)
FEW = 2_000


class Watched(BytesIO):
    """Counts what is read of it; an element or an item begins with eight bytes."""

    elements = largest = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.elements += size == 8
        self.largest = max(self.largest, size or 0)
        return super().read(size)


@pytest.fixture
def _few_elements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MOST_ELEMENTS", FEW)


def _file(*, before: int, raw: bytes) -> Watched:
    """One image as a file, with raw bytes before the first element from a tag on."""
    image = ct_series(slices=1)[0]
    image["PixelData"].VR = "OW"
    meta = FileMeta(
        sop_class_uid=image.SOPClassUID,
        sop_instance_uid=image.SOPInstanceUID,
        transfer_syntax_uid=image.file_meta.TransferSyntaxUID,
    )
    return Watched(encode_file_meta(meta) + encoded(image[:before]) + raw + encoded(image[before:]))


def _long(tag: int, vr: bytes, length: int) -> bytes:
    return struct.pack("<HH2sHL", tag >> 16, tag & 0xFFFF, vr, 0, length)


def _undecoded(keyword: str, vr: str | None, value: bytes) -> Dataset:
    dataset, tag = Dataset(), Tag(keyword)
    dataset._dict[tag] = RawDataElement(tag, vr, len(value), value, 0, vr is None, True)
    return dataset


def _refused(file: Watched) -> Watched:
    with pytest.raises(UnreadableInstance) as told:
        read_header(file)
    assert told.value.reason is Reason.NOT_DICOM
    return file


@pytest.mark.usefixtures("_few_elements")
def test_endless_items_are_refused_before_they_fill_memory() -> None:
    raw = _long(PRIVATE, b"SQ", UNDEFINED) + ITEM * 100_000 + SEQUENCE_END

    assert FEW < _refused(_file(before=PRIVATE, raw=raw)).elements < FEW + 20


@pytest.mark.usefixtures("_few_elements")
def test_endless_elements_are_refused_before_they_fill_memory() -> None:
    raw = b"".join(struct.pack("<HH2sH", 9, n, b"SH", 2) + b"ab" for n in range(0x1000, 0x8000))

    assert FEW < _refused(_file(before=PRIVATE, raw=raw)).elements < FEW + 20


@pytest.mark.usefixtures("_few_elements")
@pytest.mark.parametrize("implicit", [True, False])
def test_values_of_eight_bytes_are_no_elements(implicit: bool) -> None:
    start = struct.pack("<L", 8) if implicit else struct.pack("<2sH", b"DA", 8)
    raw = b"".join(struct.pack("<HH", 9, n) + start + b"20261126" for n in range(FEW + 10))
    syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian

    assert len(read_data_set(raw[: 16 * (FEW - 10)], syntax)) == FEW - 10
    with pytest.raises(UnreadableInstance):
        read_data_set(raw, syntax)


@pytest.mark.usefixtures("_few_elements")
def test_a_deflated_file_holds_no_more_elements_than_another(tmp_path: Path) -> None:
    """pydicom inflates the whole and parses it by itself."""
    for count in (100, FEW):
        image = ct_series(slices=1)[0]
        image.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        for n in range(count):
            image.add_new((0x0009, 0x1000 + n), "SH", "ab")
        image.save_as(tmp_path / f"{count}.dcm", enforce_file_format=True)

    assert len(read_file(tmp_path / "100.dcm", pixels=False)) > 100
    with pytest.raises(UnreadableInstance):
        read_file(tmp_path / f"{FEW}.dcm", pixels=False)


def test_sequences_nested_5000_deep_are_refused() -> None:
    opened = _long(PRIVATE, b"SQ", UNDEFINED)
    raw = opened + (OPEN_ITEM + opened) * 5000 + (SEQUENCE_END + ITEM_END) * 5000 + SEQUENCE_END

    _refused(_file(before=PRIVATE, raw=raw))


def test_no_more_is_read_than_there_is_whatever_an_element_announces() -> None:
    file = _file(before=PIXELS, raw=_long(0x7FDF1010, b"OB", 3_000_000_000))

    header = read_header(file)

    assert identity(header)
    assert file.largest <= len(file.getvalue())


def test_long_values_of_a_received_data_set_are_not_even_read() -> None:
    image = ct_series(slices=1)[0]
    raw = _long(PRIVATE, b"OB", 1 << 24) + bytes(1 << 24)
    content = encoded(image[:PRIVATE]) + raw + encoded(image[PRIVATE:PIXELS])

    header = read_data_set(content, image.file_meta.TransferSyntaxUID)

    kept = sum(len(header.get_item(tag, keep_deferred=True).value or b"") for tag in header.keys())  # noqa: SIM118
    assert identity(header) == identity(image)
    assert kept < 10_000


@pytest.mark.parametrize("vr", [b"UT", b"UN"])
def test_an_endless_character_set_is_refused_unread(vr: bytes) -> None:
    """pydicom converts it at once, and makes an object of each value."""
    value = b"ISO_IR 6\\" * 10_000

    file = _refused(_file(before=CHARSET, raw=_long(CHARSET, vr, len(value)) + value))

    assert file.largest < len(value)


def test_an_endless_text_is_nothing() -> None:
    longest, endless = (b"5\\" * (length // 2) + b"5" for length in (LONGEST_VALUE - 1, LONGEST_VALUE + 1))

    assert text(_undecoded("SliceThickness", None, longest), "SliceThickness")
    assert text(_undecoded("SliceThickness", None, endless), "SliceThickness") == ""


@pytest.mark.usefixtures("_few_elements")
@pytest.mark.parametrize("vr", [None, "SQ"])
def test_a_sequence_with_more_items_than_may_be_has_none(vr: str | None) -> None:
    some, many = (_undecoded(FRAMES, vr, ITEM * count) for count in (100, FEW + 1))

    assert len(items(some, FRAMES)) == len(frames_of(some)) == 100
    assert items(many, FRAMES) == []
    assert frames_of(many) == [many]


def test_a_sequence_stays_undecoded_when_its_items_are_read() -> None:
    """Kept decoded, the sequences within a thousand items would add up to gigabytes."""
    dataset = _undecoded(FRAMES, "SQ", ITEM * 100)

    items(dataset, FRAMES)

    assert isinstance(dataset.get_item(FRAMES), RawDataElement)


def test_a_head_with_seventy_thousand_elements_is_a_head() -> None:
    raw = b"".join(
        struct.pack("<HH2sH", 9 + 2 * (n // 50_000), 0x1000 + n % 50_000, b"SH", 2) + b"ab"
        for n in range(70_000)
    )

    facts = instance_facts(read_header(_file(before=PRIVATE, raw=raw)))

    assert facts == instance_facts(ct_series(slices=1)[0])


def test_a_head_with_an_enormous_private_element_is_a_head() -> None:
    raw = _long(PRIVATE, b"OB", 1 << 24) + bytes(1 << 24)

    facts = instance_facts(read_header(_file(before=PRIVATE, raw=raw)))

    assert facts == instance_facts(ct_series(slices=1)[0])
