"""Prepared pictures through the network in batches, for node, evaluation and training alike."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.manifest import InputFormat
from model.network import DTViT

BATCH = 16


@dataclass(frozen=True, kw_only=True)
class SliceScores:
    """`hemorrhage` (N,): calibrated; `location` (N, 3): given a hemorrhage; `logit` (N,): uncalibrated."""

    hemorrhage: NDArray[np.float64]
    location: NDArray[np.float64]
    logit: NDArray[np.float64]


def to_input(pictures: Tensor, form: InputFormat) -> Tensor:
    """Turn pictures (B, S, S), 0..1, into the network's input (B, 3, S, S)."""
    mean = pictures.new_tensor(form.mean).view(1, -1, 1, 1)
    std = pictures.new_tensor(form.std).view(1, -1, 1, 1)
    return ((pictures[:, None] - mean) / std).contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def score_pictures(
    network: DTViT,
    pictures: NDArray[np.float32],
    form: InputFormat,
    temperature: float,
    progress: Callable[[int, int], None] | None = None,
) -> SliceScores:
    """Score prepared pictures (N, S, S), 0..1; the network must be in eval mode."""
    device = next(network.parameters()).device
    logits, locations = [], []
    for start in range(0, len(pictures), BATCH):
        batch = torch.from_numpy(pictures[start : start + BATCH]).to(device)
        hemorrhage, location = network(to_input(batch, form))
        logits.append((hemorrhage[:, 1] - hemorrhage[:, 0]).double().cpu())
        locations.append(location.double().softmax(dim=1).cpu())
        if progress:
            progress(min(start + BATCH, len(pictures)), len(pictures))
    logit = torch.cat(logits)
    return SliceScores(
        hemorrhage=torch.sigmoid(logit / temperature).numpy(),
        location=torch.cat(locations).numpy(),
        logit=logit.numpy(),
    )
