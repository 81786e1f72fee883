"""Draws out of the fuzzer's bytes what is wrong with a series: which elements of which files, and how."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from fuzz.elements import UNDEFINED, VRS, Element, File, file_of, items, nested, tag_of


class Provider(Protocol):
    """What of `atheris.FuzzedDataProvider` is used here."""

    def ConsumeBool(self) -> bool: ...  # noqa: N802
    def ConsumeBytes(self, count: int) -> bytes: ...  # noqa: N802
    def ConsumeFloat(self) -> float: ...  # noqa: N802
    def ConsumeFloatInRange(self, low: float, high: float) -> float: ...  # noqa: N802
    def ConsumeIntInRange(self, low: int, high: int) -> int: ...  # noqa: N802
    def PickValueInList(self, values: list[Any]) -> Any: ...  # noqa: N802


@dataclass(frozen=True, kw_only=True)
class Mutated:
    """The files of a series after the changes, and the changes in words."""

    files: tuple[bytes, ...]
    changes: tuple[str, ...]


MOST_CHANGES = 8
PIECES = [2, 20, 200, 5_000]
LONGEST, DEEPEST = 60_000, 600  # bytes of a value, sequences within each other
# what the node reads, and what decides how pydicom reads it
KEYWORDS = (
    *("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "TransferSyntaxUID"),
    *("SpecificCharacterSet", "Modality", "SeriesNumber", "InstanceNumber", "SeriesDescription"),
    *("StudyDescription", "ProtocolName", "ImageType", "BodyPartExamined", "ConvolutionKernel"),
    *("ContrastBolusAgent", "ContrastBolusAgentSequence", "SliceThickness", "PatientAge", "PatientID"),
    *("PatientName", "PatientBirthDate", "StudyDate", "Rows", "Columns", "NumberOfFrames"),
    *("SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID"),
    *("AcquisitionNumber", "AcquisitionDateTime", "AcquisitionDate", "AcquisitionTime"),
    *("IrradiationEventUID", "LossyImageCompression", "LossyImageCompressionRatio", "RescaleIntercept"),
    *("RescaleSlope", "PixelPaddingValue", "PixelPaddingRangeLimit", "PhotometricInterpretation"),
    *("PixelData", "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"),
    *("PlanePositionSequence", "PixelMeasuresSequence", "ConceptNameCodeSequence", "Manufacturer"),
    *("CurrentRequestedProcedureEvidenceSequence", "AccessionNumber", "FileMetaInformationGroupLength"),
)
TAGS = [tag_of(keyword) for keyword in KEYWORDS]
NAMES = dict(zip(TAGS, KEYWORDS, strict=True))
SEQUENCES = [tag for tag, keyword in NAMES.items() if keyword.endswith("Sequence")]
PLACES = [
    tag_of(keyword)
    for keyword in (
        *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"),
        *("RescaleSlope", "RescaleIntercept", "PixelPaddingValue"),
        *("AcquisitionTime", "AcquisitionNumber", "InstanceNumber"),
    )
]
ODD_VALUES = [
    *(b"", b" ", b"\0\0", b"nan", b"inf", b"-inf", b"0", b"-0", b"-1", b"1e308", b"-1e308", b"1e-308"),
    *(b"5e-324", b"1e400", b"1e20", b"-1e20", b"1e-7", b"9007199254740993", b"99999999999999999999"),
    *(b"1_000", b"0x10", b"1,5", b"\\", b"\\\\\\", b"1\\nan\\3", b"0\\0", b"1\\1", b"1\\2\\3", b"0\\0\\0"),
    *(b"1e308\\1e308\\1e308", b"-1e308\\1e308\\5", b"1e-320\\1e-320", b"0.1\\1e300", b"1\\0\\0\\0\\1\\0"),
    *(b"0\\0\\0\\0\\0\\0", b"0\\1\\0\\0\\0\\-1", b"1\\0\\0\\1\\0\\0", b"\xd9\xa3\xd9\xa4", b"\xff\xfe\xfd"),
    *(b"\\u0d800", b"\\ud800", b"+2AA-", b"\x1b$B\x1b(B", b"20250230", b"00000000", b"99999999"),
    *(b"000Y", b"999D", b"071Y", b"240000", b"12:30:61", b"20250101240000.999999", b"1.2.3", b"1." * 40),
    *(b"ISO_IR 192", b"\\ISO 2022 IR 87", b"unicode_escape", b"raw_unicode_escape", b"utf_7", b"punycode"),
    *(b"idna", b"zlib", b"GB18030", b"ISO 2022 IR 149\\ISO_IR 100", b"CT", b"KO", b"LOCALIZER", b"BONE"),
    *(b"ORIGINAL\\PRIMARY\\LOCALIZER", b"DERIVED\\SECONDARY\\MPR", b"01", b"\x01\0", b"\0\x80", b"\xff\xff"),
    *(b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.1.99"),
    *(b"1.2.840.10008.1.2.5", b"1.2.840.10008.1.2.4.70", b"1.2.840.10008.5.1.4.1.1.7"),
    b"1.2.840.10008.1.3.10",
]  # fmt: skip


def mutate(series: Sequence[File], provider: Provider) -> Mutated:
    """Change a few elements of a few files, and write the files."""
    files = [dict(file) for file in series]
    told = [_change(files, provider) for _ in range(provider.ConsumeIntInRange(0, MOST_CHANGES))]
    implicit = provider.ConsumeIntInRange(0, 9) == 9
    contents = [file_of(file.values(), implicit=implicit) for file in files]
    if provider.ConsumeIntInRange(0, 15) == 15:
        place = provider.ConsumeIntInRange(0, len(files) - 1)
        contents[place] = contents[place][: provider.ConsumeIntInRange(0, len(contents[place]))]
        told.append(f"file {place}: cut to {len(contents[place])} bytes")
    told += ["all files: Implicit VR"] * implicit
    return Mutated(files=tuple(contents), changes=tuple(told))


def _change(files: list[File], provider: Provider) -> str:
    """Change one element, in one file or in all of them; tell what was done."""
    tag = provider.PickValueInList(TAGS)
    way = provider.PickValueInList(_WAYS)
    place = provider.ConsumeIntInRange(-1, len(files) - 1)  # -1: all of them
    other = provider.PickValueInList(files)
    before = files[max(place, 0)].get(tag) or Element(tag=tag, vr=b"LO", value=b"")
    made = way(before, other, provider)
    for file in files if place < 0 else [files[place]]:
        file.pop(tag, None)
        if made is not None:
            file[tag] = replace(made, value=made.value[:LONGEST])
    where = "all files" if place < 0 else f"file {place}"
    return f"{where}: {NAMES[tag]} {_told(made)}"


def _told(made: Element | None) -> str:
    if made is None:
        return "left out"
    size = f" ({len(made.value)} bytes)" if len(made.value) > 80 else ""
    lie = "" if made.length is None else f", says it has {made.length} bytes"
    return f"{made.vr.decode()} {made.value[:80]!r}{size}{lie}"


def _away(before: Element, other: File, provider: Provider) -> None:
    """Nothing at all."""


def _odd(before: Element, other: File, provider: Provider) -> Element:
    return replace(before, value=provider.PickValueInList(ODD_VALUES))


def _numbers(before: Element, other: File, provider: Provider) -> Element:
    draw = (
        provider.ConsumeFloat if provider.ConsumeBool() else lambda: provider.ConsumeFloatInRange(-400, 400)
    )
    written = (f"{draw():.12g}".encode() for _ in range(provider.ConsumeIntInRange(1, 7)))
    return replace(before, value=b"\\".join(written))


def _bytes(before: Element, other: File, provider: Provider) -> Element:
    return replace(before, value=provider.ConsumeBytes(provider.ConsumeIntInRange(0, 64)))


def _huge(before: Element, other: File, provider: Provider) -> Element:
    piece = provider.PickValueInList([b"1\\", b"9", b"\\", b"1.5e3\\", b"A", b"\xff", b" ", b"1.", b"\x1b"])
    return replace(before, value=piece * provider.PickValueInList(PIECES))


def _another_vr(before: Element, other: File, provider: Provider) -> Element:
    return replace(before, vr=provider.PickValueInList(list(VRS)))


def _nested(before: Element, other: File, provider: Provider) -> Element:
    """A sequence deep within itself, under a tag that may be no sequence at all."""
    inner = [other[tag] for tag in PLACES if tag in other and provider.ConsumeBool()]
    depth = provider.ConsumeIntInRange(0, DEEPEST)
    value = nested(inner, provider.PickValueInList(SEQUENCES), depth)
    closed = provider.ConsumeBool()
    return replace(before, vr=b"SQ", value=value, length=None if closed else UNDEFINED)


def _items(before: Element, other: File, provider: Provider) -> Element:
    """A sequence of items, each with sequences or with places of images."""
    contents = []
    for _ in range(provider.ConsumeIntInRange(0, 8)):
        inner = [other[tag] for tag in PLACES if tag in other and provider.ConsumeBool()]
        macro = provider.PickValueInList(SEQUENCES)
        contents.append(
            [Element(tag=macro, vr=b"SQ", value=items([inner]))] if provider.ConsumeBool() else inner
        )
    return replace(before, vr=b"SQ", value=items(contents))


def _borrowed(before: Element, other: File, provider: Provider) -> Element:
    """The value that another file has, or that another attribute has."""
    tag = before.tag if provider.ConsumeBool() else provider.PickValueInList(TAGS)
    return replace(before, value=other[tag].value) if tag in other else before


def _lying(before: Element, other: File, provider: Provider) -> Element:
    """A length that is not the value's."""
    return replace(
        before, length=provider.PickValueInList([0, 1, 2, 3, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, UNDEFINED])
    )


def _again(before: Element, other: File, provider: Provider) -> Element:
    """The value several times."""
    return replace(before, value=b"\\".join([before.value] * provider.ConsumeIntInRange(2, 9)))


# drawn from no bytes at all the first one leaves everything as it is
_WAYS: list[Callable[[Element, File, Provider], Element | None]] = [
    *(_borrowed, _borrowed, _away, _odd, _odd, _odd, _numbers, _numbers, _bytes, _huge),
    *(_another_vr, _nested, _items, _lying, _again),
]
