"""The predictor: a volume in, scores out, or a refusal; never a number that is none."""

import dataclasses

import numpy as np
import pytest
import torch
from model_builders import drawn_volume, tiny_bundle

from model.errors import BundleError, ModelError, ModelFailure
from model.manifest import bundle_sha256
from model.predict import Predictor
from model.volume import Volume


@pytest.fixture
def predictor(tmp_path):
    return Predictor.load(tiny_bundle(tmp_path / "bundle", heat_map=True), "cpu")


def test_a_prediction_holds_what_the_node_needs(predictor, tmp_path):
    stages, steps = [], []

    found = predictor.predict(drawn_volume(20), progress=lambda *s: steps.append(s), at=stages.append)

    assert stages == ["brace", "predict"]
    assert steps[-1] == (20, 20)
    assert 0 <= found.score <= 1
    assert found.slice_scores.shape == (20,)
    assert sum(found.location_scores.values()) == pytest.approx(1)
    assert 1 <= len(found.key_slices) <= 5
    scores = [found.slice_scores[i] for i in found.key_slices]
    assert scores == sorted(scores, reverse=True)
    assert found.seconds.keys() == {"brace", "predict"}
    assert found.device.startswith("cpu")
    assert found.notes == ()
    assert predictor.sha256 == bundle_sha256(tmp_path / "bundle")


def test_key_slices_come_with_their_heat_maps(predictor):
    volume = drawn_volume(9)

    found = predictor.predict(volume)

    assert len(found.evidence) == len(found.frames) == len(found.key_slices)
    for place in range(len(found.key_slices)):
        heat, frame = found.heat_map(place), found.frames[place]
        row, column = found.peak(place)
        assert heat.shape == volume.hu.shape[1:]
        assert heat.max() == pytest.approx(found.evidence[place].max(), rel=0.1)
        assert frame.top < row < frame.top + frame.side
        assert frame.left < column < frame.left + frame.side


def test_a_heat_map_that_was_not_proven_is_not_shown(tmp_path):
    predictor = Predictor.load(tiny_bundle(tmp_path / "bundle", heat_map=False), "cpu")

    found = predictor.predict(drawn_volume(9))

    assert found.evidence is None
    assert found.heat_map(0) is None
    assert found.peak(0) is None


def test_the_same_volume_has_the_same_scores(predictor):
    volume = drawn_volume(9)

    one, two = predictor.predict(volume), predictor.predict(volume)

    assert one.score == two.score
    assert (one.slice_scores == two.slice_scores).all()


def test_a_tripped_guard_is_noted(predictor):
    volume = drawn_volume(8)
    half = volume.hu[:, ::2, ::2]
    two = np.pad(np.concatenate([half, half], axis=2), ((0, 0), (32, 32), (0, 0)), constant_values=-1000)

    found = predictor.predict(dataclasses.replace(volume, hu=two))

    assert found.notes == ("BRACE_GUARD_TRIPPED:8",)


def test_the_temperature_is_applied(tmp_path):
    sharp = Predictor.load(tiny_bundle(tmp_path / "sharp", temperature=0.1), "cpu")
    flat = Predictor.load(tiny_bundle(tmp_path / "flat", temperature=10.0), "cpu")

    a, b = (p.predict(drawn_volume(8)).slice_scores for p in (sharp, flat))

    logit_a, logit_b = (np.log(s / (1 - s)) for s in (a, b))
    assert logit_a == pytest.approx(100 * logit_b, rel=1e-4)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_output_that_is_no_number_is_a_failure(predictor, value):
    with torch.no_grad():
        predictor.bundle.network.hemorrhage[-1].bias.fill_(value)

    with pytest.raises(ModelFailure):
        predictor.predict(drawn_volume(8))


def test_air_alone_is_scored_without_failing(predictor):
    air = Volume(
        hu=np.full((8, 64, 64), -1000, np.float32), positions_mm=np.arange(8) * 5.0, spacing_mm=(1.0, 1.0)
    )

    found = predictor.predict(air)

    assert 0 <= found.score <= 1
    assert not found.heat_map(0).any()
    assert found.peak(0) is None


def test_a_bad_bundle_or_device_is_refused(tmp_path):
    with pytest.raises(BundleError):
        Predictor.load(tmp_path / "nowhere")
    folder = tiny_bundle(tmp_path / "bundle")
    with pytest.raises(ModelError, match="device"):
        Predictor.load(folder, "abacus")
    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match="CUDA"):
            Predictor.load(folder, "cuda")
