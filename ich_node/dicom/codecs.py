"""Pixel data to stored values, by one plugin a transfer syntax, under limits checked before decoding.

Touches no disk and no socket. Native decoders can crash an interpreter: the caller decides in which process.
"""

import warnings

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from ich_node.core.grounds import Limits, exceeds
from ich_node.core.instances import InstanceFacts
from ich_node.dicom.codestreams import announced
from ich_node.dicom.headers import transfer_syntax
from ich_node.dicom.jpeg12 import decode_frame
from ich_node.dicom.values import ODD_VALUE, whole
from ich_node.errors import CannotJudge
from ich_node.vocabulary import Reason

# one plugin for each syntax, so that a broken installation fails instead of falling to a second one
_PLUGINS = {
    "1.2.840.10008.1.2": "",  # Implicit VR Little Endian
    "1.2.840.10008.1.2.1": "",  # Explicit VR Little Endian
    "1.2.840.10008.1.2.1.99": "",  # Deflated
    "1.2.840.10008.1.2.2": "",  # Explicit VR Big Endian
    "1.2.840.10008.1.2.5": "pydicom",  # RLE
    "1.2.840.10008.1.2.4.50": "gdcm",  # JPEG baseline, 8 bit
    "1.2.840.10008.1.2.4.51": "gdcm",  # JPEG extended
    "1.2.840.10008.1.2.4.57": "gdcm",  # JPEG lossless
    "1.2.840.10008.1.2.4.70": "gdcm",  # JPEG lossless, first-order prediction
    "1.2.840.10008.1.2.4.80": "pyjpegls",  # JPEG-LS lossless: GDCM errs on signed data without a word
    "1.2.840.10008.1.2.4.81": "pyjpegls",  # JPEG-LS near-lossless
    "1.2.840.10008.1.2.4.90": "pylibjpeg",  # JPEG 2000 lossless
    "1.2.840.10008.1.2.4.91": "pylibjpeg",  # JPEG 2000
    "1.2.840.10008.1.2.4.201": "pylibjpeg",  # HTJ2K lossless
    "1.2.840.10008.1.2.4.202": "pylibjpeg",  # HTJ2K lossless RPCL
    "1.2.840.10008.1.2.4.203": "pylibjpeg",  # HTJ2K
}

# JPEG extended and its retired progressive kin, where they hold more than 8 bits
_DEEP_LOSSY = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (51, 53, 55))
_ENCAPSULATED = {syntax for syntax, plugin in _PLUGINS.items() if plugin} | _DEEP_LOSSY

# what pydicom and the plugins raise for pixel data that is cut, wrong or of no known coding
_FAULTS = (*ODD_VALUE, ArithmeticError, EOFError, RuntimeError, Warning)

Stored = NDArray[np.integer]


def decode(dataset: Dataset, facts: InstanceFacts, limits: Limits) -> Stored:
    """Decode all frames to stored values, shape (frames, rows, columns), in the signedness of the header.

    Raises CannotJudge: TOO_LARGE before decoding where the header announces more than `limits`, UNDECODABLE
    for pixel data that is absent, cut, colored, in an unknown syntax, or that made a decoder complain.
    """
    if exceeds(facts, limits):
        raise CannotJudge(Reason.TOO_LARGE)
    syntax = transfer_syntax(dataset)
    if syntax not in {*_PLUGINS, *_DEEP_LOSSY} or facts.samples_per_pixel != 1:
        raise CannotJudge(Reason.UNDECODABLE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a decoder that warns has met damage
            warnings.filterwarnings("ignore", message=".*excess padding.*")
            stored = _decoded(dataset, facts, syntax)
    except MemoryError as fault:
        raise CannotJudge(Reason.TOO_LARGE) from fault
    except _FAULTS as fault:
        raise CannotJudge(Reason.UNDECODABLE) from fault
    return _checked(stored, facts)


def _decoded(dataset: Dataset, facts: InstanceFacts, syntax: str) -> Stored:
    frames = _frames(dataset, facts) if syntax in _ENCAPSULATED else []
    if syntax in _DEEP_LOSSY and facts.bits_stored > 8:
        signed = whole(dataset, "PixelRepresentation") == 1
        return np.stack([decode_frame(frame, facts, syntax, signed=signed) for frame in frames])
    stored, _ = get_decoder(UID(syntax)).as_array(dataset, raw=True, decoding_plugin=_PLUGINS[syntax])
    return stored


def _frames(dataset: Dataset, facts: InstanceFacts) -> list[bytes]:
    """Cut encapsulated pixel data into frames, and refuse any that announces another size than the header."""
    frames = list(generate_frames(dataset.PixelData, number_of_frames=facts.frames))
    sizes = {(told.rows, told.columns) for told in map(announced, frames) if told is not None}
    if len(frames) != facts.frames or sizes - {(facts.rows, facts.columns)}:
        raise ValueError("the codestream announces another size than the header")
    return frames


def _checked(stored: Stored, facts: InstanceFacts) -> Stored:
    shape = (facts.frames, facts.rows, facts.columns)
    if stored.size != facts.frames * facts.rows * facts.columns or stored.dtype.kind not in "iu":
        raise CannotJudge(Reason.UNDECODABLE)
    return stored.reshape(shape)
