"""Any backbone with the paper's two MLP heads: DTViT with its class token, and the CNNs of Table 4."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor, nn

from model.encoders import ENCODERS
from model.errors import TrainingError
from model.evaluate.paper.recipe import DTVIT, Recipe
from model.manifest import HEMORRHAGE_CLASSES
from model.network import HybridViT, build_encoder
from model.pretrained import in_timm_order, read_state

HIDDEN = 512  # of both heads, for every backbone: the paper gives no width
DROPOUT = 0.1


class TwoHeads(nn.Module):
    """Judge slices (B, 3, S, S): hemorrhage logits (B, 2) and location logits (B, 3 or 4)."""

    def __init__(self, backbone: nn.Module, width: int, location_outputs: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.hemorrhage = _head(width, len(HEMORRHAGE_CLASSES))
        self.location = _head(width, location_outputs)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        features = self.backbone(pictures)  # (B, width): the class token, or what the CNN pooled
        return self.hemorrhage(features), self.location(features)


class ClassToken(nn.Module):
    """Give the class token (B, width) of an encoder: what the paper's heads see."""

    def __init__(self, encoder: VisionTransformer | HybridViT) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, pictures: Tensor) -> Tensor:
        return self.encoder.forward_features(pictures)[:, 0]


def _head(width: int, classes: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, HIDDEN), nn.GELU(), nn.Dropout(DROPOUT), nn.Linear(HIDDEN, classes))


def build_network(name: str, recipe: Recipe, weights: Path | None) -> TwoHeads:
    """Build a network, its backbone from a file, from the hub if the recipe says so, or from scratch.

    Seeded. Raises TrainingError where the weights do not fit or the hub cannot be reached.
    """
    torch.manual_seed(recipe.seed)
    hub = recipe.hub and weights is None
    if name == DTVIT:
        encoder = _encoder(recipe, hub=hub)
        if weights is not None:
            _load_encoder(encoder, weights)
        return TwoHeads(ClassToken(encoder), ENCODERS[recipe.encoder].width, recipe.location_outputs)
    backbone, width = _cnn(name, recipe, hub=hub)
    if weights is not None:
        _load(backbone, _renamed(read_state(weights)), weights)
    return TwoHeads(backbone, width, recipe.location_outputs)


def _encoder(recipe: Recipe, *, hub: bool) -> VisionTransformer | HybridViT:
    if not hub:
        return build_encoder(recipe.encoder, recipe.size)
    if ENCODERS[recipe.encoder].hybrid:
        raise TrainingError(f"--hub: {recipe.encoder} is not on timm's hub; give its stem with --weights")
    try:
        created: VisionTransformer = timm.create_model(
            recipe.encoder, pretrained=True, img_size=recipe.size, num_classes=0
        )
    except (OSError, RuntimeError) as error:
        raise TrainingError(f"--hub: {recipe.encoder} could not be fetched: {error}") from error
    return created


def _cnn(name: str, recipe: Recipe, *, hub: bool) -> tuple[nn.Module, int]:
    """Return a torchvision network without its last, classifying layer, and how wide what it gives is.

    AlexNet keeps its two wide layers: they are most of what it is.
    """
    kind = {"squeezenet": "squeezenet1_0", "densenet": recipe.densenet}.get(name, name)
    try:
        network: Any = torchvision.models.get_model(kind, weights="DEFAULT" if hub else None)
    except (OSError, RuntimeError) as error:
        raise TrainingError(f"--hub: {kind} could not be fetched: {error}") from error
    if name == "resnet18":
        width, network.fc = network.fc.in_features, nn.Identity()
    elif name == "alexnet":
        width, network.classifier[6] = network.classifier[6].in_features, nn.Identity()
    elif name == "squeezenet":
        width, network.classifier = network.classifier[1].in_channels, nn.AdaptiveAvgPool2d(1)
    else:
        width, network.classifier = network.classifier.in_features, nn.Identity()
    return network, width


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return torchvision's names of today: its DenseNet files keep norm.1 for norm1."""
    return {re.sub(r"(layer\d+\.(?:norm|conv))\.", r"\1", k): v for k, v in state.items()}


def _load_encoder(encoder: VisionTransformer | HybridViT, file: Path) -> None:
    """Fill a ViT, its position embedding resampled to the picture's size, or the hybrid's stem."""
    state = read_state(file)
    if isinstance(encoder, HybridViT):
        _load(encoder.stem, in_timm_order(state), file)
    else:
        _load(encoder, checkpoint_filter_fn(dict(state), encoder), file)


def _load(target: nn.Module, state: Mapping[str, Tensor], file: Path) -> None:
    wanted = target.state_dict()
    if missing := wanted.keys() - state.keys():
        raise TrainingError(f"{file.name}: {len(missing)} tensors are missing, first {min(missing)}")
    try:
        target.load_state_dict({k: state[k] for k in wanted})
    except RuntimeError as error:
        raise TrainingError(f"{file.name}: {error}") from error
