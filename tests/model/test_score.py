"""Scoring: whatever memory a card has left, every slice is scored, and once."""

import numpy as np
import pytest
import torch
from model_builders import tiny_manifest
from torch import nn

from model.network import Logits
from model.score import BATCH, score_pictures

FORM = tiny_manifest().input


class Card(nn.Module):
    """Stand in for a network on a card whose memory suffices for `room` slices; the CPU takes all."""

    def __init__(self, room, *, place="meta"):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, device=place))
        self.room, self.batches = room, []

    def to(self, device):
        self.weight = nn.Parameter(torch.zeros(1, device=device))
        self.room = BATCH
        return self

    def forward(self, pictures):
        if len(pictures) > self.room:
            raise torch.OutOfMemoryError("no room")
        self.batches.append(len(pictures))
        return Logits(*(torch.zeros(len(pictures), *shape) for shape in ((2,), (3,), (4, 4))))


def score(network, slices=40):
    steps = []
    pictures = np.zeros((slices, FORM.size, FORM.size), np.float32)
    found = score_pictures(network, pictures, FORM, 1.0, progress=lambda *step: steps.append(step))
    assert steps[-1] == (slices, slices)
    return found


@pytest.mark.parametrize(("room", "largest"), [(BATCH, BATCH), (BATCH - 1, BATCH // 2), (3, 2), (1, 1)])
def test_batches_shrink_to_what_fits(room, largest):
    network = Card(room)

    found = score(network)

    assert max(network.batches) == largest
    assert sum(network.batches) == len(found.hemorrhage) == len(found.location) == len(found.evidence) == 40
    assert network.weight.device.type == "meta"


def test_the_cpu_takes_over_where_not_even_one_slice_fits():
    network = Card(0)

    found = score(network)

    assert sum(network.batches) == len(found.hemorrhage) == 40
    assert max(network.batches) == BATCH
    assert network.weight.device.type == "cpu"


def test_no_room_on_the_cpu_is_an_error():
    with pytest.raises(torch.OutOfMemoryError):
        score(Card(0, place="cpu"))
