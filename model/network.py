"""DTViT (paper section 2.3): one timm encoder, two MLP heads, hemorrhage and its location."""

from functools import partial

import timm
import torch
from timm.layers import HybridEmbed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from model.encoders import ENCODERS
from model.manifest import HEMORRHAGE_CLASSES, LOCATIONS

LITE0 = "tf_efficientnet_lite0"
LITE0_STAGES_TO_STRIDE_16 = 5  # of seven; the fifth ends with 112 channels at stride 16


class DTViT(nn.Module):
    """Judge prepared slices: float32 (B, 3, S, S) to hemorrhage logits (B, 2) and location logits (B, 3).

    The heads see the class token beside the strongest answer of any patch: a small bleed fills one.
    """

    def __init__(self, encoder: str, size: int, *, dropout: float = 0.1) -> None:
        super().__init__()
        self.encoder = build_encoder(encoder, size)
        width = ENCODERS[encoder].width
        self.hemorrhage = _head(2 * width, width, len(HEMORRHAGE_CLASSES), dropout)
        self.location = _head(2 * width, width, len(LOCATIONS), dropout)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        tokens: Tensor = self.encoder.forward_features(pictures)  # (B, 1 + patches, width)
        features = torch.cat([tokens[:, 0], tokens[:, 1:].amax(dim=1)], dim=1)
        return self.hemorrhage(features), self.location(features)


def _head(width_in: int, width: int, classes: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width_in, width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, classes)
    )


def build_encoder(name: str, size: int, *, classes: int = 0) -> VisionTransformer:
    """Build an allowed encoder, untrained, for pictures of `size` pixels; KeyError for another name."""
    if ENCODERS[name].hybrid:
        return _hybrid_lite0(size, classes)
    return timm.create_model(name, pretrained=False, img_size=size, num_classes=classes)


def _hybrid_lite0(size: int, classes: int) -> VisionTransformer:
    stem = timm.create_model(LITE0, pretrained=False, features_only=True, out_indices=(3,))
    stem.blocks = stem.blocks[:LITE0_STAGES_TO_STRIDE_16]
    return VisionTransformer(
        img_size=size,
        patch_size=1,
        embed_dim=ENCODERS["hybrid_lite0_vit192"].width,
        depth=4,
        num_heads=3,
        num_classes=classes,
        embed_layer=partial(HybridEmbed, stem, feature_size=(size // 16, size // 16)),
    )


def count_parameters(module: nn.Module) -> int:
    """Return the number of learnable values; works on the meta device too."""
    return sum(p.numel() for p in module.parameters())
