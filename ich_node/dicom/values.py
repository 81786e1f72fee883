"""Reads single values of a data set tolerantly: odd content becomes nothing, never an exception."""

import math
import re
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta, timezone
from typing import cast

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException

from ich_node.dicom.bounds import is_endless, open_sequence

_SEQUENCE_VRS = (None, "SQ")  # none in Implicit VR

# one value of ASCII letters: no backslash parts it, no escape changes its letters
_PLAIN_VRS = ("LO", "SH")
_ASCII_AND_MORE = (
    "iso8859",
    ["iso8859"],
    ["latin_1"],
    ["UTF8"],
)  # pydicom's for none, ISO_IR 100, ISO_IR 192
_PLAIN = re.compile(rb"[ -\[\]-~]*\0?")
_LONGEST_PLAIN = 64

# half a character: pydicom decodes by whatever codec of Python's a header names, and some let these through
_SURROGATE = re.compile("[\ud800-\udfff]")

# what pydicom raises when it converts the bytes of an odd element
ODD_VALUE = (
    AttributeError,
    BytesLengthException,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)


@contextmanager
def quietly() -> Iterator[None]:
    """Silence pydicom's warnings about odd values: we judge them ourselves."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _value(dataset: Dataset, keyword: str) -> object:
    found = element(dataset, keyword)
    return None if found is None else found.value


def element(dataset: Dataset, keyword: str) -> DataElement | None:
    """Return an element as it is, None where it is absent, endless or cannot be converted."""
    if keyword not in dataset:
        return None
    try:
        raw = _undecoded(dataset, keyword)
        return None if raw is not None and is_endless(raw) else dataset[keyword]
    except ODD_VALUE:
        return None


def _undecoded(dataset: Dataset, keyword: str) -> RawDataElement | None:
    # by pydicom's types it is never a raw one
    found = cast("object", dataset.get_item(keyword, keep_deferred=True))
    return found if isinstance(found, RawDataElement) else None


# what a report says about the patient and the order: mended at the source, it needs a new report
IDENTITY = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID")


def texts(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """Read all values of an element as text, without padding; bytes and items of sequences are no text.

    Whatever comes back can be written as UTF-8.
    """
    if (plain := _plain_text(dataset, keyword)) is not None:
        return (plain,)
    value = _value(dataset, keyword)
    if value is None:
        return ()
    values = value if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) else [value]
    try:
        found = [str(one).strip(" \0") for one in values if not isinstance(one, (bytes, Dataset))]
    except ODD_VALUE:
        return ()
    return tuple(_SURROGATE.sub("\ufffd", one) for one in found)


def _plain_text(dataset: Dataset, keyword: str) -> str | None:
    """Read one value of letters that need no decoding; None where it is anything else.

    Most are like that, and pydicom takes ten times as long to convert and check them.
    """
    raw = _undecoded(dataset, keyword) if keyword in dataset else None
    if raw is None or not raw.value or len(raw.value) > _LONGEST_PLAIN:
        return None
    vr = raw.VR or dictionary_VR(raw.tag)
    # a UID has no character set; of the others it may be whatever codec of Python's a header names
    plain = vr == "UI" or (vr in _PLAIN_VRS and dataset.original_character_set in _ASCII_AND_MORE)
    return raw.value.decode("ascii").strip(" \0") if plain and _PLAIN.fullmatch(raw.value) else None


def text(dataset: Dataset, keyword: str) -> str:
    """Read a text of one value; several stay joined by a backslash, as they are written."""
    return "\\".join(texts(dataset, keyword))


def first_text(dataset: Dataset, keyword: str) -> str:
    """Read the first of several values."""
    return next(iter(texts(dataset, keyword)), "")


def decimals(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    """Read the values that are finite numbers, and leave out the others."""
    found = []
    for written in texts(dataset, keyword):
        try:
            found.append(float(written))
        except ValueError:
            continue
    return tuple(number for number in found if math.isfinite(number))


def numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """Read an element of exactly `count` finite numbers, None for anything else."""
    values = decimals(dataset, keyword)
    return values if len(values) == count == len(texts(dataset, keyword)) else None


def number(dataset: Dataset, keyword: str) -> float | None:
    """Read one finite number."""
    values = numbers(dataset, keyword, 1)
    return values[0] if values else None


def positive(dataset: Dataset, keyword: str) -> float | None:
    """Read one finite number above zero."""
    value = number(dataset, keyword)
    return value if value is not None and value > 0 else None


def whole(dataset: Dataset, keyword: str) -> int | None:
    """Read one whole number that a 64-bit column holds."""
    value = number(dataset, keyword)
    return int(value) if value is not None and abs(value) < 2**53 else None


def day(dataset: Dataset, keyword: str) -> date | None:
    """Read the date of a DA or DT element, also in the old form with dots."""
    digits = re.match(r"(\d{4})\.?(\d{2})\.?(\d{2})", text(dataset, keyword))
    try:
        return date(int(digits[1]), int(digits[2]), int(digits[3])) if digits else None
    except ValueError:
        return None


def zone(dataset: Dataset) -> timezone | None:
    """Read TimezoneOffsetFromUTC; None where it is absent or outside what PS3.3 C.12.1.1.8 allows."""
    offset = re.fullmatch(r"([+-])(\d\d)([0-5]\d)", text(dataset, "TimezoneOffsetFromUTC"))
    if offset is None:
        return None
    sign, hours, minutes = offset.groups()
    distance = timedelta(hours=int(hours), minutes=int(minutes))
    if distance > timedelta(hours=14):
        return None
    return timezone(distance if sign == "+" else -distance)


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """List the items of a sequence, none where it is absent, no sequence, or takes too much.

    One still undecoded stays so: else the sequences within a thousand items would fill memory together.
    """
    try:
        raw = _undecoded(dataset, keyword)
        is_sequence = raw is not None and raw.VR in _SEQUENCE_VRS
        value = open_sequence(raw, dataset) if raw is not None and is_sequence else _value(dataset, keyword)
    except ODD_VALUE:
        return []
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        return []
    return [item for item in value if isinstance(item, Dataset)]
