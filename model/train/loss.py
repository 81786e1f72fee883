"""The paper's loss, cross-entropy on both tasks, and a third for the map of evidence."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from model.network import Logits

IGNORED = -100
BLEEDING_PATCH_WEIGHT = 4.0  # most patches of any slice hold no blood
BLOODY, CLEAN = 0.15, 0.01  # share of a patch above which it holds blood, below which it does not

Cases = Callable[[Tensor], Tensor]
"""Turns a number of cases (a scalar) into what their summed loss is divided by."""


def at_least_one(count: Tensor) -> Tensor:
    """Return the number of cases; 1 where there is none, whose loss is 0 anyway."""
    return count.clamp(min=1)


def dual_loss(
    logits: Logits,
    hemorrhage: Tensor,
    location: Tensor,
    *,
    cases: Cases = at_least_one,
    location_prior: Tensor | None = None,
    location_weight: float = 1.0,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return the loss of hemorrhage logits (B, 2) and location logits (B, 3).

    `hemorrhage` (B,) is the probability of a bleed that the label stands for, NaN where there is none;
    `location` (B,) holds class numbers or IGNORED; a location without a bleed is ignored. `location_prior`
    (3,): how often each location is drawn. It is added to what the network says, so that the network need not
    learn it, and answers as if all locations were equally frequent (Menon et al. 2021, logit adjustment).
    """
    known = torch.where(hemorrhage > 0.5, location, IGNORED)
    said = logits.location.float()
    if location_prior is not None:
        said = said + location_prior.log()
    total = F.cross_entropy(
        said, known, ignore_index=IGNORED, reduction="sum", label_smoothing=label_smoothing
    )
    located = total / cases((known != IGNORED).sum())
    return _hemorrhage_loss(logits.hemorrhage, hemorrhage, label_smoothing, cases) + location_weight * located


def _hemorrhage_loss(logits: Tensor, targets: Tensor, label_smoothing: float, cases: Cases) -> Tensor:
    labelled = targets.isfinite()
    log_odds = (logits[:, 1] - logits[:, 0]).float()[labelled]
    soft = targets[labelled] * (1 - label_smoothing) + 0.5 * label_smoothing
    total = F.binary_cross_entropy_with_logits(log_odds, soft, reduction="sum")
    return total / cases(labelled.sum())


def evidence_loss(evidence: Tensor, blood: Tensor, known: Tensor, *, cases: Cases = at_least_one) -> Tensor:
    """Return the loss of evidence logits (B, G, G) against pixel maps `blood` and `known` (B, S, S), 0..1.

    Only patches count that are known throughout and hold clearly some blood or clearly none.
    """
    side = evidence.shape[-1]
    share = F.adaptive_avg_pool2d(blood[:, None], side)[:, 0]
    certain = F.adaptive_avg_pool2d(known[:, None], side)[:, 0] > 0.99
    bloody, clean = (share > BLOODY) & certain, (share < CLEAN) & certain
    weight = bloody.float() * BLEEDING_PATCH_WEIGHT + clean.float()
    loss = F.binary_cross_entropy_with_logits(evidence.float(), bloody.float(), weight, reduction="sum")
    return loss / cases(weight.sum())
