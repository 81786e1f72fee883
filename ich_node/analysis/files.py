"""Opens received files: headers of many, pixels of one. Reads the disk; writes nothing."""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from ich_node.core.instances import InstanceFacts
from ich_node.dicom.headers import instance_facts
from ich_node.dicom.values import ODD_VALUE, quietly, text
from ich_node.errors import UnreadableInstance
from ich_node.vocabulary import Reason

_DIRECTORY_CLASS = "1.2.840.10008.1.3.10"  # DICOMDIR: an index of a medium, no instance
_UNPARSEABLE = (*ODD_VALUE, EOFError, MemoryError, zlib.error)
# a bare data set starts with file meta or with identification; both low-numbered groups (PS3.10 7.1)
_FIRST_GROUPS = (0x0002, 0x0008)
_LAST_FIRST_ELEMENT = 0x0100
_META_START = 132  # after preamble and DICM comes the group length of the file meta, 12 bytes
_LONGEST_META = 1 << 16
_PIECE, _MOST_INFLATED = 1 << 20, 1 << 28


@dataclass(frozen=True, kw_only=True)
class FoundInstance:
    """One readable file and what its header says."""

    path: Path
    facts: InstanceFacts


@dataclass(frozen=True, kw_only=True)
class UnreadableFile:
    """One file that belongs to no study, and why."""

    path: Path
    reason: Reason


@dataclass(frozen=True, kw_only=True)
class Headers:
    """What a set of files holds."""

    instances: tuple[FoundInstance, ...]
    unreadable: tuple[UnreadableFile, ...]


def read_headers(paths: Iterable[Path]) -> Headers:
    """Read the header of every file, in the order of their names; no pixel is touched."""
    instances: list[FoundInstance] = []
    unreadable: list[UnreadableFile] = []
    for path in sorted(paths):
        try:
            facts = instance_facts(read_file(path, pixels=False))
        except UnreadableInstance as fault:
            unreadable.append(UnreadableFile(path=path, reason=fault.reason))
        else:
            instances.append(FoundInstance(path=path, facts=facts))
    return Headers(instances=tuple(instances), unreadable=tuple(unreadable))


def read_file(path: Path, *, pixels: bool) -> Dataset:
    """Read one file as a data set, also one without preamble; raises UnreadableInstance(NOT_DICOM)."""
    try:
        with quietly():
            dataset = _parsed(path, pixels=pixels)
    except _UNPARSEABLE as fault:
        raise UnreadableInstance(Reason.NOT_DICOM) from fault
    with quietly():
        media = text(getattr(dataset, "file_meta", None) or Dataset(), "MediaStorageSOPClassUID")
    if media == _DIRECTORY_CLASS or not len(dataset):
        raise UnreadableInstance(Reason.NOT_DICOM)
    return dataset


def _parsed(path: Path, *, pixels: bool) -> Dataset:
    if _inflates_too_far(path):
        raise UnreadableInstance(Reason.NOT_DICOM)
    try:
        return dcmread(path, stop_before_pixels=not pixels)
    except InvalidDicomError:
        if not _starts_a_data_set(path):
            raise UnreadableInstance(Reason.NOT_DICOM) from None
        return dcmread(path, stop_before_pixels=not pixels, force=True)


def _inflates_too_far(path: Path) -> bool:
    """Say whether a deflated data set (PS3.5 A.5) would fill memory; pydicom inflates it at one go."""
    with path.open("rb") as file:
        head = file.read(_META_START + 12)
        if head[128:132] != b"DICM" or head[_META_START : _META_START + 4] != b"\x02\0\0\0":
            return False
        meta = file.read(min(int.from_bytes(head[-4:], "little"), _LONGEST_META))
        if b"1.2.840.10008.1.2.1.99" not in meta:
            return False
        inflater, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while packed := inflater.unconsumed_tail or file.read(_PIECE):
            total += len(inflater.decompress(packed, _PIECE))
            if total > _MOST_INFLATED:
                return True
    return False


def _starts_a_data_set(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(4)
    tags = [(int.from_bytes(start[:2], "little"), int.from_bytes(start[2:], "little"))]
    tags.append((int.from_bytes(start[:2], "big"), int.from_bytes(start[2:], "big")))
    return len(start) == 4 and any(
        group in _FIRST_GROUPS and element <= _LAST_FIRST_ELEMENT for group, element in tags
    )
