"""Heads whose pixel data announces, decodes to, or lost too much, in each family of codecs."""

import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from builders import ct_series, write_files
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    UID,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)
from sweep.built import Built, built

HUGE = 65535
TOO_LARGE, UNDECODABLE, LOSSY = "declined TOO_LARGE", "declined UNDECODABLE", "declined LOSSY"

Patch = Callable[[bytes], bytes]


def hostile_pixels(first_seed: int) -> Iterator[Built]:
    """Make one study of each kind; all are heads by their headers."""
    seeds = iter(range(first_seed, first_seed + 1000))
    yield _native(next(seeds))
    for name, (syntax, patch) in _FAMILIES.items():
        yield _by_header(name, next(seeds), syntax)
        if patch is not None:
            yield _by_codestream(name, next(seeds), syntax, patch)
    yield _short_rle(next(seeds))
    yield _bomb(next(seeds))
    yield _tiles(next(seeds))
    yield _components(next(seeds))
    yield _jpeg8(next(seeds))
    yield _jpeg12(next(seeds))


def _native(seed: int) -> Built:
    images = ct_series(seed=seed)
    for image in images:
        image.Rows = image.Columns = HUGE
    return built("65535 x 65535, uncompressed", images, TOO_LARGE)


def _by_header(name: str, seed: int, syntax: UID) -> Built:
    images = _coded(seed, syntax)
    for image in images:
        image.Rows = image.Columns = HUGE
    return built(f"65535 x 65535, {name}", images, TOO_LARGE)


def _by_codestream(name: str, seed: int, syntax: UID, patch: Patch) -> Built:
    images = _coded(seed, syntax)
    for image in images:
        _change(image, patch)
    return built(f"65535 x 65535 within the {name}", images, UNDECODABLE)


def _jpeg_size(frame: bytes) -> bytes:
    """Announce the huge size in the frame header (ISO/IEC 10918-1 B.2.2, ISO/IEC 14495-1 C.2.2)."""
    at = next(frame.index(marker) for marker in (b"\xff\xc3", b"\xff\xf7", b"\xff\xc0") if marker in frame)
    return frame[: at + 5] + struct.pack(">HH", HUGE, HUGE) + frame[at + 9 :]


def _j2k_size(frame: bytes) -> bytes:
    """Announce the huge size for image and tile in the SIZ segment (ISO/IEC 15444-1 A.5.1)."""
    at = frame.index(b"\xff\x51")
    size = struct.pack(">II", HUGE, HUGE)
    return frame[: at + 6] + size + frame[at + 14 : at + 22] + size + frame[at + 30 :]


