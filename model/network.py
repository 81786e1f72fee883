"""DTViT (paper section 2.3): one timm encoder, two MLP heads, and a map of where the blood would be."""

from typing import NamedTuple

import timm
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from model.encoders import ENCODERS
from model.manifest import HEMORRHAGE_CLASSES, LOCATIONS

LITE0 = "tf_efficientnet_lite0"
LITE0_STAGES_TO_STRIDE_16 = 5  # of seven; the fifth ends at stride 16
FINE_CHANNELS, COARSE_CHANNELS = 40, 112  # of Lite0 at strides 8 and 16
EVIDENCE_WIDTH = 64
EVIDENCE_PRIOR = -3.0  # log odds of blood in a patch before anything is learned: about one in twenty
NO_BLOOD = 1e-6  # share of a patch: where none holds more, all count alike
HOTTEST = 3  # patches whose evidence speaks for the slice: a small bleed fills no more


class Logits(NamedTuple):
    """What DTViT says of pictures: `hemorrhage` (B, 2), `location` (B, 3), `evidence` (B, G, G).

    `evidence` holds the log odds of blood in each patch of the picture, row by row.
    """

    hemorrhage: Tensor
    location: Tensor
    evidence: Tensor


class HybridViT(nn.Module):
    """EfficientNet-Lite0 up to stride 16, then four transformer blocks: small, sees from the first step."""

    def __init__(self, size: int, width: int, classes: int) -> None:
        super().__init__()
        self.stem = timm.create_model(LITE0, pretrained=False, features_only=True, out_indices=(2, 3))
        self.stem.blocks = self.stem.blocks[:LITE0_STAGES_TO_STRIDE_16]
        self.transformer = VisionTransformer(
            img_size=size // 16,
            patch_size=1,
            in_chans=COARSE_CHANNELS,
            embed_dim=width,
            depth=4,
            num_heads=3,
            num_classes=classes,
        )

    def look(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return tokens (B, 1 + patches, width) at stride 16 and features (B, 40, G, G) at stride 8."""
        fine, coarse = self.stem(pictures)
        return self.transformer.forward_features(coarse), fine

    def forward_features(self, pictures: Tensor) -> Tensor:
        """Return the tokens alone, as timm's encoders do."""
        return self.look(pictures)[0]


class EvidenceHead(nn.Module):
    """Tell for every patch how likely it holds blood, from its token and, with a stem, finer features."""

    def __init__(self, width: int, fine_channels: int) -> None:
        super().__init__()
        self.coarse = nn.Conv2d(width, EVIDENCE_WIDTH, 1)
        self.fine = nn.Conv2d(fine_channels, EVIDENCE_WIDTH, 1) if fine_channels else None
        self.mix = nn.Conv2d(EVIDENCE_WIDTH, EVIDENCE_WIDTH, 3, padding=1, groups=EVIDENCE_WIDTH)
        self.answer = nn.Conv2d(EVIDENCE_WIDTH, 1, 1)
        nn.init.constant_(self.answer.bias, EVIDENCE_PRIOR)  # type: ignore[arg-type]

    def forward(self, patches: Tensor, fine: Tensor | None) -> Tensor:
        """Return (B, G, G) from patch tokens (B, N, width) of a square and features (B, C, G, G)."""
        side = round(patches.shape[1] ** 0.5)
        mixed = self.coarse(patches.transpose(1, 2).unflatten(2, (side, side)))
        if self.fine is not None and fine is not None:
            mixed = F.interpolate(mixed, size=fine.shape[-2:], mode="nearest") + self.fine(fine)
        answer: Tensor = self.answer(F.gelu(mixed + self.mix(F.gelu(mixed))))
        return answer[:, 0]


class DTViT(nn.Module):
    """Judge prepared slices (B, 3, S, S): is there a hemorrhage, where does it lie, which patches show it.

    The heads see the class token beside the strongest answer of any patch, and the hemorrhage's log odds
    rise with the hottest patches of the evidence: a small bleed fills one or two. The location's head also
    sees the patches that hold the blood, by themselves.
    """

    def __init__(self, encoder: str, size: int, *, dropout: float = 0.1) -> None:
        super().__init__()
        self.encoder = build_encoder(encoder, size)
        width = ENCODERS[encoder].width
        self.hemorrhage = _head(2 * width, width, len(HEMORRHAGE_CLASSES), dropout)
        self.location = _head(3 * width, width, len(LOCATIONS), dropout)
        self.evidence = EvidenceHead(width, FINE_CHANNELS if ENCODERS[encoder].hybrid else 0)

    def forward(self, pictures: Tensor) -> Logits:
        tokens, fine = look(self.encoder, pictures)
        evidence = self.evidence(tokens[:, 1:], fine)
        features = torch.cat([tokens[:, 0], tokens[:, 1:].amax(dim=1)], dim=1)
        hemorrhage = self.hemorrhage(features)
        hottest = evidence.flatten(1).topk(min(HOTTEST, evidence[0].numel()), dim=1).values.mean(dim=1)
        present = torch.stack([torch.zeros_like(hottest), hottest], dim=1)
        location = self.location(torch.cat([features, bloody_token(tokens[:, 1:], evidence)], dim=1))
        return Logits(hemorrhage + present, location, evidence)


def bloody_token(patches: Tensor, evidence: Tensor) -> Tensor:
    """Return the mean (B, width) of patch tokens (B, N, width), each weighed by how much blood it holds.

    The location does not teach the evidence (B, G, G): blood lies where boxes say it does.
    """
    side = round(patches.shape[1] ** 0.5)
    share = F.adaptive_avg_pool2d(evidence.detach().float().sigmoid(), side).flatten(1) + NO_BLOOD
    weight = (share / share.sum(dim=1, keepdim=True)).to(patches.dtype)
    return torch.einsum("bn,bnw->bw", weight, patches)


def _head(width_in: int, width: int, classes: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width_in, width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, classes)
    )


def look(encoder: VisionTransformer | HybridViT, pictures: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return an encoder's tokens (B, 1 + patches, width) and, of a hybrid, its finer features."""
    if isinstance(encoder, HybridViT):
        return encoder.look(pictures)
    return encoder.forward_features(pictures), None


def build_encoder(name: str, size: int, *, classes: int = 0) -> VisionTransformer | HybridViT:
    """Build an allowed encoder, untrained, for pictures of `size` pixels; KeyError for another name."""
    if ENCODERS[name].hybrid:
        return HybridViT(size, ENCODERS[name].width, classes)
    return timm.create_model(name, pretrained=False, img_size=size, num_classes=classes)


def evidence_side(encoder: str, size: int) -> int:
    """Return G, the side of the evidence map for pictures of `size` pixels."""
    spec = ENCODERS[encoder]
    return size // spec.stride * (2 if spec.hybrid else 1)


def count_parameters(module: nn.Module) -> int:
    """Return the number of learnable values; works on the meta device too."""
    return sum(p.numel() for p in module.parameters())
