"""Thin slices averaged to slabs of about 5 mm: the thickness and noise on which the networks are trained."""

import numpy as np
from numpy.typing import NDArray

from model.volume import Volume

SLAB_MM = 5.0
THIN_MM = 3.0  # slices further apart than this stay as they are


def slab_numbers(volume: Volume) -> NDArray[np.intp]:
    """Return for each slice (N,) its slab's number, rising from 0; thick slices are slabs of their own."""
    count = len(volume.positions_mm)
    if count < 2 or volume.step_mm > THIN_MM:
        return np.arange(count)
    per_slab = np.floor((volume.positions_mm - volume.positions_mm[0]) / SLAB_MM).astype(np.intp)
    _, numbers = np.unique(per_slab, return_inverse=True)
    return numbers


def slab_means(volume: Volume, numbers: NDArray[np.intp]) -> NDArray[np.float32]:
    """Return the slabs as float32 (slabs, H, W): the mean HU of their slices."""
    if numbers[-1] + 1 == len(volume.hu):
        return volume.hu
    return np.stack([volume.hu[numbers == n].mean(axis=0) for n in range(numbers[-1] + 1)])
