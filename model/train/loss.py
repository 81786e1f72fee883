"""The paper's loss: cross-entropy on both tasks; the location is only learned from slices that bleed."""

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORED = -100


def dual_loss(
    logits: tuple[Tensor, Tensor],
    hemorrhage: Tensor,
    location: Tensor,
    *,
    location_weight: float = 1.0,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return the loss of hemorrhage logits (B, 2) and location logits (B, 3).

    `hemorrhage` and `location` hold class numbers (B,) or IGNORED; a location without a bleed is ignored.
    """
    known = torch.where(hemorrhage == 1, location, IGNORED)
    first = _mean_over_known(logits[0], hemorrhage, label_smoothing)
    return first + location_weight * _mean_over_known(logits[1], known, label_smoothing)


def _mean_over_known(logits: Tensor, classes: Tensor, label_smoothing: float) -> Tensor:
    total = F.cross_entropy(
        logits.float(), classes, ignore_index=IGNORED, reduction="sum", label_smoothing=label_smoothing
    )
    return total / (classes != IGNORED).sum().clamp(min=1)
