"""Stored values to Hounsfield units: padding first, then rescale in float, then a sanity check."""

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ich_node.dicom.codecs import Stored
from ich_node.dicom.values import decimals, number, whole

AIR_HU = -1000.0
_NOWHERE_HU = -1500.0  # below every tissue: padding that the header does not declare
_AIR_BELOW_HU = -800.0
_SOFT_HU = (-150.0, 150.0)
_FEWEST_AIR, _FEWEST_SOFT = 0.005, 0.02  # shares of all pixels


def to_hu(stored: Stored, dataset: Dataset, frame: Dataset) -> NDArray[np.float32]:
    """Turn the stored values of one image (rows, columns) into float32 HU; padding becomes air.

    `dataset` declares padding, `frame` the rescale (a classic image is both). Values are widened before any
    arithmetic; missing rescale counts as slope 1 and intercept 0 until `is_plausible` has seen the volume.
    """
    slope, intercept = number(frame, "RescaleSlope"), number(frame, "RescaleIntercept")
    hu = stored.astype(np.float32)
    hu *= np.float32(slope or 1.0)
    hu += np.float32(intercept or 0.0)
    hu[_padding(stored, dataset) | (hu < _NOWHERE_HU) | ~np.isfinite(hu)] = AIR_HU
    return hu


def _padding(values: Stored, dataset: Dataset) -> NDArray[np.bool_]:
    """Mask the declared padding value, or the range up to its limit (PS3.3 C.7.5.1.1.2)."""
    declared = decimals(dataset, "PixelPaddingValue")
    if not declared:
        return np.zeros(values.shape, bool)
    limits = decimals(dataset, "PixelPaddingRangeLimit") or declared
    low, high = sorted((_signed(declared[0], dataset), _signed(limits[0], dataset)))
    return (values >= low) & (values <= high)


def _signed(value: float, dataset: Dataset) -> int:
    """Read a padding value written unsigned as the signed one that it means."""
    bits = whole(dataset, "BitsAllocated") or 16
    signed = whole(dataset, "PixelRepresentation") == 1 and value >= 1 << (bits - 1)
    return int(value) - (1 << bits if signed else 0)


def is_plausible(hu: NDArray[np.float32]) -> bool:
    """Say whether a volume has air and water where HU put them: a share of it near -1000, and one near 0."""
    air = float((hu < _AIR_BELOW_HU).mean())
    low, high = _SOFT_HU
    soft = float(((hu >= low) & (hu <= high)).mean())
    return air >= _FEWEST_AIR and soft >= _FEWEST_SOFT
