"""The training loop: seeded step by step, so that a run that was killed goes on to the same weights."""

import math
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from model.errors import TrainingError
from model.manifest import InputFormat
from model.network import DTViT
from model.score import to_input
from model.train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from model.train.data import Batch, TrainingData
from model.train.feed import DrawnSlices, batches, places
from model.train.loss import dual_loss, evidence_loss
from model.train.optimizer import build_optimizer, follow, set_rates
from model.train.progress import Progress, write_curves
from model.train.ranks import Ranks
from model.train.sampler import epoch_order
from model.train.settings import TrainingSettings

CHECKPOINT_EVERY_S = 60.0
Validate = Callable[[DTViT], tuple[float, float]]
"""Gives (loss, slice AUC) of a network on the validation slices; NaN where there are none."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """Where and how a run goes, beside its settings and data.

    `workers`: processes that draw slices ahead; with none each step draws its own.
    """

    folder: Path
    fingerprint: str
    form: InputFormat
    precision: str
    validate: Validate
    ranks: Ranks = field(default_factory=Ranks)
    workers: int = 0


class Trainer:
    """One run: a network, the average of its weights that will be kept, and how far it has come."""

    def __init__(self, network: DTViT, data: TrainingData, settings: TrainingSettings, run: Run) -> None:
        self.network, self.average = network, deepcopy(network).eval()
        self._data, self._settings, self._run = data, settings, run
        self._device = next(network.parameters()).device
        self._location_prior = data.location_prior().to(self._device)
        self._optimizer = build_optimizer(network, settings)
        if run.ranks.world > settings.batch:
            raise TrainingError(f"a batch of {settings.batch} is too small for {run.ranks.world} processes")
        # whole batches: a remainder would weigh as much as they do, and leave some rank without a slice
        self._per_epoch = math.ceil((settings.samples or len(data.pictures)) / settings.batch)
        self._step, self._epoch_loss, self._precision = 0, 0.0, run.precision
        self._curves: list[dict[str, float]] = []
        self._resume()
        self._called = run.ranks.wrap(network, self._device)

    @property
    def steps(self) -> int:
        """Return the steps of the whole run."""
        return self._per_epoch * self._settings.epochs

    def train(self, *, stop_after: int | None = None) -> DTViT:
        """Run to the end, or to `stop_after` steps in all as if killed, and return the averaged network.

        Raises TrainingError when the loss is no number.
        """
        told = self._run.folder if self._run.ranks.first else None
        stop = min(self.steps, stop_after or self.steps)
        with Progress(
            told, epochs=self._settings.epochs, steps=self.steps, first_step=self._step
        ) as progress:
            while self._step < stop:
                self._train_epoch(progress, stop)
        return self.average

    def _train_epoch(self, progress: Progress, stop: int) -> None:
        epoch, place = divmod(self._step, self._per_epoch)
        started = saved = time.monotonic()
        for batch in self._batches(epoch, place, stop):
            self._epoch_loss += self._learn(batch)
            place += 1
            progress.tell(epoch=epoch + 1, step=self._step, loss=self._epoch_loss / place)
            if time.monotonic() - saved > CHECKPOINT_EVERY_S:
                self.save()
                saved = time.monotonic()
        if place == self._per_epoch:
            self._finish_epoch(epoch, time.monotonic() - started)

    def _batches(self, epoch: int, place: int, stop: int) -> Iterator[Batch]:
        """Yield this rank's part of what is left of an epoch, up to the step `stop`."""
        settings, ranks, first = self._settings, self._run.ranks, epoch * self._per_epoch
        order = epoch_order(
            self._data.weights, self._per_epoch * settings.batch, seed=settings.seed, epoch=epoch
        )
        plan = places(order, batch=settings.batch, first_step=first, rank=ranks.rank, world=ranks.world)[
            place : stop - first
        ]
        slices = DrawnSlices(data=self._data, settings=settings)
        return batches(slices, plan, workers=self._run.workers, pinned=self._device.type == "cuda")

    def _finish_epoch(self, epoch: int, seconds: float) -> None:
        # the other ranks neither validate nor write; they wait at the next step
        first = self._run.ranks.first
        validation_loss, validation_auc = self._run.validate(self.average) if first else (math.nan, math.nan)
        self._curves.append(
            {
                "epoch": epoch + 1,
                "training_loss": self._epoch_loss / self._per_epoch,
                "validation_loss": validation_loss,
                "validation_auc": validation_auc,
                "rate": self._optimizer.param_groups[0]["lr"],
                "seconds": seconds,
            }
        )
        self._epoch_loss = 0.0
        if first:
            write_curves(self._run.folder, self._curves)
        self.save()

    def _learn(self, batch: Batch) -> float:
        ranks, settings = self._run.ranks, self._settings
        torch.manual_seed((settings.seed << 32) + self._step * ranks.world + ranks.rank)  # dropout
        set_rates(self._optimizer, self._step / self.steps, settings)
        loss = self._loss(batch)
        value = ranks.mean(loss)
        if not math.isfinite(value):
            raise TrainingError(f"the loss is no number after {self._step} steps; try a lower --rate")
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self._optimizer.step()
        follow(self.average, self.network, min(settings.ema, (1 + self._step) / (10 + self._step)))
        self._step += 1
        return value

    def _loss(self, batch: Batch) -> Tensor:
        settings, cases = self._settings, self._run.ranks.cases
        held = Batch(*(tensor.to(self._device, non_blocking=True) for tensor in batch))
        self.network.train()
        # weights, gradients and losses stay float32; bfloat16 has its range, so that nothing need be scaled
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._precision == "bfloat16"):
            logits = self._called(to_input(held.pictures, self._run.form))
        slices = dual_loss(
            logits,
            held.hemorrhage,
            held.location,
            cases=cases,
            location_prior=self._location_prior,
            location_weight=settings.location_weight,
            label_smoothing=settings.label_smoothing,
        )
        patches = evidence_loss(logits.evidence, held.blood, held.known, cases=cases)
        return slices + settings.evidence_weight * patches

    def save(self) -> None:
        """Write a checkpoint of this very step; only the first rank does."""
        if not self._run.ranks.first:
            return
        checkpoint = Checkpoint(
            step=self._step,
            fingerprint=self._run.fingerprint,
            precision=self._precision,
            curves=self._curves,
            epoch_loss=self._epoch_loss,
            network=self.network.state_dict(),
            average=self.average.state_dict(),
            optimizer=self._optimizer.state_dict(),
        )
        save_checkpoint(self._run.folder, checkpoint)

    def _resume(self) -> None:
        found = load_checkpoint(self._run.folder, self._run.fingerprint)
        if found is None:
            return
        self.network.load_state_dict(found.network)
        self.average.load_state_dict(found.average)
        self._optimizer.load_state_dict(found.optimizer)
        self._step, self._epoch_loss = found.step, found.epoch_loss
        self._precision, self._curves = found.precision, found.curves
