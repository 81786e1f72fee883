"""Prepared pictures through the network in batches, for node, evaluation and training alike."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.manifest import InputFormat
from model.network import DTViT, Logits

BATCH = 16


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
