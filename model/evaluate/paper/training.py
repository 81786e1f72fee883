"""One training as in the paper: AdamW, two cross-entropies, the epoch of lowest validation loss is kept."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Generator, Tensor
from torch.optim import AdamW
from torchvision.transforms.v2 import functional as transforms

from model.errors import TrainingError
from model.evaluate.paper.metrics import Scores, dual_figures
from model.evaluate.paper.networks import TwoHeads
from model.evaluate.paper.parts import Indices
from model.evaluate.paper.recipe import Recipe

IGNORED = -100
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # section 2.2.3
ROTATION_DEGREES = 15.0
SHARPNESS, SHARPENED_SHARE = 2.0, 0.5  # the share is torchvision's default, which the authors kept
SCORING_BATCH = 64

Point = dict[str, float]
"""A point of the curves: epoch, then loss and accuracy in training and validation, and seconds."""


@dataclass(frozen=True, kw_only=True)
class Slices:
    """All slices of the plan: bytes (N, S, S), class numbers (N,), IGNORED where there is none."""

    pictures: NDArray[np.uint8]
    hemorrhage: Tensor
    location: Tensor


@dataclass(frozen=True, kw_only=True)
class Course:
    """Which rows a training sees, in which batches, changed or not."""

    train: Indices
    val: Indices
    batch: int
    augmented: bool


def train(
    network: TwoHeads, slices: Slices, course: Course, recipe: Recipe, told: Callable[[Point], None]
) -> list[Point]:
    """Train in place to the epoch of the lowest validation loss and return the curves; TrainingError."""
    optimizer = AdamW(network.parameters(), lr=recipe.rate, weight_decay=recipe.weight_decay, fused=True)
    curves: list[Point] = []
    best, kept = math.inf, _copy(network)
    for epoch in range(recipe.epochs):
        started = time.monotonic()
        loss, accuracy = _train_epoch(network, optimizer, slices, course, [recipe.seed, 4, epoch])
        held = dual_figures(score(network, slices, course.val))
        if held.loss < best:
            best, kept = held.loss, _copy(network)
        curves.append(
            {
                "epoch": epoch + 1,
                "training_loss": loss,
                "training_accuracy": accuracy,
                "validation_loss": held.loss,
                "validation_accuracy": held.accuracy,
                "seconds": time.monotonic() - started,
            }
        )
        told(curves[-1])
    network.load_state_dict(kept)
    return curves


def _copy(network: TwoHeads) -> dict[str, Tensor]:
    return {k: v.detach().cpu().clone() for k, v in network.state_dict().items()}


def _train_epoch(
    network: TwoHeads, optimizer: AdamW, slices: Slices, course: Course, seed: list[int]
) -> tuple[float, float]:
    """Return loss and accuracy over the epoch's own batches, as a training curve shows them."""
    order = np.random.default_rng(seed).permutation(course.train)
    random = Generator().manual_seed(int(np.random.default_rng(seed).integers(1 << 62)))
    network.train()
    losses, scored = 0.0, []
    for rows in batches(order, course.batch):
        pictures = torch.from_numpy(slices.pictures[rows])
        logits = step(
            network, optimizer, change(pictures, random) if course.augmented else pictures, slices, rows
        )
        losses += logits[2] * len(rows)
        scored.append((logits[0], logits[1]))
    scores = _scores(scored, slices, np.concatenate(list(batches(order, course.batch))))
    return losses / len(scores.hemorrhage), dual_figures(scores).accuracy


def batches(order: Indices, size: int) -> list[Indices]:
    """Cut an order into batches; a last one of a single slice joins its neighbour: batch norm needs two."""
    cuts = list(range(size, len(order), size))
    if cuts and len(order) - cuts[-1] == 1:
        cuts.pop()
    return np.split(order, cuts)


def step(
    network: TwoHeads, optimizer: AdamW, pictures: Tensor, slices: Slices, rows: Indices
) -> tuple[Tensor, Tensor, float]:
    """Learn from one batch of bytes (B, S, S) and return both logits, on the CPU, and the loss."""
    device = next(network.parameters()).device
    with torch.autocast(device.type, torch.bfloat16, enabled=in_bfloat16(device)):
        logits = network(to_input(pictures.to(device)))
    loss = dual_loss(logits, slices.hemorrhage[rows].to(device), slices.location[rows].to(device))
    value = float(loss.detach())
    if not math.isfinite(value):
        raise TrainingError("the loss is no number; try a lower --rate")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return logits[0].detach().float().cpu(), logits[1].detach().float().cpu(), value


def in_bfloat16(device: torch.device) -> bool:
    """Return whether to compute in bfloat16: on cards that have it; processors lose by it as often as not."""
    return device.type == "cuda" and torch.cuda.is_bf16_supported()


def dual_loss(logits: tuple[Tensor, Tensor], hemorrhage: Tensor, location: Tensor) -> Tensor:
    """Return the plain sum of both mean cross-entropies; a slice whose location is IGNORED has no second."""
    second = F.cross_entropy(logits[1].float(), location, ignore_index=IGNORED, reduction="sum")
    known = (location != IGNORED).sum().clamp(min=1)
    return F.cross_entropy(logits[0].float(), hemorrhage) + second / known


def change(pictures: Tensor, random: Generator) -> Tensor:
    """Turn bytes (B, S, S) by up to 15 degrees each way and sharpen every second one, as the paper does."""
    angles = (torch.rand(len(pictures), generator=random) * 2 - 1) * ROTATION_DEGREES
    sharpened = torch.rand(len(pictures), generator=random) < SHARPENED_SHARE
    turned = torch.stack(
        [transforms.rotate(p[None], a) for p, a in zip(pictures, angles.tolist(), strict=True)]
    )
    if sharpened.any():
        turned[sharpened] = transforms.adjust_sharpness(turned[sharpened], SHARPNESS)
    return turned[:, 0]


def to_input(pictures: Tensor) -> Tensor:
    """Turn bytes (B, S, S) into what a network pretrained on ImageNet expects: (B, 3, S, S)."""
    mean, std = (pictures.new_tensor(v, dtype=torch.float32).view(3, 1, 1) for v in (MEAN, STD))
    return (pictures[:, None].float() / 255 - mean) / std


def score(network: TwoHeads, slices: Slices, rows: Indices) -> Scores:
    """Score the rows in their order, without learning."""
    device = next(network.parameters()).device
    network.eval()
    scored = []
    with torch.inference_mode():
        for some in np.split(rows, range(SCORING_BATCH, len(rows), SCORING_BATCH)):
            pictures = torch.from_numpy(slices.pictures[some]).to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=in_bfloat16(device)):
                logits = network(to_input(pictures))
            scored.append((logits[0].float().cpu(), logits[1].float().cpu()))
    return _scores(scored, slices, rows)


def _scores(scored: list[tuple[Tensor, Tensor]], slices: Slices, rows: Indices) -> Scores:
    return Scores(
        hemorrhage=slices.hemorrhage[rows].numpy(),
        location=slices.location[rows].numpy(),
        hemorrhage_probability=torch.cat([s[0] for s in scored]).double().softmax(1)[:, 1].numpy(),
        location_probability=torch.cat([s[1] for s in scored]).double().softmax(1).numpy(),
    )
