"""One training run from tables to bundle; the shell that `python -m model.train` calls."""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model.bundle import Bundle, load_bundle
from model.device import bfloat16_pays
from model.encoders import ENCODERS
from model.errors import TrainingError
from model.evaluate.run import spare_workers
from model.image_set import SliceRow, read_tables
from model.manifest import InputFormat, Manifest
from model.network import DTViT
from model.pretrained import load_encoder_weights
from model.score import score_pictures, to_input
from model.statistics import auc
from model.train.anchor import hold_level
from model.train.cache import prepare_all
from model.train.data import TrainingData, training_data
from model.train.finish import Validation, check_validation, finish, first_manifest, too_few_to_refit
from model.train.loop import Run, Trainer, Validate
from model.train.loss import dual_loss
from model.train.ranks import Ranks, joined
from model.train.sampler import sampling_weights
from model.train.settings import TrainingSettings
from model.window import PREPARATION_VERSION

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # the paper's, section 2.2.3
LITE0_MEAN, LITE0_STD = (127 / 255,) * 3, (128 / 255,) * 3


@dataclass(frozen=True, kw_only=True)
class Order:
    """What the command line asks for, beside the settings."""

    tables: tuple[Path, ...]
    out: Path
    name: str
    weights: Path | None
    init: Path | None
    device: str | None
    precision: str
    workers: int | None = None
    cache: Path | None = None


def run_training(order: Order, settings: TrainingSettings) -> Manifest | None:
    """Train, calibrate and write the bundle into the order's folder; raises ModelError.

    Under torchrun all processes train together and the first one writes; the others return None.
    """
    with joined(order.device) as (ranks, device):
        return train_rows(order, settings, read_tables(order.tables), ranks=ranks, device=device)


def train_rows(
    order: Order, settings: TrainingSettings, rows: Sequence[SliceRow], *, ranks: Ranks, device: torch.device
) -> Manifest | None:
    """Train on these rows instead of the order's tables; the rest as `run_training`."""
    parent = load_bundle(order.init) if order.init else None
    if parent:
        settings = continued(settings, parent.manifest)
    training = [r for r in rows if r.split == "train" and r.hemorrhage is not None]
    if not training:
        raise TrainingError("no training slices with a known hemorrhage; look at the split column")
    check_validation([r for r in rows if r.split == "val"], parent)  # before hours of training, not after
    order.out.mkdir(parents=True, exist_ok=True)
    workers = order.workers or (spare_workers() if device.type == "cuda" else 1)
    network = start_network(settings, parent, order.weights).to(device)
    form = parent.manifest.input if parent else input_format(settings)
    # the first rank alone validates
    validation = [r for r in rows if r.split == "val" and ranks.first]
    held = prepare_all(validation, settings.pixels, workers=workers, folder=order.cache)
    pictures = held.pictures.astype(np.float32) / np.float32(255)
    run = Run(
        folder=order.out,
        fingerprint=fingerprint(order, settings, rows),
        form=form,
        precision=ranks.agreed(choose_precision(order.precision, network, form, device)),
        validate=validator(validation, pictures, form),
        ranks=ranks,
        workers=workers if device.type == "cuda" else 0,  # a CPU draws no faster beside its own learning
    )
    trainer = Trainer(network, _training_data(order, settings, training, (ranks, workers)), settings, run)
    trained = trainer.train()
    if not ranks.first:
        return None
    if order.init and too_few_to_refit(validation):
        # loaded anew: the parent in hand is what was trained
        hold_level(trained, load_bundle(order.init).network.to(device), pictures, form)
    manifest = first_manifest(order.name, settings, form, training, parent)
    kept_apart = Validation(rows=validation, pictures=pictures, frames=held.frames)
    return finish(trained, kept_apart, form, manifest, folder=order.out, parent=parent)


def continued(settings: TrainingSettings, parent: Manifest) -> TrainingSettings:
    """Return the settings of a run that goes on from a parent: its encoder, and its kind of picture."""
    return replace(settings, encoder=parent.encoder, size=parent.input.size)


def _training_data(
    order: Order, settings: TrainingSettings, rows: Sequence[SliceRow], who: tuple[Ranks, int]
) -> TrainingData:
    ranks, workers = who
    if not ranks.first:
        ranks.wait()  # what the first rank has prepared lies in the cache by then, where there is one
    prepared = prepare_all(rows, settings.stored_pixels, workers=workers, folder=order.cache)
    if ranks.first:
        ranks.wait()
    return training_data(rows, prepared, sampling_weights(rows, settings))


def start_network(settings: TrainingSettings, parent: Bundle | None, weights: Path | None) -> DTViT:
    """Return the network to begin with: the parent's, or a seeded one with a pretrained encoder."""
    if parent is not None:
        return parent.network
    torch.manual_seed(settings.seed)
    network = DTViT(settings.encoder, settings.pixels, dropout=settings.dropout)
    if weights is not None:
        load_encoder_weights(network, weights, hybrid=ENCODERS[settings.encoder].hybrid)
    return network.to(memory_format=torch.channels_last)


def input_format(settings: TrainingSettings) -> InputFormat:
    """Return the encoder's own normalization: what its pretrained weights saw."""
    hybrid = ENCODERS[settings.encoder].hybrid
    mean, std = (LITE0_MEAN, LITE0_STD) if hybrid else (IMAGENET_MEAN, IMAGENET_STD)
    return InputFormat(size=settings.pixels, mean=mean, std=std)


def validator(rows: Sequence[SliceRow], pictures: NDArray[np.float32], form: InputFormat) -> Validate:
    """Return what gives (hemorrhage loss, slice AUC) on the validation slices of known hemorrhage."""
    known = [i for i, r in enumerate(rows) if r.hemorrhage is not None]
    labels = np.array([rows[i].hemorrhage for i in known], dtype=np.int64)

    def validate(network: DTViT) -> tuple[float, float]:
        if not known:
            return math.nan, math.nan
        logit = score_pictures(network, pictures[known], form, 1.0).logit
        loss = np.logaddexp(0.0, np.where(labels == 1, -logit, logit)).mean()
        area = auc(labels, logit)
        return float(loss), math.nan if area is None else area

    return validate


def choose_precision(asked: str, network: DTViT, form: InputFormat, device: torch.device) -> str:
    """Return float32 or bfloat16: as asked, or for `auto` what is faster with this network on this device."""
    if asked != "auto":
        return asked
    pictures = to_input(torch.rand(4, form.size, form.size, device=device), form)
    bleeds, places = torch.ones(4, device=device), torch.zeros(4, dtype=torch.long, device=device)

    def work(dtype: torch.dtype) -> None:
        network.eval()  # no running statistics may move
        with torch.autocast(device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
            logits = network(pictures)
        dual_loss(logits, bleeds, places).backward()
        network.zero_grad(set_to_none=True)

    return "bfloat16" if bfloat16_pays(device, work) else "float32"


def fingerprint(order: Order, settings: TrainingSettings, rows: Sequence[SliceRow]) -> str:
    """Return a hash of settings, start and rows: a checkpoint of another run is not gone on from."""
    facts = [settings.to_dict(), str(order.weights), str(order.init), PREPARATION_VERSION]
    lines = [[r.source, r.path, r.subject, r.hemorrhage, r.location, r.split, r.boxes] for r in rows]
    return hashlib.sha256(json.dumps([facts, lines], sort_keys=True).encode()).hexdigest()
