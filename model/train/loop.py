"""The training loop: seeded step by step, so that a run that was killed goes on to the same weights."""

import math
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from model.errors import TrainingError
from model.manifest import InputFormat
from model.network import DTViT
from model.score import to_input
from model.train.augment import Augmentation, augment
from model.train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from model.train.data import TrainingData
from model.train.loss import dual_loss, evidence_loss
from model.train.optimizer import build_optimizer, follow, set_rates
from model.train.progress import Progress, write_curves
from model.train.sampler import epoch_order
from model.train.settings import TrainingSettings

CHECKPOINT_EVERY_S = 60.0
Validate = Callable[[DTViT], tuple[float, float]]
"""Gives (loss, slice AUC) of a network on the validation slices; NaN where there are none."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """Where and how a run goes, beside its settings and data."""

    folder: Path
    fingerprint: str
    form: InputFormat
    precision: str
    validate: Validate


class Trainer:
    """One run: a network, the average of its weights that will be kept, and how far it has come."""

    def __init__(self, network: DTViT, data: TrainingData, settings: TrainingSettings, run: Run) -> None:
        self.network, self.average = network, deepcopy(network).eval()
        self._data, self._settings, self._run = data, settings, run
        self._device = next(network.parameters()).device
        self._optimizer = build_optimizer(network, settings)
        self._count = settings.samples or len(data.pictures)
        self._per_epoch = math.ceil(self._count / settings.batch)
        self._step, self._epoch_loss, self._precision = 0, 0.0, run.precision
        self._curves: list[dict[str, float]] = []
        self._resume()

    @property
    def steps(self) -> int:
        """Return the steps of the whole run."""
        return self._per_epoch * self._settings.epochs

    def train(self, *, stop_after: int | None = None) -> DTViT:
        """Run to the end, or to `stop_after` steps in all as if killed, and return the averaged network.

        Raises TrainingError when the loss is no number.
        """
        progress = Progress(
            self._run.folder, epochs=self._settings.epochs, steps=self.steps, first_step=self._step
        )
        while self._step < min(self.steps, stop_after or self.steps):
            self._train_epoch(progress, stop_after or self.steps)
        return self.average

    def _train_epoch(self, progress: Progress, stop_after: int) -> None:
        epoch, place = divmod(self._step, self._per_epoch)
        order = epoch_order(self._data.weights, self._count, seed=self._settings.seed, epoch=epoch)
        started = saved = time.monotonic()
        batch = self._settings.batch
        for place in range(place, self._per_epoch):  # noqa: B020 - goes on where the epoch was left
            if self._step >= stop_after:
                return
            self._epoch_loss += self._learn(order[place * batch : (place + 1) * batch])
            progress.tell(epoch=epoch + 1, step=self._step, loss=self._epoch_loss / (place + 1))
            if time.monotonic() - saved > CHECKPOINT_EVERY_S:
                self.save()
                saved = time.monotonic()
        self._finish_epoch(epoch, time.monotonic() - started)

    def _finish_epoch(self, epoch: int, seconds: float) -> None:
        validation_loss, validation_auc = self._run.validate(self.average)
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
        write_curves(self._run.folder, self._curves)
        self.save()

    def _learn(self, rows: NDArray[np.intp]) -> float:
        torch.manual_seed((self._settings.seed << 32) + self._step)  # dropout
        set_rates(self._optimizer, self._step / self.steps, self._settings)
        loss = self._loss(rows)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(f"the loss is no number after {self._step} steps; try a lower --rate")
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self._optimizer.step()
        follow(self.average, self.network, min(self._settings.ema, (1 + self._step) / (10 + self._step)))
        self._step += 1
        return value

    def _loss(self, rows: NDArray[np.intp]) -> Tensor:
        settings = self._settings
        batch = self._data.batch(rows, settings, np.random.default_rng([settings.seed, self._step]))
        random = Generator().manual_seed((settings.seed << 32) + self._step)
        maps = torch.stack([batch.blood, batch.known], dim=1)
        pictures, moved = augment(batch.pictures, maps, settings.pixels, Augmentation(), random)
        self.network.train()
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._precision == "bfloat16"):
            logits = self.network(to_input(pictures.to(self._device), self._run.form))
        slices = dual_loss(
            logits,
            batch.hemorrhage.to(self._device),
            batch.location.to(self._device),
            location_weight=settings.location_weight,
            label_smoothing=settings.label_smoothing,
        )
        patches = evidence_loss(logits.evidence, moved[:, 0].to(self._device), moved[:, 1].to(self._device))
        return slices + settings.evidence_weight * patches

    def save(self) -> None:
        """Write a checkpoint of this very step."""
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
