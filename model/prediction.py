"""What the network says of a volume; without torch, so that it can be handed to a process that has none."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.heatmap import heat_map, peak
from model.prepare import Frame


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What the network says of a volume; scores are 0..1 and calibrated by the bundle's temperature.

    `slice_scores` (N,) follows the volume's slices; `location_scores` sums to 1, given a hemorrhage;
    `key_slices` are at most five indices, most suspicious first, and in their order `evidence` (K, G, G),
    0..1, tells which patches of the squares `frames` hold blood; it is None where the bundle's heat map must
    not be shown. `shape` is (H, W) of a slice. `notes` are short machine words; `seconds` holds "brace"
    (brace removal and preparation) and "predict".
    """

    score: float
    slice_scores: NDArray[np.float64]
    location_scores: dict[str, float]
    key_slices: tuple[int, ...]
    evidence: NDArray[np.float32] | None
    frames: tuple[Frame, ...]
    shape: tuple[int, int]
    notes: tuple[str, ...]
    seconds: dict[str, float]
    device: str

    def heat_map(self, place: int) -> NDArray[np.float32] | None:
        """Return the evidence of `key_slices[place]` over its pixels: (H, W), 0..1; None if switched off."""
        if self.evidence is None:
            return None
        return heat_map(self.evidence[place], self.frames[place], self.shape)

    def peak(self, place: int) -> tuple[float, float] | None:
        """Return where `key_slices[place]` is hottest, (row, column) as in SCOORD; else None."""
        frame = self.frames[place]
        return None if self.evidence is None or not frame.side else peak(self.evidence[place], frame)
