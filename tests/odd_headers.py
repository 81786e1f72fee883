"""Headers as hospitals write them: every character set, and values that the standard does not allow."""

from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

CHARSETS = [
    ("ISO_IR 100", "M\u00fcller^J\u00f6rg"),
    ("ISO_IR 144", "\u0418\u0432\u0430\u043d\u043e\u0432^\u0418\u0432\u0430\u043d"),
    ("ISO_IR 192", "Wang^Xiao=\u738b^\u5c0f\u4e1c"),
    ("GB18030", "Wang^Xiao=\u738b^\u5c0f\u4e1c"),
    (["", "ISO 2022 IR 87"], "Yamada^Tarou=\u5c71\u7530^\u592a\u90ce=\u3084\u307e\u3060^\u305f\u308d\u3046"),
    (["", "ISO 2022 IR 149"], "Hong^Gildong=\u6d2a^\u5409\u6d1e=\ud64d^\uae38\ub3d9"),
    ("ISO_IR 13", "\uff94\uff8f\uff80\uff9e^\uff80\uff9b\uff73"),
]

OUTSIDE_THE_STANDARD = [
    ("PatientName", b"M\xfcller^J\xf6rg"),
    ("StudyDate", b"2026.3.5"),
    ("StudyTime", b"noon"),
    ("PatientBirthDate", b"UNKNOWN "),
    ("PatientSex", b"unknown "),
    ("StudyID", b"0123456789ABCDEF0123"),
    ("AccessionNumber", b"0123456789ABCDEF0123"),
    ("PatientID", b"<script>alert(1)</script>\\\x1b"),
]

FOUND = [
    *((keyword, "US", b"\x01\x00\x02") for keyword in ("TimezoneOffsetFromUTC", "Manufacturer")),
    *((keyword, "FD", b"abc ") for keyword in ("TimezoneOffsetFromUTC", "Manufacturer")),
    *((keyword, "US", b"\x01\x00\x02") for keyword in ("ManufacturerModelName", "SeriesNumber")),
    *((keyword, "FD", b"abc ") for keyword in ("ManufacturerModelName", "SeriesNumber")),
    ("ImagePositionPatient", "US", b"\x01\x00\x02"),
    ("ImagePositionPatient", "FD", b"abc "),
    *(("RequestAttributesSequence", vr, b"hello ") for vr in ("LO", "UN")),
    *(("ProcedureCodeSequence", vr, b"hello ") for vr in ("LO", "UN")),
    *(("RequestAttributesSequence", vr, b"\x01\x00") for vr in ("OB", "US")),
    *(("ProcedureCodeSequence", vr, b"\x01\x00") for vr in ("OB", "US")),
    ("IssuerOfAccessionNumberSequence", "UN", b"hello "),
    ("DeidentificationMethodCodeSequence", "UN", b"hello "),
    ("IssuerOfPatientIDQualifiersSequence", "UN", b"hello "),
    ("SpecificCharacterSet", "CS", b"utf_16"),
    ("SpecificCharacterSet", "CS", b"rot13 "),
    ("SpecificCharacterSet", "UN", b"\x00\x01"),
    ("SpecificCharacterSet", "US", b"\x01\x00\x02"),
    ("PatientID", "OB", b"\x00\x01"),
    ("PatientName", "SQ", b""),
    ("PatientID", "LO", b"x" * 70_000),
]


def tag_of(keyword: str) -> BaseTag:
    return BaseTag(tag_for_keyword(keyword) or 0)


def raw(keyword: str, vr: str | None, value: bytes, *, implicit=False, little=True, undefined=False):
    length = 0xFFFFFFFF if undefined else len(value)
    return RawDataElement(tag_of(keyword), vr, length, value, 0, implicit, little)


def put(header: Dataset, element: DataElement | RawDataElement) -> None:
    header._dict[element.tag] = element


def with_bytes(sources: list[Dataset], keyword: str, value: bytes) -> list[Dataset]:
    tag = tag_of(keyword)
    for source in sources:
        source[tag] = RawDataElement(tag, source[tag].VR, len(value), value, 0, False, True)
    return sources
