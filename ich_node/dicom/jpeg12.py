"""Lossy JPEG of more than 8 bits: GDCM reads it, though pydicom does not ask it to."""

import gdcm
import numpy as np
from numpy.typing import NDArray

from ich_node.core.instances import InstanceFacts


def decode_frame(frame: bytes, facts: InstanceFacts, syntax: str, *, signed: bool) -> NDArray[np.integer]:
    """Decode one frame of 9 to 16 bits to (rows, columns); raises ValueError where GDCM cannot.

    libjpeg writes "Unsupported JPEG data precision" to stderr while GDCM tries its 8-bit build first.
    """
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(frame)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((facts.columns, facts.rows, 1))
    image.SetDataElement(element)
    gray = gdcm.PhotometricInterpretation.MONOCHROME2
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(gray))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
    bits = facts.bits_stored
    image.SetPixelFormat(gdcm.PixelFormat(1, facts.bits_allocated, bits, bits - 1, int(signed)))
    buffer = image.GetBuffer()
    if buffer is None:
        raise ValueError("GDCM could not decode the frame")
    values = np.frombuffer(buffer.encode("utf-8", "surrogateescape"), np.int16 if signed else np.uint16)
    return values.reshape(facts.rows, facts.columns)
