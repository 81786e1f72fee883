"""What the fuzzer begins with: files that the test suite builds, and small ones of the shared data."""

import random
import struct
from collections.abc import Iterator
from functools import cache
from io import BytesIO
from pathlib import Path

from builders import ct_series
from fuzz.elements import VRS, File, elements_of
from fuzz.mutations import ODD_VALUES, TAGS
from multiframe import enhanced
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian
from series_table import KEY_OBJECT, again, coronal, scout, sheet, thin

LARGEST = 1 << 16
SHARED = Path(__file__).parents[3] / "shared" / "data" / "dicom"
DRAWS, LONGEST_DRAW = 32, 512
JPEG = b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc3\x00\x0b\x10\x00\x10\x00\x10\x01\x01\x11\x00\xff\xda\xff\xd9"
J2K = b"\xff\x4f\xff\x51\x00\x29\x00\x00" + b"\0\0\0\x10" * 2 + bytes(24) + b"\0\x01\x0f\x01\x01"
JP2 = b"\x00\x00\x00\x0cjP  \r\n\x87\n" + J2K


def head() -> list[Dataset]:
    """Six small slices of a head."""
    return ct_series(slices=6, spacing_mm=12.0, rows=24, columns=24)


@cache
def series() -> tuple[tuple[File, ...], ...]:
    """Series to mutate: single images, one multi-frame object, twins, two passes and an image twice."""
    bone = ct_series(slices=4, spacing_mm=12.0, rows=24, columns=24, series_number=3, kernel="H60s")
    later = again(head()[:4], AcquisitionNumber=2, AcquisitionTime="235900")
    studies = (head(), [enhanced(head())], head()[:4] + bone, head()[:4] + later + head()[2:3])
    return tuple(tuple(map(elements_of, images)) for images in studies)


def headers() -> Iterator[bytes]:
    """Whole files, in each of the syntaxes that leave pixels alone, with and without a preamble."""
    for image in (head()[0], enhanced(head()), coronal(4)[0], scout()[0], _rejection(), thin()[0]):
        plain = _written(image)
        yield plain
        yield plain[plain.index(b"\x08\x00") :]
    for syntax in (ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian):
        image = head()[0]
        image.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            image["PixelData"].VR = "OW"
        yield _written(image)
    yield from _shared()


def _rejection() -> Dataset:
    """A note that rejects an instance (IOCM)."""
    note = sheet(9, sop_class=KEY_OBJECT, modality="KO")[0]
    title, instance, of_series, of_study = Dataset(), Dataset(), Dataset(), Dataset()
    title.CodeValue = "113001"
    instance.ReferencedSOPInstanceUID = note.SOPInstanceUID
    of_series.ReferencedSOPSequence = [instance]
    of_study.ReferencedSeriesSequence = [of_series]
    note.ConceptNameCodeSequence = [title]
    note.CurrentRequestedProcedureEvidenceSequence = [of_study]
    return note


def _written(dataset: Dataset) -> bytes:
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _shared() -> Iterator[bytes]:
    for path in sorted(SHARED.rglob("*")):
        if path.is_file() and path.suffix not in (".md", ".tsv") and path.stat().st_size < LARGEST:
            yield path.read_bytes()


def draws(seed: int) -> Iterator[bytes]:
    """Bytes to draw changes from; none of them at all is the series as it was built."""
    chance = random.Random(seed)
    yield b""
    for _ in range(DRAWS):
        yield chance.randbytes(chance.randint(8, LONGEST_DRAW))


def codestreams() -> Iterator[bytes]:
    """Beginnings of compressed frames."""
    yield from (JPEG, J2K, JP2)


def write(contents: Iterator[bytes], folder: Path) -> None:
    """Write each seed as a file of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(contents):
        (folder / f"{number:04d}").write_bytes(content)


def dictionary() -> str:
    """Tags, value representations and values for the mutations of whole files, as libFuzzer reads them."""
    tags = (struct.pack("<HH", tag >> 16, tag & 0xFFFF) for tag in TAGS)
    return "".join(f'"{_escaped(word)}"\n' for word in (*tags, *VRS, *ODD_VALUES) if word)


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)
