"""What a step learns from: slices, what is drawn on them, and what is known of every pixel."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from model.image_set import Box, SliceRow
from model.manifest import LOCATIONS
from model.train.cache import Pictures, PreparedSlices, prepared_boxes
from model.train.loss import IGNORED
from model.train.settings import TrainingSettings
from model.train.synthesis import draw_bleed, draw_bright_mimic, draw_soft_tissue

Map = NDArray[np.float32]

PATIENT_LABEL = 0.92
"""Probability that a slice bleeds whose label is its patient's: a doctor chose it, but did not mark it."""
RAREST = 0.05  # share of a location below which it is not taken for rarer: few slices teach little
SURE_PART = 0.75  # of a box, about its center: the ellipse that surely holds blood
DOUBTFUL_PART = 1.15  # of a box: what lies outside surely holds none


class Batch(NamedTuple):
    """A step's slices: `pictures`, `blood`, `known` (B, S, S), 0..1; `hemorrhage`, `location` (B,).

    `blood` is where blood is, `known` where that is known at all; the others as `dual_loss` takes them.
    A single slice is the same without the first axis.
    """

    pictures: Tensor
    blood: Tensor
    known: Tensor
    hemorrhage: Tensor
    location: Tensor


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """Training slices: bytes (N, S, S), targets (N,), boxes of each, and how often each is drawn."""

    pictures: Pictures
    hemorrhage: Tensor
    location: Tensor
    boxes: list[list[Box] | None]
    weights: NDArray[np.float64]

    def location_prior(self) -> Tensor:
        """Return how often each location (3,) is drawn among located bleeds, at least RAREST.

        One that no slice has counts as 1: what was never seen must not be answered more often.
        """
        located = (self.hemorrhage > 0.5) & (self.location != IGNORED)
        drawn = torch.from_numpy(self.weights)[located]
        mass = torch.bincount(self.location[located], drawn, minlength=len(LOCATIONS)).float()
        share = (mass / mass.sum().clamp(min=1e-12)).clamp(min=RAREST)
        return torch.where(mass > 0, share, 1.0)

    def slice(self, row: int, settings: TrainingSettings, random: Generator) -> Batch:
        """Return one slice, perhaps drawn upon."""
        picture = self.pictures[row].astype(np.float32) / np.float32(255)
        hemorrhage = float(self.hemorrhage[row])
        blood, known = pixel_maps(picture.shape, hemorrhage, self.boxes[row])
        if random.random() < settings.mimics:
            picture = draw_bright_mimic(picture, random)
        if hemorrhage == 0.0:
            chance = random.random()
            if chance < settings.synthetic_bleeds and (drawn := draw_bleed(picture, random)):
                return _one(drawn.picture, drawn.blood.astype(np.float32), known, 1.0, IGNORED)
            if chance > 1 - settings.soft_tissue:
                picture = draw_soft_tissue(picture, random)
        return _one(picture, blood, known, hemorrhage, int(self.location[row]))


def _one(picture: Map, blood: Map, known: Map, hemorrhage: float, location: int) -> Batch:
    return Batch(
        pictures=torch.from_numpy(picture),
        blood=torch.from_numpy(blood),
        known=torch.from_numpy(known),
        hemorrhage=torch.tensor(hemorrhage, dtype=torch.float32),
        location=torch.tensor(location),
    )


def pixel_maps(shape: tuple[int, ...], hemorrhage: float, boxes: list[Box] | None) -> tuple[Map, Map]:
    """Return where a slice holds blood and where that is known, from its label and boxes."""
    blood, known = np.zeros(shape, dtype=np.float32), np.ones(shape, dtype=np.float32)
    if hemorrhage == 0.0:
        return blood, known
    if not boxes:  # somewhere, or not even that
        return blood, np.zeros(shape, dtype=np.float32)
    y, x = (np.mgrid[: shape[0], : shape[1]] + 0.5) / np.array(shape).reshape(2, 1, 1)
    for x0, y0, x1, y1 in boxes:
        u = (2 * x - x0 - x1) / max(x1 - x0, 1e-6)  # -1..1 within the box
        v = (2 * y - y0 - y1) / max(y1 - y0, 1e-6)
        known[np.maximum(abs(u), abs(v)) <= DOUBTFUL_PART] = 0
        blood[np.hypot(u, v) <= SURE_PART] = 1
    known[blood > 0] = 1
    return blood, known


def training_data(
    rows: Sequence[SliceRow], prepared: PreparedSlices, weights: NDArray[np.float64]
) -> TrainingData:
    """Put together what is learned from: rows, their prepared slices, and the probability of each."""
    of_patients = patient_labelled(rows)
    return TrainingData(
        pictures=prepared.pictures,
        hemorrhage=torch.tensor([_target(r, of_patients) for r in rows]),
        location=torch.tensor([IGNORED if r.location is None else LOCATIONS.index(r.location) for r in rows]),
        boxes=[
            None if r.boxes is None else prepared_boxes(r.boxes, frame)
            for r, frame in zip(rows, prepared.frames, strict=True)
        ],
        weights=weights,
    )


def _target(row: SliceRow, of_patients: frozenset[str]) -> float:
    if row.hemorrhage is None:
        return float("nan")
    return PATIENT_LABEL if row.hemorrhage and row.source in of_patients else float(row.hemorrhage)


def patient_labelled(rows: Sequence[SliceRow]) -> frozenset[str]:
    """Return the sources whose slices bear their patient's label: no bleeding patient has a clean slice."""
    labels: dict[str, dict[str, set[int | None]]] = defaultdict(lambda: defaultdict(set))
    for row in rows:
        labels[row.source][row.subject].add(row.hemorrhage)
    return frozenset(
        source
        for source, people in labels.items()
        if any(1 in found for found in people.values())
        and not any({0, 1} <= found for found in people.values())
    )
