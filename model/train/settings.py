"""The settings of one training run; the defaults are our own recipe, not the paper's."""

from dataclasses import asdict, dataclass, field
from typing import Any

from model.encoders import ENCODERS

SCHEDULES = ("cosine", "constant")


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Everything that, with the data and the code, decides the weights."""

    encoder: str = "hybrid_lite0_vit192"
    size: int = 160  # pixels; 0: the encoder's own
    epochs: int = 10
    batch: int = 16  # twice the steps of 32 in the same time, and better on a hospital left out
    rate: float = 7.5e-4
    weight_decay: float = 0.02
    warm_up: float = 0.05  # share of all steps
    schedule: str = "cosine"
    pretrained_rate: float = 0.4  # times `rate`, for the hybrid's pretrained stem
    frozen_stages: int = 2  # of the hybrid's stem, counted from the picture
    ema: float = 0.99
    label_smoothing: float = 0.03
    location_weight: float = 1.0
    evidence_weight: float = 1.0
    synthetic_bleeds: float = 0.3  # share of the bleed-free slices that get a drawn bleed
    mimics: float = 0.15  # share of all slices that get something bright that is no blood
    soft_tissue: float = 0.06  # share of the bleed-free slices that become face or neck
    dropout: float = 0.1
    samples: int = 0  # per epoch; 0: as many as there are training slices
    source_weights: dict[str, float] = field(default_factory=dict)
    seed: int = 0

    def problems(self) -> list[str]:
        """Return a sentence for every value that cannot work; none if all can."""
        spec = ENCODERS[self.encoder]
        amounts = (self.samples, self.frozen_stages, self.seed)
        weights = (self.weight_decay, self.pretrained_rate, self.location_weight, self.evidence_weight)
        fractions = (self.warm_up, self.ema, self.label_smoothing, self.dropout, self.synthetic_bleeds)
        checks = {
            f"size must be a multiple of {spec.stride} for {self.encoder}": self.size >= 0
            and self.size % spec.stride == 0,
            "epochs and batch must be at least 1": self.epochs >= 1 and self.batch >= 1,
            "rate must be above 0": self.rate > 0,
            "samples, frozen stages, seed, decay, pretrained rate and the weights of losses must not be "
            "negative": min(*amounts, *weights) >= 0,
            "warm-up, ema, label smoothing, dropout and synthetic bleeds must be at least 0 and below 1": all(
                0 <= share < 1 for share in fractions
            ),
            "mimics and soft tissue must lie within 0 and 1": min(self.mimics, self.soft_tissue) >= 0
            and max(self.mimics, self.soft_tissue) <= 1,
            "synthetic bleeds and soft tissue together must not exceed 1: a slice becomes one or the other": (
                self.synthetic_bleeds + self.soft_tissue <= 1
            ),
            "schedule must be cosine or constant": self.schedule in SCHEDULES,
            "source weights must be above 0": all(w > 0 for w in self.source_weights.values()),
        }
        return [sentence for sentence, holds in checks.items() if not holds]

    @property
    def pixels(self) -> int:
        """Return the side of the network's picture."""
        return self.size or ENCODERS[self.encoder].default_size

    @property
    def stored_pixels(self) -> int:
        """Return the side of the cached picture from which an augmented one is cut."""
        return self.pixels * 4 // 3

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as the manifest keeps them."""
        return asdict(self) | {"size": self.pixels}
