"""Prepared pictures through the network in batches, for node, evaluation and training alike."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from model.manifest import InputFormat
from model.network import DTViT

BATCH = 16
TISSUE = (0.08, 0.92)  # window units: neither air nor fat, nor bone
CONTRAST_GAIN = 1.6  # 0..1 spans 50 HU about the tissue's median


@dataclass(frozen=True, kw_only=True)
class SliceScores:
    """`hemorrhage` (N,): calibrated; `location` (N, 3): given a hemorrhage; `logit` (N,): uncalibrated.

    `evidence` (N, G, G), 0..1: how likely each patch of the prepared picture holds blood.
    """

    hemorrhage: NDArray[np.float64]
    location: NDArray[np.float64]
    logit: NDArray[np.float64]
    evidence: NDArray[np.float32]


def to_input(pictures: Tensor, form: InputFormat) -> Tensor:
    """Turn pictures (B, S, S), 0..1, into the network's input (B, 3, S, S)."""
    channels = contrast_views(pictures) if form.views == "contrast" else pictures[:, None]
    mean = pictures.new_tensor(form.mean).view(1, -1, 1, 1)
    std = pictures.new_tensor(form.std).view(1, -1, 1, 1)
    return ((channels - mean) / std).contiguous(memory_format=torch.channels_last)


def contrast_views(pictures: Tensor) -> Tensor:
    """Return (B, 3, S, S): the picture, its contrast about the tissue's median, and that one smoothed.

    The median takes out what differs between hospitals (window, calibration), the smoothing their noise.
    """
    tissue = (pictures > TISSUE[0]) & (pictures < TISSUE[1])
    median = torch.where(tissue, pictures, torch.nan).flatten(1).nanmedian(dim=1).values
    median = torch.nan_to_num(median, nan=0.5).view(-1, 1, 1)
    contrast = (0.5 + CONTRAST_GAIN * (pictures - median)).clamp(0.0, 1.0)[:, None]
    kernel = contrast.new_tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    smooth = F.conv2d(
        F.conv2d(contrast, kernel.view(1, 1, 5, 1), padding=(2, 0)), kernel.view(1, 1, 1, 5), padding=(0, 2)
    )
    return torch.cat([pictures[:, None], contrast, smooth], dim=1)


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
    logits, locations, evidence = [], [], []
    for start in range(0, len(pictures), BATCH):
        batch = torch.from_numpy(pictures[start : start + BATCH]).to(device)
        found = network(to_input(batch, form))
        logits.append((found.hemorrhage[:, 1] - found.hemorrhage[:, 0]).double().cpu())
        locations.append(found.location.double().softmax(dim=1).cpu())
        evidence.append(found.evidence.float().sigmoid().cpu())
        if progress:
            progress(min(start + BATCH, len(pictures)), len(pictures))
    logit = torch.cat(logits)
    return SliceScores(
        hemorrhage=torch.sigmoid(logit / temperature).numpy(),
        location=torch.cat(locations).numpy(),
        logit=logit.numpy(),
        evidence=torch.cat(evidence).numpy(),
    )
