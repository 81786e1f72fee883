"""The predictor: a volume in, one Prediction out; the node's only door to the network."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model.aggregate import key_slices, study_location, study_score
from model.bundle import Bundle, load_bundle
from model.device import choose_device, describe_device
from model.errors import ModelFailure
from model.heatmap import heat_map, peak
from model.manifest import Manifest
from model.network import DTViT
from model.prepare import Frame, Prepared, prepare
from model.score import score_pictures
from model.volume import Volume
from model.window import to_window

Progress = Callable[[int, int], None]
"""Called with (slices done, slices in all)."""


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
        slices = prepare_slices(volume, self.manifest.input.size)
        prepared = time.perf_counter()
        tell("predict")
        scores = score_pictures(
            self._network_in_place(),
            np.stack([one.picture for one in slices]),
            self.manifest.input,
            self.manifest.temperature,
            progress=step,
        )
        if not (np.isfinite(scores.hemorrhage).all() and np.isfinite(scores.location).all()):
            raise ModelFailure("the network gave a score that is no number")
        threshold = self.manifest.slice_thresholds.low
        keys = key_slices(scores.hemorrhage, threshold)
        return Prediction(
            score=study_score(scores.hemorrhage, self.manifest.aggregation),
            slice_scores=scores.hemorrhage,
            location_scores=study_location(scores.location, scores.hemorrhage, threshold),
            key_slices=keys,
            evidence=scores.evidence[list(keys)] if self.manifest.heat_map else None,
            frames=tuple(slices[index].frame for index in keys),
            shape=(volume.hu.shape[1], volume.hu.shape[2]),
            notes=_notes(slices),
            seconds={"brace": prepared - started, "predict": time.perf_counter() - prepared},
            device=describe_device(next(self.bundle.network.parameters()).device),
        )

    def _network_in_place(self) -> DTViT:
        """Return the network on its device; a study for which the card had no memory left it on the CPU."""
        try:
            return self.bundle.network.to(self._device)
        except torch.OutOfMemoryError:
            return self.bundle.network.to("cpu")


def prepare_slices(volume: Volume, size: int) -> list[Prepared]:
    """Prepare all slices, in as many threads as torch takes: numpy lets others work during its own work."""
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        return list(threads.map(partial(_prepare_one, size=size), volume.hu))


def _prepare_one(hu: NDArray[np.float32], *, size: int) -> Prepared:
    return prepare(to_window(hu), size)


def _notes(slices: list[Prepared]) -> tuple[str, ...]:
    tripped = sum(one.tripped for one in slices)
    return (f"BRACE_GUARD_TRIPPED:{tripped}",) if tripped else ()


def _ignore(stage: str) -> None:
    """Stand in where nobody wants to know."""


def _ignore_progress(done: int, total: int) -> None:
    """Stand in where nobody wants to know."""
