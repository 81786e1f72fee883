"""The slices of each step, drawn, augmented and stacked; in processes of their own where a GPU would wait.

What happens to a slice follows from seed, step and its place in the batch alone: not from who draws it, how
far ahead, or where a killed run goes on.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator
from torch.utils.data import DataLoader, Dataset

from model.train.augment import Augmentation, augment
from model.train.data import Batch, TrainingData
from model.train.settings import TrainingSettings

AHEAD = 4  # batches that each process may have ready


class Place(NamedTuple):
    """A slice's part in the run: `row` of the data, at `place` of the batch of `step`."""

    step: int
    place: int
    row: int


@dataclass(frozen=True, kw_only=True)
class DrawnSlices(Dataset[Batch]):
    """Training slices by their place in the run."""

    data: TrainingData
    settings: TrainingSettings

    def __getitem__(self, where: Place) -> Batch:
        seeds = np.random.SeedSequence([self.settings.seed, where.step, where.place])
        drawn = self.data.slice(where.row, self.settings, np.random.default_rng(seeds))
        random = Generator().manual_seed(int(seeds.generate_state(1, np.uint64)[0] >> np.uint64(1)))
        maps = torch.stack([drawn.blood, drawn.known])[None]
        size = self.settings.pixels
        pictures, moved = augment(drawn.pictures[None], maps, size, Augmentation(), random)
        return drawn._replace(pictures=pictures[0], blood=moved[0, 0], known=moved[0, 1])


def places(
    order: NDArray[np.intp], *, batch: int, first_step: int, rank: int = 0, world: int = 1
) -> list[list[Place]]:
    """Return this rank's part of each batch of an epoch of rows in `order` that begins at `first_step`."""
    return [
        [
            Place(first_step + start // batch, place, int(order[start + place]))
            for place in range(rank, min(batch, len(order) - start), world)
        ]
        for start in range(0, len(order), batch)
    ]


def batches(slices: DrawnSlices, plan: list[list[Place]], *, workers: int, pinned: bool) -> Iterator[Batch]:
    """Yield the batches of a plan in its order; without workers each is drawn when it is asked for."""
    return iter(
        DataLoader(
            slices,
            batch_sampler=plan,
            num_workers=workers,
            pin_memory=pinned,
            prefetch_factor=AHEAD if workers else None,
            multiprocessing_context="fork" if workers else None,  # all pictures are shared, not copied
        )
    )
