"""Does a volume hold a human brain inside a skull? Anatomy in HU, judged slice by slice and in sequence."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from model.volume import Volume

Slice = NDArray[np.float32]
Mask = NDArray[np.bool_]

WORKING_MM = 2.0
BONE_HU, WINDOWED_BONE_HU = 150.0, 78.0  # a windowed picture saturates at 80
TISSUE_HU = (10.0, 55.0)
BRAIN_MEAN_HU = (20.0, 45.0)
BRAIN_AREA_MM2 = (2_500.0, 25_000.0)  # adult: up to 180 x 145 mm
TISSUE_SHARE = 0.70
FEWEST_BRAIN_MM = 25.0  # contiguous extent along the normal
FEWEST_BRAIN_SLICES = 3


@dataclass(frozen=True, kw_only=True)
class BrainEvidence:
    """`holds_brain` and why: slices that show brain within bone, their longest run, the largest area.

    `first_share`, `last_share`: the brain's area in the first and the last slice, of the largest. A scan of a
    whole head begins and ends where hardly any brain is left.
    """

    holds_brain: bool
    brain_slices: int
    longest_run_slices: int
    longest_run_mm: float
    largest_area_mm2: float
    first_share: float
    last_share: float


def brain_evidence(volume: Volume, *, windowed: bool = False) -> BrainEvidence:
    """Look for a closed bright shell round a large compartment of brain-like tissue over neighbouring slices.

    `windowed`: the HU were clipped to 0..80 (series wrapped from 8-bit pictures), so bone is what saturates.
    """
    areas = np.array([_brain_area_mm2(hu, volume.spacing_mm, windowed=windowed) for hu in volume.hu])
    low, high = BRAIN_AREA_MM2
    shows = (areas >= low) & (areas <= high)
    run, run_mm = _longest_run(shows, volume.positions_mm)
    largest = float(areas.max())
    return BrainEvidence(
        holds_brain=run >= FEWEST_BRAIN_SLICES and run_mm >= FEWEST_BRAIN_MM,
        brain_slices=int(shows.sum()),
        longest_run_slices=run,
        longest_run_mm=run_mm,
        largest_area_mm2=largest,
        first_share=float(areas[0]) / (largest or 1.0),
        last_share=float(areas[-1]) / (largest or 1.0),
    )


def _longest_run(shows: NDArray[np.bool_], positions_mm: NDArray[np.float64]) -> tuple[int, float]:
    """Return slices and extent (first to last center) of the longest run; one slice may be missing within."""
    bridged = ndimage.binary_closing(np.pad(shows, 1), np.ones(3))[1:-1] | shows
    runs, count = ndimage.label(bridged)
    best = (0, 0.0)
    for number in range(1, count + 1):
        members = np.flatnonzero(runs == number)
        best = max(best, (len(members), float(positions_mm[members[-1]] - positions_mm[members[0]])))
    return best


def _brain_area_mm2(hu: Slice, spacing_mm: tuple[float, float], *, windowed: bool) -> float:
    """Return the area of the largest compartment within bone that looks like brain; 0 where there is none."""
    steps = tuple(max(1, round(WORKING_MM / s)) for s in spacing_mm)
    small = _blocks(hu, steps).mean(axis=(1, 3))
    pixel_mm2 = float(np.prod([s * k for s, k in zip(spacing_mm, steps, strict=True)]))
    bone = _blocks(hu, steps).max(axis=(1, 3)) >= (WINDOWED_BONE_HU if windowed else BONE_HU)
    shell = ndimage.binary_closing(np.pad(bone, 5), iterations=3)[5:-5, 5:-5]  # sutures, thin orbital roofs
    inside = _enclosed(shell)
    compartments, count = ndimage.label(inside)
    if count == 0:
        return 0.0
    sizes = np.bincount(compartments.ravel())
    sizes[0] = 0
    largest = compartments == sizes.argmax()
    return float(largest.sum()) * pixel_mm2 if _looks_like_brain(small[largest]) else 0.0


def _looks_like_brain(values: Slice) -> bool:
    low, high = TISSUE_HU
    mean_low, mean_high = BRAIN_MEAN_HU
    share = float(((values >= low) & (values <= high)).mean())
    return share >= TISSUE_SHARE and mean_low <= float(np.median(values)) <= mean_high


def _enclosed(shell: Mask) -> Mask:
    """Return what lies within the shell: not reachable from the border."""
    free, _ = ndimage.label(np.pad(~shell, 1, constant_values=True))
    return np.asarray((free != free[0, 0])[1:-1, 1:-1] & ~shell)


def _blocks(hu: Slice, steps: tuple[int, ...]) -> Slice:
    """Return a view (rows, step, columns, step); max keeps thin bone, mean quiets noise."""
    rows, columns = (side // step * step for side, step in zip(hu.shape, steps, strict=True))
    return hu[:rows, :columns].reshape(rows // steps[0], steps[0], columns // steps[1], steps[1])
