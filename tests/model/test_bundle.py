"""Bundles: what was written comes back, and whatever does not match is refused with a reason."""

import json
import subprocess
import sys

import pytest
import torch
from model_builders import TINY, TINY_SIZE, tiny_bundle, tiny_manifest
from safetensors.torch import load_file, save_file

from model.bundle import load_bundle, stored_weights, write_bundle
from model.errors import BundleError
from model.manifest import Thresholds, bundle_sha256, read_manifest
from model.network import DTViT
from model.window import PREPARATION_VERSION


def test_a_bundle_comes_back_as_it_was_written(tmp_path):
    torch.manual_seed(3)
    network = DTViT(TINY, TINY_SIZE)

    manifest = write_bundle(tmp_path, tiny_manifest(), stored_weights(network))
    bundle = load_bundle(tmp_path)

    assert bundle.manifest == manifest == read_manifest(tmp_path)
    assert bundle.sha256 == bundle_sha256(tmp_path)
    for name, tensor in bundle.network.state_dict().items():
        assert tensor.dtype in (torch.float32, torch.int64)
        assert torch.equal(tensor, network.state_dict()[name].half().to(tensor.dtype)), name


def test_the_identity_covers_manifest_and_weights(tmp_path):
    one = bundle_sha256(tiny_bundle(tmp_path / "one"))
    same = bundle_sha256(tiny_bundle(tmp_path / "same"))
    other = bundle_sha256(tiny_bundle(tmp_path / "other", study_thresholds=Thresholds(low=0.2, high=0.71)))

    assert one == same
    assert one != other


def test_a_bundle_that_learned_without_skin_is_still_read_and_says_so(tmp_path):
    tiny_bundle(tmp_path, preparation_version=1)

    assert load_bundle(tmp_path).manifest.preparation_version == 1


@pytest.mark.parametrize("place", [0.1, 0.5, 0.99])
def test_one_flipped_byte_of_the_weights_is_refused(tmp_path, place):
    file = tiny_bundle(tmp_path) / "weights.safetensors"
    content = bytearray(file.read_bytes())
    content[int(len(content) * place)] ^= 1
    file.write_bytes(content)

    with pytest.raises(BundleError, match="SHA-256"):
        load_bundle(tmp_path)


CHANGES = [
    ("schema", 2),
    ("schema", None),
    ("name", "../escape"),
    ("name", ""),
    ("created", "yesterday"),
    ("created", "2026-11-24T12:00:00"),
    ("encoder", "resnet18"),
    ("encoder", "vit_tiny_patch16_224"),
    ("input.size", 33),
    ("input.size", 48),
    ("input.size", True),
    ("input.mean", [0.5]),
    ("input.std", [0.5, 0.5, 0.0]),
    ("input.window.width", 100),
    ("input.channels", 1),
    ("classes.location", ["lobar", "deep", "subtentorial"]),
    ("preparation_version", 0),
    ("preparation_version", PREPARATION_VERSION + 1),
    ("thresholds.slice.low", -0.1),
    ("thresholds.study.high", 1.1),
    ("thresholds.study.low", 0.9),
    ("thresholds.study", None),
    ("aggregation", "max"),
    ("temperature", 0),
    ("temperature", "1"),
    ("prevalence_in_training", 2),
    ("training", {}),
    ("training.sources", "drawn"),
    ("metrics", []),
    ("licence", ""),
    ("parent", "abc"),
    ("weights_sha256", "0" * 64),
]


@pytest.mark.parametrize(("field", "value"), CHANGES, ids=[f"{f}={v}"[:40] for f, v in CHANGES])
def test_a_changed_manifest_is_refused(tmp_path, field, value):
    file = tiny_bundle(tmp_path) / "manifest.json"
    document = json.loads(file.read_text())
    *path, last = field.split(".")
    inner = document
    for key in path:
        inner = inner[key]
    inner[last] = value
    file.write_text(json.dumps(document))

    with pytest.raises(BundleError):
        load_bundle(tmp_path)


