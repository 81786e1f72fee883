"""What is reproduced: the paper's settings, the networks of Table 4, and the cases that make up the whole."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from model.encoders import ENCODERS
from model.image_set import SliceRow

DTVIT = "dtvit"
NETWORKS = (DTVIT, "resnet18", "alexnet", "squeezenet", "densenet")
TITLES = {
    DTVIT: "DTViT",
    "resnet18": "ResNet18",
    "alexnet": "AlexNet",
    "squeezenet": "SqueezeNet",
    "densenet": "DenseNet",
}
RANDOM, APART = "random", "apart"
SPLITS = (RANDOM, APART)
SPLIT_TITLES = {RANDOM: "images at random", APART: "patients apart"}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that, with data and code, decides the tables; the defaults are the paper's (section 3.1)."""

    encoder: str = "vit_large_patch16_224"
    size: int = 224
    epochs: int = 10
    batch: int = 32
    plain_batch: int = 8  # without augmentation
    rate: float = 2e-5
    weight_decay: float = 0.01
    location_outputs: int = 3
    densenet: str = "densenet161"  # the authors' code; the paper does not say which
    share: float = 1.0
    seed: int = 0
    hub: bool = False
    weights: tuple[tuple[str, str], ...] = ()  # (network, SHA-256 of its file)

    def problems(self) -> list[str]:
        """Return a sentence for every value that cannot work; none if all can."""
        stride = ENCODERS[self.encoder].stride
        checks = {
            f"--size must be a multiple of {stride} for {self.encoder}, at least 64 (AlexNet needs 63)": (
                self.size >= 64 and self.size % stride == 0
            ),
            "--epochs, --batch and --plain-batch must be at least 1": (
                min(self.epochs, self.batch, self.plain_batch) >= 1
            ),
            "--rate must be above 0 and --weight-decay not negative": self.rate > 0 <= self.weight_decay,
            "--share must lie above 0 and at most at 1": 0 < self.share <= 1,
            "--seed must not be negative": self.seed >= 0,
        }
        return [sentence for sentence, holds in checks.items() if not holds]

    def start_of(self, network: str) -> str:
        """Return in words what the network starts from."""
        if network in dict(self.weights):
            return "pretrained weights from a file"
        return "pretrained weights from the hub" if self.hub else "from scratch (no pretrained weights)"

    def from_scratch(self) -> "Recipe":
        """Return the recipe without pretrained weights."""
        return replace(self, hub=False, weights=())

    def header(self) -> dict[str, Any]:
        """Return what stands under every table."""
        starts = {self.start_of(n) for n in NETWORKS}
        each = {TITLES[n]: self.start_of(n) for n in NETWORKS}
        return {
            "encoder": self.encoder,
            "densenet": self.densenet,
            "size": self.size,
            "epochs": self.epochs,
            "share": self.share,
            "seed": self.seed,
            "rate": self.rate,
            "batch": self.batch,
            "plain_batch": self.plain_batch,
            "location_outputs": self.location_outputs,
            "start": starts.pop() if len(starts) == 1 else each,
        }


def small(recipe: Recipe) -> Recipe:
    """Return the recipe at the size of a check: every table and both splits within an hour on two cores."""
    return replace(
        recipe, encoder="vit_small_patch16_224", densenet="densenet121", size=64, epochs=2, share=0.1
    )


@dataclass(frozen=True, kw_only=True)
class Case:
    """One training: a network, a split, with or without augmentation."""

    network: str
    split: str
    augmented: bool

    @property
    def name(self) -> str:
        """Return the name of its folder."""
        return f"{self.network}-{self.split}-{'augmented' if self.augmented else 'plain'}"

    @property
    def title(self) -> str:
        """Return its name for people."""
        how = "augmented" if self.augmented else "plain"
        return f"{TITLES[self.network]}, {SPLIT_TITLES[self.split]}, {how}"


def all_cases(networks: Sequence[str]) -> list[Case]:
    """Return the cases of these networks, DTViT first: the tables fill in the order of their interest."""
    return [
        Case(network=network, split=split, augmented=augmented)
        for network in NETWORKS
        if network in networks
        for augmented in (True, False)
        for split in SPLITS
    ]


def fingerprint(recipe: Recipe, rows: Sequence[SliceRow]) -> str:
    """Return a hash of recipe and rows: results of another plan are not taken for this one's."""
    lines = [[r.source, r.path, r.subject, r.hemorrhage, r.location] for r in rows]
    return hashlib.sha256(json.dumps([asdict(recipe), lines], sort_keys=True).encode()).hexdigest()
