"""DTViT: the paper's size, our list of names, and heads that answer both questions."""

import pytest
import torch
from model_builders import TINY, TINY_SIZE

from model.encoders import ENCODERS
from model.network import DTViT, build_encoder, count_parameters


def test_the_paper_s_encoder_has_the_paper_s_number_of_parameters():
    with torch.device("meta"):
        encoder = build_encoder("vit_large_patch16_224", 224, classes=1000)

    assert count_parameters(encoder) == 304_326_632  # Table 2


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_every_allowed_encoder_answers_both_questions(name):
    size = 2 * ENCODERS[name].stride

    with torch.device("meta"):
        hemorrhage, location = DTViT(name, size)(torch.zeros(3, 3, size, size))

    assert hemorrhage.shape == (3, 2)
    assert location.shape == (3, 3)


def test_a_name_outside_the_list_is_refused():
    with pytest.raises(KeyError):
        build_encoder("resnet18", 224)


def test_a_bleed_in_one_patch_moves_the_score():
    torch.manual_seed(0)
    network = DTViT(TINY, TINY_SIZE).eval()
    pictures = torch.full((2, 3, TINY_SIZE, TINY_SIZE), 0.4)
    pictures[1, :, 4:12, 4:12] = 0.9

    hemorrhage, _ = network(pictures)

    assert not torch.allclose(hemorrhage[0], hemorrhage[1])
