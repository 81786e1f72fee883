"""Reads single values of a data set tolerantly: odd content becomes nothing, never an exception."""

import math
import re
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta, timezone
from functools import cache
from typing import cast

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.tag import BaseTag, Tag

from ich_node.dicom.bounds import is_endless, open_sequence

_SEQUENCE_VRS = (None, "SQ")  # none in Implicit VR

# values of ASCII letters: no escape changes them
_ASCII_AND_MORE = (
    "iso8859",
    ["iso8859"],
    ["latin_1"],
    ["UTF8"],
)  # pydicom's for none, ISO_IR 100, ISO_IR 192
_LETTERS = rb"[ -\[\]-~]*"
_DECIMAL = rb" *[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)? *"
_ONE_TEXT = re.compile(_LETTERS + rb"\0?")
_CODES = re.compile(rb"[A-Z0-9_ ]*(?:\\[A-Z0-9_ ]*)*\0?")
_DECIMALS = re.compile(_DECIMAL + rb"(?:\\" + _DECIMAL + rb")*\0?")
_WHOLE = re.compile(rb" *[+-]?\d{1,12} *\0?")
_TIME = re.compile(rb"[\d.:]+ *\0?")
_PLAIN = {"LO": _ONE_TEXT, "SH": _ONE_TEXT, "UI": _ONE_TEXT, "CS": _CODES, "DS": _DECIMALS, "IS": _WHOLE}
_PLAIN |= {"DA": _TIME, "TM": _TIME}
_OF_ANY_CHARACTER_SET = ("LO", "SH")  # of the others none is changed by it
_LONGEST_PLAIN = 96  # the six cosines of an orientation

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


@cache
def _tag(keyword: str) -> BaseTag:
    return Tag(keyword)


def _found(dataset: Dataset, keyword: str) -> DataElement | RawDataElement | None:
    """Return what the data set holds, converted or not."""
    # by pydicom's types it is never a raw one
    return cast("DataElement | RawDataElement | None", dataset.get_item(_tag(keyword), keep_deferred=True))


def _value(dataset: Dataset, keyword: str) -> object:
    found = element(dataset, keyword)
    return None if found is None else found.value


def element(dataset: Dataset, keyword: str) -> DataElement | None:
    """Return an element as it is, None where it is absent, endless or cannot be converted."""
    try:
        found = _found(dataset, keyword)
        if not isinstance(found, RawDataElement):
            return found
        return None if is_endless(found) else dataset[found.tag]
    except ODD_VALUE:
        return None


# what a report says about the patient and the order: mended at the source, it needs a new report
IDENTITY = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID")


def texts(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """Read all values of an element as text, without padding; bytes and items of sequences are no text.

    Whatever comes back can be written as UTF-8.
    """
    found = _found(dataset, keyword)
    if found is None:
        return ()
    if isinstance(found, RawDataElement) and (plain := _plain_texts(found, dataset)) is not None:
        return plain
    value = _value(dataset, keyword)
    if value is None:
        return ()
    values = value if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) else [value]
    try:
        written = [str(one).strip(" \0") for one in values if not isinstance(one, (bytes, Dataset))]
    except ODD_VALUE:
        return ()
    return tuple(_SURROGATE.sub("\ufffd", one) for one in written)


def _plain_texts(raw: RawDataElement, dataset: Dataset) -> tuple[str, ...] | None:
    """Read values of letters that need no decoding; None where there is anything else.

    Most are like that, and pydicom takes ten times as long to convert and check them.
    """
    if not raw.value or len(raw.value) > _LONGEST_PLAIN:
        return None
    vr = raw.VR or dictionary_VR(raw.tag)
    pattern = _PLAIN.get(vr)
    # of a text the character set may be whatever codec of Python's a header names
    if vr in _OF_ANY_CHARACTER_SET and dataset.original_character_set not in _ASCII_AND_MORE:
        return None
    if pattern is None or not pattern.fullmatch(raw.value):
        return None
    return tuple(one.strip(" \0") for one in raw.value.decode("ascii").split("\\"))


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
        found = _found(dataset, keyword)
        if isinstance(found, RawDataElement) and found.VR in _SEQUENCE_VRS:
            value: object = open_sequence(found, dataset)
        else:
            value = _value(dataset, keyword)
    except ODD_VALUE:
        return []
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        return []
    return [item for item in value if isinstance(item, Dataset)]
