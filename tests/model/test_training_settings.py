"""The settings of a training: which can work, and what the optimizer makes of them."""

import numpy as np
import pytest
import torch
from model_builders import TINY, TINY_SIZE, tiny_manifest

from model.train.optimizer import build_optimizer, follow, rate_at
from model.train.run import continued, start_network
from model.train.settings import TrainingSettings

SMALL = TrainingSettings(size=TINY_SIZE)


def test_the_rate_warms_up_and_falls():
    shares = np.linspace(0, 1, 101)

    rates = [rate_at(s, SMALL) for s in shares]

    assert max(rates) == pytest.approx(1.0, abs=0.01)
    assert rates[0] < 0.05
    assert rates[-1] == pytest.approx(0, abs=1e-6)
    assert rate_at(0.9, TrainingSettings(schedule="constant")) == 1.0


def test_biases_and_norms_do_not_decay():
    optimizer = build_optimizer(start_network(SMALL, None, None), SMALL)

    for group in optimizer.param_groups:
        assert all((p.ndim > 1) == (group["weight_decay"] > 0) for p in group["params"])


def test_the_average_follows():
    a, b = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    expected = 0.75 * a.weight + 0.25 * b.weight

    follow(a, b, 0.75)

    assert torch.allclose(a.weight, expected)


def test_the_pretrained_stem_learns_at_its_own_rate():
    settings = TrainingSettings(size=TINY_SIZE, frozen_stages=0, pretrained_rate=0.25)
    network = start_network(settings, None, None)

    groups = build_optimizer(network, settings).param_groups

    factors = {id(p): group["factor"] for group in groups for p in group["params"]}
    for name, value in network.named_parameters():
        assert factors[id(value)] == (0.25 if name.startswith("encoder.stem.") else 1.0), name


def test_the_defaults_can_work():
    settings = TrainingSettings()

    assert settings.problems() == []
    assert (settings.encoder, settings.pixels, settings.stored_pixels) == (TINY, 160, 213)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"size": 33}, "multiple of 16"),
        ({"batch": 0}, "batch"),
        ({"ema": 2.0}, "ema"),
        ({"evidence_weight": -1.0}, "losses must not be negative"),
        ({"synthetic_bleeds": 1.0, "soft_tissue": 0.0}, "synthetic bleeds"),
        ({"mimics": 1.5}, "mimics"),
        ({"soft_tissue": -0.1}, "soft tissue"),
        ({"synthetic_bleeds": 0.7, "soft_tissue": 0.4}, "together"),
        ({"schedule": "linear"}, "cosine"),
        ({"source_weights": {"a": 0.0}}, "source weights"),
    ],
)
def test_settings_that_cannot_work_say_so(wrong, says):
    (problem,) = TrainingSettings(**wrong).problems()

    assert says in problem


def test_what_goes_on_from_a_bundle_keeps_its_encoder_and_its_size():
    settings = continued(TrainingSettings(encoder="vit_tiny_patch16_224", size=64), tiny_manifest())

    assert (settings.encoder, settings.size) == (TINY, TINY_SIZE)
