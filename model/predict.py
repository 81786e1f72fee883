"""The predictor: a volume in, one Prediction out; the node's only door to the network."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model.aggregate import key_slices, study_location, study_score
from model.bundle import Bundle, load_bundle
from model.device import choose_device, describe_device
from model.errors import ModelFailure
from model.manifest import Manifest
from model.prepare import prepare
from model.score import score_pictures
from model.volume import Volume
from model.window import to_window

Progress = Callable[[int, int], None]
"""Called with (slices done, slices in all)."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What the network says of a volume; scores are 0..1 and calibrated by the bundle's temperature.

    `slice_scores` (N,) follows the volume's slices; `location_scores` sums to 1, given a hemorrhage;
    `key_slices` are at most five indices, most suspicious first; `notes` short machine words; `seconds` holds
    "brace" (brace removal and preparation) and "predict".
    """

    score: float
    slice_scores: NDArray[np.float64]
    location_scores: dict[str, float]
    key_slices: tuple[int, ...]
    notes: tuple[str, ...]
    seconds: dict[str, float]
    device: str


class Predictor:
    """Hold a loaded bundle on a device and score volumes with it."""

    def __init__(self, bundle: Bundle, device: torch.device) -> None:
        self.bundle = bundle
        self._device = device
        self.device_name = describe_device(device)
        bundle.network.to(device).eval()

    @classmethod
    def load(cls, folder: Path, device: str | None = None) -> "Predictor":
        """Load a bundle folder onto `device` (default: a CUDA card, else the CPU); raises BundleError."""
        return cls(load_bundle(folder), choose_device(device))

    @property
    def manifest(self) -> Manifest:
        """Return the manifest of the bundle in use."""
        return self.bundle.manifest

    @property
    def sha256(self) -> str:
        """Return the identity of the bundle in use, as reports name it."""
        return self.bundle.sha256

    def predict(
        self, volume: Volume, progress: Progress | None = None, at: Callable[[str], None] | None = None
    ) -> Prediction:
        """Score a volume of slices about 5 mm thick; raises ModelFailure where a score is not finite."""
        tell, step = at or _ignore, progress or _ignore_progress
        started = time.perf_counter()
        tell("brace")
        pictures, notes = self._prepare(volume)
        prepared = time.perf_counter()
        tell("predict")
        scores = score_pictures(
            self.bundle.network, pictures, self.manifest.input, self.manifest.temperature, progress=step
        )
        if not (np.isfinite(scores.hemorrhage).all() and np.isfinite(scores.location).all()):
            raise ModelFailure("the network gave a score that is no number")
        threshold = self.manifest.slice_thresholds.low
        return Prediction(
            score=study_score(scores.hemorrhage, self.manifest.aggregation),
            slice_scores=scores.hemorrhage,
            location_scores=study_location(scores.location, scores.hemorrhage, threshold),
            key_slices=key_slices(scores.hemorrhage, threshold),
            notes=notes,
            seconds={"brace": prepared - started, "predict": time.perf_counter() - prepared},
            device=self.device_name,
        )

    def _prepare(self, volume: Volume) -> tuple[NDArray[np.float32], tuple[str, ...]]:
        prepared = [prepare(to_window(hu), self.manifest.input.size) for hu in volume.hu]
        tripped = sum(p.tripped for p in prepared)
        notes = (f"BRACE_GUARD_TRIPPED:{tripped}",) if tripped else ()
        return np.stack([p.picture for p in prepared]), notes


def _ignore(stage: str) -> None:
    """Stand in where nobody wants to know."""


def _ignore_progress(done: int, total: int) -> None:
    """Stand in where nobody wants to know."""
