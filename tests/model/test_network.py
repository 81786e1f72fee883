"""DTViT: the paper's size, our list of names, heads that answer both questions and say where."""

import pytest
import torch
from model_builders import TINY, TINY_SIZE

from model.encoders import ENCODERS
from model.network import DTViT, bloody_token, build_encoder, count_parameters, evidence_side


def test_the_paper_s_encoder_has_the_paper_s_number_of_parameters():
    with torch.device("meta"):
        encoder = build_encoder("vit_large_patch16_224", 224, classes=1000)

    assert count_parameters(encoder) == 304_326_632  # Table 2


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_every_allowed_encoder_answers_both_questions_and_shows_where(name):
    size = 2 * ENCODERS[name].stride

    with torch.device("meta"):
        found = DTViT(name, size)(torch.zeros(3, 3, size, size))

    assert found.hemorrhage.shape == (3, 2)
    assert found.location.shape == (3, 3)
    side = evidence_side(name, size)
    assert found.evidence.shape == (3, side, side)
    assert side == (4 if ENCODERS[name].hybrid else 2)


def test_a_name_outside_the_list_is_refused():
    with pytest.raises(KeyError):
        build_encoder("resnet18", 224)


def test_a_bleed_in_one_patch_moves_the_score():
    torch.manual_seed(0)
    network = DTViT(TINY, TINY_SIZE).eval()
    pictures = torch.full((2, 3, TINY_SIZE, TINY_SIZE), 0.4)
    pictures[1, :, 4:12, 4:12] = 0.9

    hemorrhage = network(pictures).hemorrhage

    assert not torch.allclose(hemorrhage[0], hemorrhage[1])


def test_before_anything_is_learned_blood_is_unlikely_everywhere():
    torch.manual_seed(0)

    evidence = DTViT(TINY, TINY_SIZE).eval()(torch.rand(2, 3, TINY_SIZE, TINY_SIZE)).evidence

    assert float(evidence.detach().sigmoid().mean()) == pytest.approx(0.05, abs=0.03)


def test_the_hottest_patches_speak_for_the_slice():
    torch.manual_seed(0)
    network = DTViT(TINY, TINY_SIZE).eval()
    pictures = torch.rand(2, 3, TINY_SIZE, TINY_SIZE)
    before = network(pictures)
    with torch.no_grad():
        network.evidence.answer.bias += 2.0

    after = network(pictures)

    assert torch.allclose(after.evidence, before.evidence + 2.0, atol=1e-5)
    assert torch.allclose(after.hemorrhage - before.hemorrhage, torch.tensor([0.0, 2.0]), atol=1e-5)


def test_the_bloody_patches_weigh_by_the_blood_they_hold_and_teach_no_evidence():
    patches = torch.tensor([[[1.0], [2.0], [3.0], [4.0]]], requires_grad=True)
    evidence = torch.full((1, 2, 2), -30.0)
    evidence[0, 0, 1], evidence[0, 1, 0] = 30.0, 0.0  # surely, and half
    evidence.requires_grad_()

    token = bloody_token(patches, evidence)
    token.sum().backward()

    assert token.item() == pytest.approx((2.0 + 0.5 * 3.0) / 1.5, abs=1e-4)
    assert patches.grad is not None
    assert evidence.grad is None


def test_finer_evidence_weighs_the_patches_that_it_lies_in():
    patches = torch.tensor([[[1.0], [2.0], [3.0], [4.0]]])
    evidence = torch.full((1, 4, 4), -30.0)
    evidence[0, 3, 3] = 30.0

    assert bloody_token(patches, evidence).item() == pytest.approx(4.0, abs=1e-4)


def test_where_no_patch_holds_blood_all_patches_count_alike():
    patches = torch.tensor([[[1.0], [2.0], [3.0], [4.0]]])

    assert bloody_token(patches, torch.full((1, 2, 2), -90.0)).item() == pytest.approx(2.5, abs=1e-4)
