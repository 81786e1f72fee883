"""Stored values out of every coding that we can write here, and limits that hold before decoding."""

from typing import Any

import numpy as np
import pytest
from builders import ct_series
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from ich_node.core.grounds import Limits
from ich_node.dicom.codecs import decode
from ich_node.dicom.codestreams import Announced, announced
from ich_node.dicom.headers import instance_facts
from ich_node.errors import CannotJudge
from ich_node.vocabulary import Reason

KNOWN = np.arange(-1024, 3072, dtype=np.int16).reshape(1, 64, 64)


def _image(pixels: np.ndarray = KNOWN, syntax: UID | None = None, **tags: Any) -> Dataset:
    image = ct_series(pixels=pixels, **tags)[0]
    if syntax is not None:
        image.compress(syntax, generate_instance_uid=False)
    return image


def _decode(image: Dataset, limits: Limits | None = None) -> np.ndarray:
    return decode(image, instance_facts(image), limits or Limits())


def _hu(image: Dataset) -> np.ndarray:
    return _decode(image).astype(float) * float(image.RescaleSlope) + float(image.RescaleIntercept)


@pytest.mark.parametrize("syntax", [None, RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_known_values_come_back_from_each_lossless_coding(syntax: UID | None) -> None:
    image = _image(syntax=syntax)

    np.testing.assert_array_equal(_hu(image), KNOWN)


def test_big_endian_values_come_back() -> None:
    image = _image()
    image.PixelData = np.frombuffer(image.PixelData, "<u2").astype(">u2").tobytes()
    image.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    image.set_original_encoding(False, False)

    np.testing.assert_array_equal(_hu(image), KNOWN)


def test_a_signed_header_over_an_unsigned_codestream_is_mended() -> None:
    """JPEG 2000 knows its own sign; written unsigned under a signed header all values are shifted."""
    image = _image()
    signed = np.frombuffer(image.PixelData, "<u2").astype(np.int32) - 2048
    image.PixelData = np.mod(signed, 1 << 16).astype("<u2").tobytes()
    image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 15, 0
    image.compress(JPEG2000Lossless, generate_instance_uid=False)
    image.PixelRepresentation = 1

    np.testing.assert_array_equal(_decode(image).reshape(-1), signed)


@pytest.mark.parametrize(
    ("tags", "limits"),
    [
        ({"Rows": 46341, "Columns": 46341}, Limits()),
        ({"Columns": 65535}, Limits()),
        ({"NumberOfFrames": 100_000}, Limits()),
        ({"BitsAllocated": 32}, Limits()),
        ({}, Limits(rows=63)),
        ({}, Limits(instance_bytes=64 * 64 * 2 - 1)),
    ],
)
def test_what_announces_too_much_is_refused_before_decoding(tags: dict[str, int], limits: Limits) -> None:
    image = _image(**tags)
    del image.PixelData  # nothing is there to decode: the header alone decides

    with pytest.raises(CannotJudge) as told:
        _decode(image, limits)

    assert told.value.reason is Reason.TOO_LARGE


def _cut(image: Dataset) -> None:
    image.PixelData = image.PixelData[:-100]


def _remove(image: Dataset) -> None:
    del image.PixelData


def _color(image: Dataset) -> None:
    image.SamplesPerPixel = 3


def _unknown_syntax(image: Dataset) -> None:
    image.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.4.100")


def _odd_element(image: Dataset) -> None:
    """Bytes that are no whole number of numbers, in an element that only the decoder reads."""
    tag = Tag("PlanarConfiguration")
    image._dict[tag] = RawDataElement(tag, "US", 3, b"\0\0\0", 0, False, True)


def _twice(image: Dataset) -> None:
    image.PixelData = image.PixelData * 2


@pytest.mark.parametrize("damage", [_cut, _remove, _color, _unknown_syntax, _twice, _odd_element])
def test_damaged_pixel_data_cannot_be_decoded(damage: Any) -> None:
    image = _image()
    damage(image)

    with pytest.raises(CannotJudge) as told:
        _decode(image)

    assert told.value.reason is Reason.UNDECODABLE


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_a_damaged_codestream_cannot_be_decoded(syntax: UID) -> None:
    image = _image(syntax=syntax)
    frame = next(generate_frames(image.PixelData, number_of_frames=1))
    image.PixelData = encapsulate([frame[: len(frame) // 2]])

    with pytest.raises(CannotJudge) as told:
        _decode(image)

    assert told.value.reason is Reason.UNDECODABLE


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless])
def test_a_codestream_larger_than_its_header_is_refused_unread(syntax: UID) -> None:
    image = _image(np.zeros((1, 128, 64), np.int16), syntax=syntax)
    image.Rows = 64

    with pytest.raises(CannotJudge) as told:
        _decode(image)

    assert told.value.reason is Reason.UNDECODABLE


def test_a_frame_more_or_less_than_announced_is_a_fault() -> None:
    image = _image(syntax=RLELossless)
    frame = next(generate_frames(image.PixelData, number_of_frames=1))
    image.PixelData = encapsulate([frame, frame])

    with pytest.raises(CannotJudge) as told:
        _decode(image)

    assert told.value.reason is Reason.UNDECODABLE


def test_codestreams_announce_their_size() -> None:
    jls = next(
        generate_frames(_image(np.zeros((1, 48, 80), np.int16), JPEGLSLossless).PixelData, number_of_frames=1)
    )
    j2k = next(
        generate_frames(
            _image(np.zeros((1, 48, 80), np.int16), JPEG2000Lossless).PixelData, number_of_frames=1
        )
    )
    jpeg = bytes.fromhex("ffd8 ffe0 0004 0000 ffff c0 000b 08 0030 0050 01 01 11 00")

    told = [announced(frame) for frame in (jls, j2k, jpeg, b"", b"\xff\xd8", b"RLE", jpeg[:12])]

    assert [one and (one.rows, one.columns) for one in told[:3]] == [(48, 80)] * 3
    assert told[2] == Announced(rows=48, columns=80, bits=8)
    assert told[3:] == [None] * 4


@pytest.mark.shared
def test_one_slice_in_fourteen_codings_is_the_same_slice(shared_folder: Any) -> None:
    from pydicom import dcmread

    folder = shared_folder / "data/dicom/codecs/ctimage-chest"
    images = {
        path.name.rsplit("_", 1)[1].removesuffix(".dcm"): dcmread(path) for path in sorted(folder.iterdir())
    }
    reference = _hu(images["1.2.840.10008.1.2.1"])

    errors = {syntax: float(np.abs(_hu(image) - reference).max()) for syntax, image in images.items()}

    assert len(errors) == 14
    lossy = {
        f"1.2.840.10008.1.2.4.{tail}": worst
        for tail, worst in ((50, 600), (51, 40), (53, 40), (55, 40), (81, 1), (91, 5))
    }
    assert {syntax for syntax, error in errors.items() if error > 0} == set(lossy)
    assert all(errors[syntax] <= worst for syntax, worst in lossy.items())
    assert str(JPEGBaseline8Bit) in lossy
