"""Bundles: write weights and manifest as a folder, and load them again, refusing whatever does not match.

Loads torch; who only lists bundles imports `read_manifest` and `bundle_sha256` from `model.manifest`.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from model.errors import BundleError
from model.manifest import (
    MANIFEST_FILE,
    WEIGHTS_FILE,
    Manifest,
    bundle_sha256,
    identity,
    parse_manifest,
    read_manifest,
)
from model.network import DTViT, HybridViT

__all__ = ["Bundle", "bundle_sha256", "load_bundle", "read_manifest", "write_bundle"]


FIRST_STEM = "encoder.patch_embed.backbone."
FIRST_LAYOUT = {FIRST_STEM: "encoder.stem.", "encoder.": "encoder.transformer."}
LOCATION_INPUT = "location.0.weight"


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A checked bundle in memory: its manifest, its network in float32 on the CPU, and its identity."""

    manifest: Manifest
    network: DTViT
    sha256: str


def stored_weights(network: DTViT) -> dict[str, Tensor]:
    """Return the weights as a bundle stores them: float16, except counters that are no floats."""
    return {
        name: (t.half() if t.is_floating_point() else t).contiguous().cpu()
        for name, t in network.state_dict().items()
    }


def write_bundle(folder: Path, manifest: Manifest, weights: Mapping[str, Tensor]) -> Manifest:
    """Write a bundle folder and return the manifest as stored, with the hash of the weights filled in."""
    content = save(dict(weights))
    stored = replace(manifest, weights_sha256=hashlib.sha256(content).hexdigest())
    parse_manifest(stored.to_json())  # never write what would be refused
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in ((WEIGHTS_FILE, content), (MANIFEST_FILE, stored.to_json().encode())):
        partial = folder / f"{name}.part"
        partial.write_bytes(part)
        partial.replace(folder / name)
    return stored


def load_bundle(folder: Path) -> Bundle:
    """Load a bundle folder and check manifest, hash, keys, shapes, finite values; raises BundleError."""
    try:
        manifest_bytes = (folder / MANIFEST_FILE).read_bytes()
        weight_bytes = (folder / WEIGHTS_FILE).read_bytes()
    except OSError as error:
        raise BundleError(f"{folder.name}: expected a readable bundle folder: {error.strerror}") from error
    manifest = parse_manifest(manifest_bytes.decode("utf-8", errors="replace"))
    found = hashlib.sha256(weight_bytes).hexdigest()
    if found != manifest.weights_sha256:
        raise BundleError(f"{WEIGHTS_FILE}: expected SHA-256 {manifest.weights_sha256}, got {found}")
    try:
        weights = load(weight_bytes)
    except SafetensorError as error:
        raise BundleError(f"{WEIGHTS_FILE}: expected safetensors: {error}") from error
    network = _fill(DTViT(manifest.encoder, manifest.input.size), weights)
    return Bundle(manifest=manifest, network=network, sha256=identity(manifest_bytes, weight_bytes))


def _from_first_layout(network: DTViT, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of bundles from before there was evidence; what they lack is 0 and says nothing.

    A hospital that promoted a network of its own keeps reading with it after an upgrade.
    """
    renamed = {}
    for name, tensor in weights.items():
        new = name
        for old, place in FIRST_LAYOUT.items():
            if name.startswith(old):
                new = place + name.removeprefix(old)
                break
        renamed[new] = tensor
    silent = {k: torch.zeros_like(v) for k, v in network.state_dict().items() if k.startswith("evidence.")}
    return renamed | silent


def _with_bloody_patches(weights: dict[str, Tensor], width: int) -> dict[str, Tensor]:
    """Widen the location's head of a bundle from before it saw the bloody patches by themselves."""
    known = weights.get(LOCATION_INPUT)
    if known is None or known.ndim != 2 or 3 * known.shape[1] != 2 * width:
        return weights
    return weights | {LOCATION_INPUT: F.pad(known, (0, width - known.shape[1]))}


def _fill(network: DTViT, weights: dict[str, Tensor]) -> DTViT:
    expected = network.state_dict()
    if isinstance(network.encoder, HybridViT) and any(k.startswith(FIRST_STEM) for k in weights):
        weights = _from_first_layout(network, weights)
    weights = _with_bloody_patches(weights, expected[LOCATION_INPUT].shape[1])
    if missing := sorted(expected.keys() - weights.keys()):
        raise BundleError(f"{WEIGHTS_FILE}: {len(missing)} tensors are missing, first {missing[0]}")
    if surplus := sorted(weights.keys() - expected.keys()):
        raise BundleError(
            f"{WEIGHTS_FILE}: {len(surplus)} tensors are not of this encoder, first {surplus[0]}"
        )
    for name, tensor in weights.items():
        if tensor.shape != expected[name].shape:
            wanted, got = tuple(expected[name].shape), tuple(tensor.shape)
            raise BundleError(f"{WEIGHTS_FILE}: {name}: expected shape {wanted}, got {got}")
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise BundleError(f"{WEIGHTS_FILE}: {name}: expected finite values")
    network.load_state_dict(weights, strict=True)  # copies into float32
    return network.eval()
