"""The encoders that a bundle may name; anything else is refused. No torch: manifests are read without it."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """Describe one allowed encoder: its token width and the pixels that one token stands for.

    `hybrid`: a convolutional stem stands before the transformer, and the evidence is twice as fine.
    """

    width: int
    stride: int
    default_size: int
    hybrid: bool = False


ENCODERS: dict[str, Encoder] = {
    "vit_huge_patch14_224": Encoder(width=1280, stride=14, default_size=224),
    "vit_large_patch16_224": Encoder(width=1024, stride=16, default_size=224),  # the paper's, Table 2
    "vit_base_patch16_224": Encoder(width=768, stride=16, default_size=224),
    "vit_small_patch16_224": Encoder(width=384, stride=16, default_size=224),
    "vit_tiny_patch16_224": Encoder(width=192, stride=16, default_size=224),
    # EfficientNet-Lite0 up to stride 16, then four transformer blocks: sees from the first step, small
    "hybrid_lite0_vit192": Encoder(width=192, stride=16, default_size=144, hybrid=True),
}