def _many_tiles(frame: bytes) -> bytes:
    """Cut the image into 65,025 tiles, for each of which a decoder keeps its books."""
    at = frame.index(b"\xff\x51")
    width, height = struct.unpack_from(">II", frame, at + 6)
    tile = struct.pack(">II", -(-width // 255), -(-height // 255))
    return frame[: at + 22] + tile + frame[at + 30 :]


def _many_components(frame: bytes) -> bytes:
    """Announce 16,384 components instead of one (the most that A.5.1 allows)."""
    at = frame.index(b"\xff\x51")
    (length,) = struct.unpack_from(">H", frame, at + 2)
    start, one = frame[at + 4 : at + 38], frame[at + 40 : at + 43]
    siz = struct.pack(">HH", 0xFF51, 38 + 3 * 16_384) + start + struct.pack(">H", 16_384) + one * 16_384
    return frame[:at] + siz + frame[at + 2 + length :]


_FAMILIES: dict[str, tuple[UID, Patch | None]] = {
    "RLE": (RLELossless, None),
    "lossless JPEG": (JPEGLosslessSV1, _jpeg_size),
    "JPEG": (JPEGBaseline8Bit, None),
    "JPEG-LS": (JPEGLSLossless, _jpeg_size),
    "JPEG 2000": (JPEG2000Lossless, _j2k_size),
}


def _short_rle(seed: int) -> Built:
    """Say 2048 x 2048 over the few runs of a small picture."""
    images = _coded(seed, RLELossless)
    for image in images:
        image.Rows = image.Columns = 2048
    return built("2048 x 2048 over a short RLE", images, UNDECODABLE)


def _bomb(seed: int) -> Built:
    """Send 48 slices of a few hundred bytes each that decode to 4 million pixels each."""
    images = ct_series(seed=seed, slices=48, spacing_mm=5.0, rows=16, columns=16, pixels="empty")
    large = ct_series(seed=seed, pixels=np.zeros((1, 2048, 2048), np.int16))[0]
    large.compress(JPEG2000Lossless, generate_instance_uid=False)
    for image in images:
        image.Rows, image.Columns, image.PixelSpacing = 2048, 2048, large.PixelSpacing
        _put(image, JPEG2000Lossless, large.PixelData)
    return built("a JPEG 2000 bomb", images, TOO_LARGE, UNDECODABLE)


def _tiles(seed: int) -> Built:
    images = _coded(seed, JPEG2000Lossless, rows=512)
    for image in images:
        _change(image, _many_tiles)
    return built("JPEG 2000 in 65025 tiles", images, UNDECODABLE, TOO_LARGE, "declined NOT_HU")


def _components(seed: int) -> Built:
    images = _coded(seed, JPEG2000Lossless, rows=512)
    for image in images:
        _change(image, _many_components)
    return built("JPEG 2000 of 16384 components", images, UNDECODABLE, TOO_LARGE)


def _jpeg8(seed: int) -> Built:
    return built("lossy JPEG of 8 bits", _coded(seed, JPEGBaseline8Bit), LOSSY)


def _jpeg12(seed: int) -> Built:
    """Milder loss is read, and the report says so."""
    images = _by_dcmtk(ct_series(seed=seed), "--encode-extended")
    return built("lossy JPEG of 12 bits", images, "positive", "negative", "indeterminate")


def _coded(seed: int, syntax: UID, rows: int = 64) -> list[Dataset]:
    images = ct_series(seed=seed, rows=rows, columns=rows)
    if syntax == JPEGLosslessSV1:
        return _by_dcmtk(images, "--encode-lossless-sv1")
    if syntax == JPEGBaseline8Bit:
        for image in images:
            _to_8_bits(image)
        return _by_dcmtk(images, "--encode-baseline")
    for image in images:
        image.compress(syntax, generate_instance_uid=False)
    return images


def _to_8_bits(image: Dataset) -> None:
    """Keep 8 bits of what is below 1016 HU."""
    stored = np.frombuffer(image.PixelData, "<u2").clip(max=2047) >> 3
    image.PixelData = stored.astype("u1").tobytes()
    image["PixelData"].VR = "OB"
    image.BitsAllocated = image.BitsStored = 8
    image.HighBit = 7
    image.RescaleSlope = "8"


def _by_dcmtk(images: list[Dataset], option: str) -> list[Dataset]:
    """Have DCMTK's dcmcjpeg code the images: what writes JPEG of 12 bits here."""
    coded = []
    with TemporaryDirectory() as folder:
        for path in write_files(images, Path(folder)):
            out = path.with_suffix(".jpg.dcm")
            subprocess.run(["dcmcjpeg", option, "--uid-never", str(path), str(out)], check=True, timeout=60)
            coded.append(dcmread(out))
    return coded


def _change(image: Dataset, patch: Patch) -> None:
    (frame,) = generate_frames(image.PixelData, number_of_frames=1)
    _put(image, image.file_meta.TransferSyntaxUID, encapsulate([patch(frame)]))


def _put(image: Dataset, syntax: UID, pixels: bytes) -> None:
    image.PixelData = pixels
    image["PixelData"].VR = "OB"
    image["PixelData"].is_undefined_length = True
    image.file_meta.TransferSyntaxUID = syntax
