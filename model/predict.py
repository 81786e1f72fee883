"""The predictor: a volume in, one Prediction out; the node's only door to the network."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model.aggregate import key_slices, study_location, study_score
from model.bundle import Bundle, load_bundle
from model.device import choose_device, describe_device
from model.errors import ModelFailure
from model.manifest import Manifest
from model.network import DTViT
from model.prediction import Prediction
from model.prepare import Prepared, prepare
from model.score import score_pictures
from model.volume import Volume
from model.window import to_window

Progress = Callable[[int, int], None]
"""Called with (slices done, slices in all)."""


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
