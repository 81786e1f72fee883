"""Copies elements of foreign headers into ours: byte for byte where they fit, else not at all."""

from collections.abc import Iterable
from copy import deepcopy
from typing import cast

from pydicom.charset import convert_encodings, default_encoding
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.tag import BaseTag
from pydicom.valuerep import STR_VR

from ich_node.dicom.values import ODD_VALUE, items

Element = DataElement | RawDataElement
Encodings = str | list[str]

_CHARSET = "SpecificCharacterSet"
_PRINTABLE = "".join(map(chr, range(0x20, 0x7E))).replace("\\", "")
# a copied code or issuer nests three levels (PS3.3 table 10-18); what nests deeper is no such thing
_DEEPEST = 8
# more does not fit the 16-bit length of Explicit VR (PS3.5 7.1.2)
_LONGEST = 0xFFFE


def select(source: Dataset, keywords: Iterable[str]) -> Dataset:
    """Return a header of these elements alone, still undecoded, so that reading it changes no `source`."""
    selected = Dataset()
    implicit, little = source.original_encoding
    selected.set_original_encoding(implicit, little, source.original_character_set)
    for tag in map(_tag, keywords):
        if tag not in source:
            continue
        try:
            element = source.get_item(tag)
            # the items of a sequence are decoded in place as they are read
            selected[tag] = deepcopy(element) if element.VR == "SQ" else element
        except ODD_VALUE:
            continue
    return selected


def encodings_of(source: Dataset) -> Encodings:
    """Return pydicom's encodings of the source's character set, the default where it is unusable."""
    return _charset(source, default_encoding)[1]


def adopt_charset(source: Dataset, target: Dataset, inherited: Encodings = default_encoding) -> None:
    """Give the target the source's character set, or none where it cannot be one.

    `target` counts as read in it: pydicom then writes the undecoded values as they are.
    """
    element, encodings = _charset(source, inherited)
    target.pop(_CHARSET, None)
    if element is not None:
        target[element.tag] = element
    target.set_original_encoding(False, True, encodings)


def new_item(source: Dataset, inherited: Encodings) -> Dataset:
    """Begin an item for elements of `source`, within a data set of the `inherited` encodings."""
    item = Dataset(parent_encoding=inherited)
    adopt_charset(source, item, inherited)
    return item


def copy_elements(source: Dataset, target: Dataset, keywords: Iterable[str]) -> None:
    """Copy texts and sequences of texts to a target that has its character set; leave out what is neither."""
    _copy(source, target, keywords, depth=0)


def _copy(source: Dataset, target: Dataset, keywords: Iterable[str], *, depth: int) -> None:
    for keyword in keywords:
        encodings = cast(Encodings, target.original_character_set)
        element = _copied(source, keyword, encodings, depth=depth)
        if element is not None:
            target[element.tag] = element


def _copied(source: Dataset, keyword: str, encodings: Encodings, *, depth: int) -> Element | None:
    tag = _tag(keyword)
    vr = dictionary_VR(tag)
    if tag not in source or vr not in ("SQ", *STR_VR):
        return None
    try:
        if vr == "SQ":
            return _sequence(source, keyword, encodings, depth=depth)
        element = cast(Element, source.get_item(tag))
        if isinstance(element, RawDataElement):
            return _undecoded(element, vr)
        return _decoded(element, vr, encodings)
    except ODD_VALUE:
        return None


def _undecoded(element: RawDataElement, vr: str) -> RawDataElement | None:
    told: str | None = element.VR  # none in Implicit VR
    if told not in (None, "UN", *STR_VR):
        return None
    value = element.value or b""
    value += (b"\0" if vr == "UI" else b" ") * (len(value) % 2)
    if len(value) > _LONGEST:
        return None
    return element._replace(
        VR=vr, length=len(value), value=value, is_implicit_VR=False, is_little_endian=True
    )


def _decoded(element: DataElement, vr: str, encodings: Encodings) -> DataElement | None:
    if element.VR not in STR_VR:
        return None
    made = DataElement(element.tag, vr, deepcopy(element.value))
    trial = DicomBytesIO()
    trial.is_implicit_VR, trial.is_little_endian = False, True
    write_data_element(trial, made, encodings)
    return made if len(trial.getvalue()) <= _LONGEST else None


def _sequence(source: Dataset, keyword: str, encodings: Encodings, *, depth: int) -> DataElement | None:
    if depth == _DEEPEST:
        return None
    made = []
    for item in items(source, keyword):
        copied = new_item(item, encodings)
        held = [keyword_for_tag(tag) for tag in item.keys()]  # noqa: SIM118  a data set iterates its elements
        _copy(item, copied, [name for name in held if name not in ("", _CHARSET)], depth=depth + 1)
        if copied:
            made.append(copied)
    return DataElement(_tag(keyword), "SQ", made) if made else None


def _charset(source: Dataset, inherited: Encodings) -> tuple[Element | None, Encodings]:
    """The element as it stands, and its encodings; what would not even keep ASCII is no character set."""
    element = _copied(source, _CHARSET, default_encoding, depth=0)
    if element is None:
        return None, inherited
    probe = Dataset()
    probe[element.tag] = element
    try:
        encodings = convert_encodings(probe[element.tag].value)
        ascii_is_kept = all(_PRINTABLE.encode(name) == _PRINTABLE.encode("ascii") for name in encodings)
    except ODD_VALUE:
        return None, inherited
    return (element, encodings) if ascii_is_kept else (None, inherited)


def _tag(keyword: str) -> BaseTag:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise ValueError(f"{keyword} is no keyword of the DICOM dictionary")
    return BaseTag(tag)
