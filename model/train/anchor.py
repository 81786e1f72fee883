"""Holds a retrained network at its parent's level, so that thresholds taken over keep their meaning."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from model.manifest import InputFormat
from model.network import DTViT
from model.score import score_pictures


def hold_level(network: DTViT, parent: DTViT, pictures: NDArray[np.float32], form: InputFormat) -> float:
    """Shift the bias of the hemorrhage so that, in the median, slices score as with the parent.

    Few studies move all scores before they teach what a bleed is; the order of the slices stays.
    `pictures` (N, S, S) need no labels.
    Returns the shift that was taken back, in log odds; without pictures 0.
    """
    if len(pictures) == 0:
        return 0.0
    device = next(network.parameters()).device
    before = score_pictures(parent.to(device).eval(), pictures, form, 1.0).logit
    after = score_pictures(network.eval(), pictures, form, 1.0).logit
    shift = float(np.median(after - before))
    last = network.hemorrhage[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.bias[1] -= shift
    return shift
