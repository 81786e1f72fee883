"""Pretrained encoder weights from a file: safetensors, or a PyTorch state dict (tensors only)."""

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError  # noqa: TID251 - only its error, raised by the weights-only reader

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models.vision_transformer import checkpoint_filter_fn
from torch import Tensor

from model.errors import TrainingError
from model.network import LITE0, DTViT, HybridViT


def load_encoder_weights(network: DTViT, file: Path, *, hybrid: bool) -> int:
    """Load `file` into the network's encoder and return how many tensors were taken; raises TrainingError.

    For the hybrid encoder the file holds EfficientNet-Lite0, under timm's names or, tensor by tensor, in
    timm's order; for a ViT it holds timm's names, its position embedding is resampled to the picture's size.
    """
    state = read_state(file)
    if hybrid:
        return _into_stem(network, in_timm_order(state))
    encoder = network.encoder
    wanted = encoder.state_dict()
    taken = {k: v for k, v in checkpoint_filter_fn(dict(state), encoder).items() if k in wanted}
    if missing := wanted.keys() - taken.keys():
        raise TrainingError(f"{file.name}: {len(missing)} tensors are missing, first {min(missing)}")
    encoder.load_state_dict(taken)
    return len(taken)


def read_state(file: Path) -> dict[str, Tensor]:
    """Read named tensors; code inside a pickle is never run."""
    try:
        if file.suffix == ".safetensors":
            return dict(load_file(file))
        state = torch.load(file, map_location="cpu", weights_only=True)  # noqa: TID251 - tensors only
    except (OSError, SafetensorError, UnpicklingError, RuntimeError) as error:
        raise TrainingError(f"{file.name}: expected safetensors or a state dict: {error}") from error
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise TrainingError(f"{file.name}: expected a state dict of tensors")
    return dict(state)


def in_timm_order(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a Lite0 state under timm's names: as they are, or renamed in order where every shape agrees."""
    wanted = timm.create_model(LITE0, pretrained=False).state_dict()
    if state.keys() == wanted.keys():
        return dict(state)
    shapes = [tuple(t.shape) for t in state.values()]
    if shapes != [tuple(t.shape) for t in wanted.values()]:
        raise TrainingError(
            f"expected the {len(wanted)} tensors of {LITE0} in order, got {len(shapes)} others"
        )
    return dict(zip(wanted, state.values(), strict=True))


def _into_stem(network: DTViT, state: Mapping[str, Tensor]) -> int:
    assert isinstance(network.encoder, HybridViT)
    stem = network.encoder.stem
    taken = {k: state[k] for k in stem.state_dict()}
    stem.load_state_dict(taken)
    return len(taken)
