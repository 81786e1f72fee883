"""A retrained network is held at its parent's level where few studies validate; the order of slices stays."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from model_builders import TINY, TINY_SIZE, image_set, tiny_manifest

from model.image_set import read_slices
from model.network import DTViT
from model.score import score_pictures
from model.train.anchor import hold_level
from model.train.finish import FEWEST_TO_REFIT, too_few_to_refit

FORM = tiny_manifest().input


def test_the_level_comes_back_and_the_order_of_the_slices_stays():
    torch.manual_seed(5)
    parent = DTViT(TINY, TINY_SIZE).eval()
    moved = deepcopy(parent)
    with torch.no_grad():
        moved.hemorrhage[-1].bias[1] += 1.5
        moved.hemorrhage[-1].weight *= 1.2
    pictures = np.random.default_rng(5).random((12, TINY_SIZE, TINY_SIZE), dtype=np.float32)
    before = score_pictures(parent, pictures, FORM, 1.0).logit
    drifted = score_pictures(moved, pictures, FORM, 1.0).logit

    shift = hold_level(moved, parent, pictures, FORM)

    held = score_pictures(moved, pictures, FORM, 1.0).logit
    assert np.median(held - before) == pytest.approx(0, abs=1e-4)
    assert held == pytest.approx(drifted - shift, abs=1e-4)


def test_without_validation_slices_nothing_is_moved():
    network = DTViT(TINY, TINY_SIZE).eval()
    before = network.hemorrhage[-1].bias.clone()

    shift = hold_level(network, network, np.empty((0, TINY_SIZE, TINY_SIZE), dtype=np.float32), FORM)

    assert shift == 0.0
    assert torch.equal(network.hemorrhage[-1].bias, before)


@pytest.mark.parametrize(("per_class", "few"), [(FEWEST_TO_REFIT - 1, True), (FEWEST_TO_REFIT, False)])
def test_thresholds_are_fitted_anew_from_twenty_studies_of_each_class_on(tmp_path, per_class, few):
    subjects = {f"p{number}": "val" for number in range(2 * per_class)}
    table = image_set(tmp_path, subjects=subjects, slices=1, bleeding=1)

    assert too_few_to_refit(read_slices(table)) is few
