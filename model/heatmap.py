"""Evidence of the patches back to the slice: a heat map over its pixels, and where it is hottest."""

import numpy as np
from numpy.typing import NDArray

from model.prepare import Frame

Evidence = NDArray[np.float32]


def heat_map(evidence: Evidence, frame: Frame, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Spread the evidence (G, G), 0..1, of a prepared picture over its slice (H, W), bilinearly.

    What lies outside the frame is 0; all is 0 where no head was found.
    """
    if frame.side == 0:
        return np.zeros(shape, dtype=np.float32)
    down = _weights(shape[0], frame.top, frame.side, evidence.shape[0])
    across = _weights(shape[1], frame.left, frame.side, evidence.shape[1])
    heat: NDArray[np.float32] = down @ evidence.astype(np.float32, copy=False) @ across.T
    return np.clip(heat, 0.0, 1.0, out=heat)


def peak(evidence: Evidence, frame: Frame) -> tuple[float, float]:
    """Return the (row, column) of the slice at the center of the hottest patch of the evidence (G, G).

    Counted as in DICOM's SCOORD (PS3.3 C.10.5): the first pixel reaches from 0 to 1, so its center is 0.5.
    Raises ValueError where no head was found.
    """
    if frame.side == 0:
        raise ValueError("no head was found in the slice, so that none of its places is hottest")
    row, column = np.unravel_index(int(evidence.argmax()), evidence.shape)
    patch = frame.side / evidence.shape[0]
    return frame.top + (float(row) + 0.5) * patch, frame.left + (float(column) + 0.5) * patch


def _weights(pixels: int, start: int, side: int, patches: int) -> NDArray[np.float32]:
    """Return (pixels, patches): what each patch gives to each pixel along an axis; 0 outside the frame."""
    along = (np.arange(pixels) + 0.5 - start) / side * patches - 0.5  # 0 is the center of the first patch
    inside = (along >= -0.5) & (along < patches - 0.5)
    nearest_two = np.clip(1 - np.abs(np.clip(along, 0, patches - 1)[:, None] - np.arange(patches)), 0, None)
    weights: NDArray[np.float32] = (nearest_two * inside[:, None]).astype(np.float32)
    return weights