def test_every_field_of_the_manifest_is_needed(tmp_path):
    text = (tiny_bundle(tmp_path) / "manifest.json").read_text()
    for key in json.loads(text).keys() - {"heat_map"}:
        document = json.loads(text)
        del document[key]
        (tmp_path / "manifest.json").write_text(json.dumps(document))

        with pytest.raises(BundleError, match=key):
            load_bundle(tmp_path)


def test_a_bundle_from_before_there_was_evidence_still_reads_and_shows_no_heat_map(tmp_path):
    tiny_bundle(tmp_path)
    network = load_bundle(tmp_path).network
    torch.nn.init.zeros_(network.evidence.answer.weight)
    torch.nn.init.zeros_(network.evidence.answer.bias)
    first_input = network.location[0].in_features * 2 // 3
    network.location[0].weight.data[:, first_input:] = 0.0
    pictures = torch.rand(2, 3, TINY_SIZE, TINY_SIZE)
    weights = {
        name.replace("encoder.stem.", "encoder.patch_embed.backbone.").replace(
            "encoder.transformer.", "encoder."
        ): t
        for name, t in stored_weights(network).items()
        if not name.startswith("evidence.")
    }
    weights["location.0.weight"] = weights["location.0.weight"][:, :first_input].contiguous()
    write_bundle(tmp_path, tiny_manifest(), weights)
    document = json.loads((tmp_path / "manifest.json").read_text())
    del document["heat_map"]
    (tmp_path / "manifest.json").write_text(json.dumps(document))

    old = load_bundle(tmp_path)

    assert torch.equal(old.network(pictures).hemorrhage, network(pictures).hemorrhage)
    assert torch.equal(old.network(pictures).location, network(pictures).location)
    assert not old.manifest.heat_map


def test_a_bundle_from_before_the_location_saw_the_bloody_patches_still_reads(tmp_path):
    tiny_bundle(tmp_path)
    network = load_bundle(tmp_path).network
    first_input = network.location[0].in_features * 2 // 3
    network.location[0].weight.data[:, first_input:] = 0.0
    weights = stored_weights(network)
    weights["location.0.weight"] = weights["location.0.weight"][:, :first_input].contiguous()
    write_bundle(tmp_path, tiny_manifest(), weights)
    pictures = torch.rand(2, 3, TINY_SIZE, TINY_SIZE)

    old = load_bundle(tmp_path)

    assert torch.equal(old.network(pictures).location, network(pictures).location)


def test_tensors_of_another_shape_or_number_are_refused(tmp_path):
    tiny_bundle(tmp_path)
    weights = {k: v.clone() for k, v in load_file(tmp_path / "weights.safetensors").items()}
    name = "hemorrhage.0.weight"
    broken = {
        "shape": weights | {name: weights[name][:, :-1].contiguous()},
        "missing": {k: v for k, v in weights.items() if k != name},
        "not of this encoder": weights | {"extra": torch.zeros(1)},
        "finite": weights | {name: torch.full_like(weights[name], float("nan"))},
    }

    for reason, tensors in broken.items():
        write_bundle(tmp_path, tiny_manifest(), tensors)
        with pytest.raises(BundleError, match=reason):
            load_bundle(tmp_path)


def test_weights_that_are_no_safetensors_are_refused(tmp_path):
    tiny_bundle(tmp_path)
    save_file({"a": torch.zeros(1)}, tmp_path / "weights.safetensors")
    with pytest.raises(BundleError):
        load_bundle(tmp_path)
    (tmp_path / "weights.safetensors").unlink()
    with pytest.raises(BundleError, match="readable"):
        load_bundle(tmp_path)
    with pytest.raises(BundleError, match="readable"):
        load_bundle(tmp_path / "nowhere")


def test_a_manifest_that_would_be_refused_is_not_written(tmp_path):
    with pytest.raises(BundleError, match="low"):
        tiny_bundle(tmp_path, slice_thresholds=Thresholds(low=0.8, high=0.2))

    assert not list(tmp_path.iterdir())


def test_manifests_are_read_without_torch():
    code = "import sys, model.manifest, model.volume, model.brain, model.brace; print('torch' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"
