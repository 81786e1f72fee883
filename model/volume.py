"""A CT volume in Hounsfield units: what reading needs of a series, without DICOM, torch or a disk."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Volume:
    """Hold the slices of one candidate, foot to head, as a radiologist sees them.

    `hu` is float32 (N, H, W): rows run anterior to posterior, columns from the patient's right to left.
    `positions_mm` is float64 (N,) along the slice normal, strictly rising; `spacing_mm` is (row, column).
    Raises ValueError where an array does not fit.
    """

    hu: NDArray[np.float32]
    positions_mm: NDArray[np.float64]
    spacing_mm: tuple[float, float]

    def __post_init__(self) -> None:
        if self.hu.ndim != 3 or self.hu.dtype != np.float32 or 0 in self.hu.shape:
            raise ValueError(f"hu: expected float32 (N, H, W), got {self.hu.dtype} {self.hu.shape}")
        if self.positions_mm.shape != self.hu.shape[:1] or self.positions_mm.dtype != np.float64:
            shape = self.positions_mm.shape
            raise ValueError(
                f"positions_mm: expected float64 ({len(self.hu)},), got {self.positions_mm.dtype} {shape}"
            )
        if not np.isfinite(self.hu).all() or not np.isfinite(self.positions_mm).all():
            raise ValueError("hu and positions_mm must be finite")
        if (np.diff(self.positions_mm) <= 0).any():
            raise ValueError("positions_mm must rise strictly, foot to head")
        if not all(np.isfinite(s) and s > 0 for s in self.spacing_mm):
            raise ValueError(f"spacing_mm: expected two positive numbers, got {self.spacing_mm}")

    @property
    def step_mm(self) -> float:
        """Return the median distance between neighbouring slices; 0 for a single slice."""
        return float(np.median(np.diff(self.positions_mm))) if len(self.positions_mm) > 1 else 0.0
