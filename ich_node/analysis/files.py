"""Opens received files: headers of many, pixels of one. Reads the disk; writes nothing."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from ich_node.core.instances import InstanceFacts
from ich_node.dicom.bounds import BoundedFile
from ich_node.dicom.headers import instance_facts
from ich_node.dicom.part10 import PARSE_ERRORS
from ich_node.dicom.values import quietly, text
from ich_node.errors import AnalysisFailed, UnreadableInstance
from ich_node.vocabulary import Reason

_DIRECTORY_CLASS = "1.2.840.10008.1.3.10"  # DICOMDIR: an index of a medium, no instance
_UNPARSEABLE = (*PARSE_ERRORS, MemoryError)
# a bare data set starts with file meta or with identification; both low-numbered groups (PS3.10 7.1)
_FIRST_GROUPS = (0x0002, 0x0008)
_LAST_FIRST_ELEMENT = 0x0100
_MOST_INFLATED = 1 << 28
_FILE_META = 100  # elements


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


def read_headers(paths: Iterable[Path], *, lenient: bool = False) -> Headers:
    """Read the header of every file, in the order of their names; no pixel is touched.

    Raises AnalysisFailed where the disk does not give a file, unless `lenient`: then it is one of the
    unreadable.
    """
    instances: list[FoundInstance] = []
    unreadable: list[UnreadableFile] = []
    for path in sorted(paths):
        try:
            facts = instance_facts(read_file(path, pixels=False))
        except UnreadableInstance as fault:
            unreadable.append(UnreadableFile(path=path, reason=fault.reason))
        except AnalysisFailed:
            if not lenient:
                raise
            unreadable.append(UnreadableFile(path=path, reason=Reason.NOT_DICOM))
        else:
            instances.append(FoundInstance(path=path, facts=facts))
    return Headers(instances=tuple(instances), unreadable=tuple(unreadable))


def read_file(path: Path, *, pixels: bool) -> Dataset:
    """Read one file as a data set, also one without preamble.

    Raises UnreadableInstance(NOT_DICOM), and AnalysisFailed where the disk does not give what is there.
    """
    try:
        with quietly():
            dataset = _parsed(path, pixels=pixels)
    except _UNPARSEABLE as fault:
        if isinstance(fault, OSError) and fault.errno is not None:  # pydicom's own have no number
            raise AnalysisFailed(f"a file cannot be read: {fault.strerror}") from fault
        raise UnreadableInstance(Reason.NOT_DICOM) from fault
    with quietly():
        media = text(getattr(dataset, "file_meta", None) or Dataset(), "MediaStorageSOPClassUID")
    if media == _DIRECTORY_CLASS or not len(dataset):
        raise UnreadableInstance(Reason.NOT_DICOM)
    return dataset


def _parsed(path: Path, *, pixels: bool) -> Dataset:
    with path.open("rb") as file:
        bounded = BoundedFile(file, inflated=_MOST_INFLATED, spare=_FILE_META)
        try:
            dataset = dcmread(bounded, stop_before_pixels=not pixels)
        except InvalidDicomError:
            if not _starts_a_data_set(path):
                raise UnreadableInstance(Reason.NOT_DICOM) from None
            file.seek(0)
            dataset = dcmread(bounded, stop_before_pixels=not pixels, force=True)
    dataset.buffer = None  # closed: all that was read is in the data set
    return dataset


def _starts_a_data_set(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(4)
    tags = [(int.from_bytes(start[:2], "little"), int.from_bytes(start[2:], "little"))]
    tags.append((int.from_bytes(start[:2], "big"), int.from_bytes(start[2:], "big")))
    return len(start) == 4 and any(
        group in _FIRST_GROUPS and element <= _LAST_FIRST_ELEMENT for group, element in tags
    )
