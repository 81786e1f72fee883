"""Checkpoints without pickle: tensors as safetensors, everything else as JSON, replaced atomically."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from model.errors import TrainingError

FILE = "checkpoint.safetensors"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state of a run after `step` steps; random numbers need none, they follow from seed and step."""

    step: int
    fingerprint: str
    precision: str
    curves: list[dict[str, float]]
    epoch_loss: float
    network: dict[str, Tensor]
    average: dict[str, Tensor]
    optimizer: dict[str, Any]


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write the checkpoint beside the old one and replace it: a kill leaves one or the other whole."""
    tensors = {f"network/{k}": v for k, v in checkpoint.network.items()}
    tensors |= {f"average/{k}": v for k, v in checkpoint.average.items()}
    for number, state in checkpoint.optimizer["state"].items():
        tensors |= {f"optimizer/{number}/{k}": torch.as_tensor(v) for k, v in state.items()}
    facts = {
        "step": checkpoint.step,
        "fingerprint": checkpoint.fingerprint,
        "precision": checkpoint.precision,
        "curves": checkpoint.curves,
        "epoch_loss": checkpoint.epoch_loss,
        "groups": checkpoint.optimizer["param_groups"],
    }
    partial = folder / (FILE + ".part")
    save_file(
        {k: v.detach().cpu().contiguous() for k, v in tensors.items()}, partial, {"facts": json.dumps(facts)}
    )
    partial.replace(folder / FILE)


def load_checkpoint(folder: Path, fingerprint: str) -> Checkpoint | None:
    """Load the checkpoint of an interrupted run; None without one, TrainingError if it is of another run."""
    file = folder / FILE
    if not file.exists():
        return None
    try:
        tensors = load_file(file)
        facts = json.loads(_facts(file))
    except (OSError, SafetensorError, ValueError) as error:
        raise TrainingError(f"{file.name}: cannot be read: {error}") from error
    if facts["fingerprint"] != fingerprint:
        raise TrainingError(
            f"{file.name}: belongs to a run with other settings or data; choose another --out"
        )
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _part(tensors, "optimizer/").items():
        number, key = name.split("/")
        state.setdefault(int(number), {})[key] = tensor
    return Checkpoint(
        step=facts["step"],
        fingerprint=fingerprint,
        precision=facts["precision"],
        curves=facts["curves"],
        epoch_loss=facts["epoch_loss"],
        network=_part(tensors, "network/"),
        average=_part(tensors, "average/"),
        optimizer={"state": state, "param_groups": facts["groups"]},
    )


def _facts(file: Path) -> str:
    with safe_open(file, framework="pt") as opened:
        return str(opened.metadata()["facts"])


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
