"""Prepared pictures through the network in batches, for node, evaluation and training alike."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from model.manifest import InputFormat
from model.network import DTViT, Logits

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
    """Score prepared pictures (N, S, S), 0..1; the network must be in eval mode.

    Where a card's memory does not suffice, batches shrink; where one slice is too many, the network moves to
    the CPU and stays there. Raises torch.OutOfMemoryError where the CPU's does not suffice either.
    """
    found: list[Logits] = []
    start, most = 0, BATCH
    while start < len(pictures):
        try:
            found.append(_look(network, pictures[start : start + most], form))
        except torch.OutOfMemoryError:
            if most == 1 and _device(network).type == "cpu":
                raise
            most = _fewer(network, most)
            continue
        start += most
        if progress:
            progress(min(start, len(pictures)), len(pictures))
    hemorrhage, location, evidence = (torch.cat(parts) for parts in zip(*found, strict=True))
    logit = (hemorrhage[:, 1] - hemorrhage[:, 0]).double()
    return SliceScores(
        hemorrhage=torch.sigmoid(logit / temperature).numpy(),
        location=location.double().softmax(dim=1).numpy(),
        logit=logit.numpy(),
        evidence=evidence.sigmoid().numpy(),
    )


def _look(network: DTViT, pictures: NDArray[np.float32], form: InputFormat) -> Logits:
    """Return the logits of a batch in float32 on the CPU; a card computes in bfloat16 where it can."""
    device = _device(network)
    batch = torch.from_numpy(pictures).to(device)
    halved = device.type == "cuda" and torch.cuda.is_bf16_supported()
    with torch.autocast(device.type if halved else "cpu", torch.bfloat16, enabled=halved):
        logits = network(to_input(batch, form))
    return Logits(*(part.float().cpu() for part in logits))


def _fewer(network: DTViT, most: int) -> int:
    """Return a smaller batch than one that found no memory; after the smallest the CPU takes over."""
    if most > 1:
        return most // 2
    network.to("cpu")
    return BATCH


def _device(network: DTViT) -> torch.device:
    return next(network.parameters()).device
