"""AdamW, its rate over the run, frozen stages, and the running average of the weights."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from model.network import DTViT, HybridViT
from model.train.settings import TrainingSettings


def build_optimizer(network: DTViT, settings: TrainingSettings) -> AdamW:
    """Return AdamW over what learns: the pretrained stem at its own rate, norms and biases without decay."""
    freeze(network, settings)
    stem = {id(p) for p in (_stem(network) or nn.Module()).parameters()}
    groups = []
    for pretrained in (False, True):
        for decays in (False, True):
            chosen = [
                p
                for p in network.parameters()
                if p.requires_grad and (id(p) in stem) == pretrained and (p.ndim > 1) == decays
            ]
            if chosen:
                factor = settings.pretrained_rate if pretrained else 1.0
                decay = settings.weight_decay if decays else 0.0
                groups.append({"params": chosen, "weight_decay": decay, "factor": factor})
    return AdamW(groups, lr=settings.rate, foreach=False)


def freeze(network: DTViT, settings: TrainingSettings) -> None:
    """Stop learning in the first stages of the hybrid's stem."""
    stem = _stem(network)
    if settings.frozen_stages and stem is not None:
        assert isinstance(stem.blocks, nn.Sequential)
        for module in (stem.conv_stem, stem.bn1, *stem.blocks[: settings.frozen_stages]):
            module.requires_grad_(requires_grad=False)


def _stem(network: DTViT) -> nn.Module | None:
    return network.encoder.stem if isinstance(network.encoder, HybridViT) else None


def rate_at(share: float, settings: TrainingSettings) -> float:
    """Return the factor on the rate after `share` (0..1) of the run: warm-up, then constant or cosine."""
    if share < settings.warm_up:
        return (share + 1e-3) / (settings.warm_up + 1e-3)
    if settings.schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (share - settings.warm_up) / (1 - settings.warm_up)))


def set_rates(optimizer: Optimizer, share: float, settings: TrainingSettings) -> None:
    """Set the rate of every group for this point of the run."""
    for group in optimizer.param_groups:
        group["lr"] = settings.rate * group["factor"] * rate_at(share, settings)


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the averaged weights and running statistics a step towards the network's."""
    for mean, value in zip(_tensors(average), _tensors(network), strict=True):
        if mean.is_floating_point():
            mean.lerp_(value, 1 - decay)
        else:
            mean.copy_(value)


def _tensors(module: nn.Module) -> Iterable[Tensor]:
    return module.state_dict().values()
