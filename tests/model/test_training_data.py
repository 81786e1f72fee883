"""What a step learns from: which slices, what is drawn on them, what is known of each pixel, the losses."""

from pathlib import Path

import numpy as np
import pytest
import torch
from model_builders import drawn_head

from model.image_set import SliceRow
from model.network import Logits
from model.prepare import prepare
from model.train.augment import Augmentation, augment
from model.train.cache import PreparedSlices
from model.train.data import PATIENT_LABEL, TrainingData, patient_labelled, pixel_maps, training_data
from model.train.feed import DrawnSlices, batches, places
from model.train.loss import IGNORED, dual_loss, evidence_loss
from model.train.sampler import epoch_order, sampling_weights
from model.train.settings import TrainingSettings
from model.window import to_window

PLAIN = TrainingSettings(size=48, synthetic_bleeds=0.0, mimics=0.0, soft_tissue=0.0)
UNKNOWN = float("nan")


def row(source="s", subject="p", hemorrhage=0, location=None, boxes=None):
    return SliceRow(
        file=Path("a.png"),
        path="a.png",
        source=source,
        subject=subject,
        hemorrhage=hemorrhage,
        location=location,
        split="train",
        contradicted=False,
        boxes=boxes,
    )


def data_of(rows, settings=PLAIN):
    head = prepare(to_window(drawn_head(size=128)[0]), settings.stored_pixels).picture
    prepared = PreparedSlices(
        pictures=np.repeat(np.rint(head * 255).astype(np.uint8)[None], len(rows), axis=0),
        frames=np.tile(np.array([0.1, 0.1, 0.8, 0.8], dtype=np.float32), (len(rows), 1)),
    )
    return training_data(rows, prepared, sampling_weights(rows, settings))


def logits(count):
    shapes = ((count, 2), (count, 3), (count, 4, 4))
    return Logits(*(torch.randn(shape, requires_grad=True) for shape in shapes))


def mass(weights, rows, **wanted):
    return sum(
        w for w, r in zip(weights, rows, strict=True) if all(getattr(r, k) == v for k, v in wanted.items())
    )


def test_a_slice_without_a_bleed_is_known_to_hold_no_blood_anywhere():
    blood, known = pixel_maps((20, 20), 0.0, None)

    assert blood.max() == 0
    assert known.min() == 1


@pytest.mark.parametrize("boxes", [None, []])
def test_without_boxes_nothing_is_known_of_where_a_bleed_lies(boxes):
    blood, known = pixel_maps((20, 20), 1.0, boxes)

    assert blood.max() == 0
    assert known.max() == 0


def test_a_box_holds_blood_in_its_middle_and_is_doubtful_at_its_edge():
    blood, known = pixel_maps((100, 100), PATIENT_LABEL, [(0.2, 0.4, 0.6, 0.8)])

    rows, columns = np.nonzero(blood)
    assert (rows.mean(), columns.mean()) == pytest.approx((59.5, 39.5))
    assert (np.ptp(columns) + 1) / 40 == pytest.approx(0.75, abs=0.03)
    assert known[60, 40] == 1  # its middle
    assert known[41, 21] == 0  # its corner
    assert known[60, 62] == 0  # just outside
    assert known[60, 70] == 1  # well outside
    assert known[5, 5] == 1


def test_two_boxes_do_not_hide_each_other():
    blood, known = pixel_maps((100, 100), 1.0, [(0.1, 0.1, 0.5, 0.5), (0.3, 0.3, 0.7, 0.7)])

    assert blood[30, 30] == blood[50, 50] == 1
    assert known[blood == 1].min() == 1


def test_a_source_is_labelled_by_patient_if_no_bleeding_patient_has_a_clean_slice():
    rows = [
        row("patients", "a", 1),
        row("patients", "b", 0),
        row("slices", "c", 1),
        row("slices", "c", 0),
        row("slices", "d", 1),
        row("controls", "e", 0),
        row("unlabelled", "f", None),
    ]

    assert patient_labelled(rows) == {"patients"}


def test_a_patient_s_label_counts_less_than_a_slice_s():
    rows = [row("p", "a", 1), row("p", "b", 0), row("s", "c", 1), row("s", "c", 0), row("s", "d", None)]

    targets = data_of(rows).hemorrhage

    assert targets[:4].tolist() == pytest.approx([PATIENT_LABEL, 0, 1, 0])
    assert targets[4].isnan()


def test_boxes_come_in_shares_of_the_prepared_picture():
    ((box,), nothing) = data_of([row(hemorrhage=1, boxes=((0.1, 0.5, 0.5, 0.9),)), row()]).boxes

    assert box == pytest.approx((0.0, 0.5, 0.5, 1.0), abs=1e-6)
    assert nothing is None


def drawn(settings, rows, count):
    data = data_of(rows, settings)
    return [data.slice(n % len(rows), settings, np.random.default_rng(n)) for n in range(count)]


def test_as_many_bleed_free_slices_get_a_bleed_as_asked_for():
    settings = TrainingSettings(size=48, synthetic_bleeds=0.3, mimics=0.0, soft_tissue=0.2)
    head = data_of([row()]).slice(0, PLAIN, np.random.default_rng(0)).pictures

    slices = drawn(settings, [row()], 200)

    bleeding = [s for s in slices if s.hemorrhage == 1]
    changed = [s for s in slices if s.hemorrhage == 0 and not torch.equal(s.pictures, head)]
    assert 40 < len(bleeding) < 80
    assert 22 < len(changed) < 58
    assert all(s.blood.max() == 1 and s.known.min() == 1 and s.location == IGNORED for s in bleeding)
    assert all(s.blood.max() == 0 for s in slices if s.hemorrhage == 0)


def test_nothing_but_mimics_is_drawn_on_a_slice_that_bleeds():
    settings = TrainingSettings(size=48, synthetic_bleeds=0.9, mimics=0.5, soft_tissue=0.1)

    slices = drawn(settings, [row(hemorrhage=1, location="lobar")], 20)

    assert {int(s.location) for s in slices} == {1}
    assert [float(s.hemorrhage) for s in slices] == pytest.approx([PATIENT_LABEL] * 20)
    assert len({s.pictures.numpy().tobytes() for s in slices}) > 4  # some with a mimic


@pytest.mark.parametrize("synthetic", [0.0, 0.3])
def test_sources_and_classes_are_drawn_evenly_and_slices_for_drawn_bleeds_come_on_top(synthetic):
    rows = (
        [row("big", f"a{n % 40}", 0) for n in range(400)]
        + [row("big", f"b{n % 9}", 1, "deep") for n in range(90)]
        + [row("big", "c", 1, "lobar") for n in range(10)]
        + [row("small", f"d{n % 3}", n % 2) for n in range(20)]
    )
    settings = TrainingSettings(synthetic_bleeds=synthetic)

    weights = sampling_weights(rows, settings)

    for source in ("big", "small"):
        clean, bleeding = (mass(weights, rows, source=source, hemorrhage=h) for h in (0, 1))
        assert clean + bleeding == pytest.approx(0.5)
        assert clean * (1 - synthetic) == pytest.approx(0.25)  # so many stay without a bleed
    lobar = mass(weights, rows, location="lobar")
    assert mass(weights, rows, source="big", hemorrhage=1) * 0.1 < lobar < 0.25 * 0.5


def test_a_source_is_drawn_as_often_as_its_weight_says():
    rows = [row(source, f"{source}{n}", n % 2) for source in ("big", "small") for n in range(10)]

    halved = sampling_weights(rows, TrainingSettings(source_weights={"small": 0.5}))

    assert mass(halved, rows, source="small") == pytest.approx(1 / 3)


def test_an_epoch_is_drawn_the_same_way_again():
    weights = np.array([0.5, 0.25, 0.125, 0.125])

    first, again, next_ = (epoch_order(weights, 800, seed=1, epoch=e) for e in (0, 0, 1))

    assert (first == again).all()
    assert (first != next_).any()
    assert np.bincount(first) == pytest.approx([400, 200, 100, 100], abs=1)


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_slice_is_drawn_alike_whoever_draws_it():
    settings = TrainingSettings(size=48, seed=3, synthetic_bleeds=0.5)
    slices = DrawnSlices(data=data_of([row(), row(hemorrhage=1)], settings), settings=settings)
    order = np.array([0, 1, 0, 0, 1, 0, 0, 1])
    alone = list(batches(slices, places(order, batch=4, first_step=6), workers=0, pinned=False))

    ahead = list(batches(slices, places(order, batch=4, first_step=6), workers=1, pinned=False))
    parts = [
        list(batches(slices, places(order, batch=4, first_step=6, rank=r, world=2), workers=0, pinned=False))
        for r in (0, 1)
    ]

    assert [len(batch.pictures) for batch in alone] == [4, 4]
    assert all(equal(one, other) for one, other in zip(alone, ahead, strict=True))
    for batch, *of_ranks in zip(alone, *parts, strict=True):
        assert equal([v[0::2] for v in batch], of_ranks[0])
        assert equal([v[1::2] for v in batch], of_ranks[1])
    assert not torch.equal(alone[0].pictures[0], alone[0].pictures[2])  # the same slice, drawn anew


def augmented(pictures, maps, seed):
    return augment(pictures, maps, 32, Augmentation(), torch.Generator().manual_seed(seed))


def test_augmentation_keeps_range_and_size_and_is_seeded():
    pictures, maps = torch.rand(6, 40, 40), torch.rand(6, 2, 40, 40)

    one, same, other = (augmented(pictures, maps, seed) for seed in (1, 1, 2))

    assert one[0].shape == (6, 32, 32)
    assert one[1].shape == (6, 2, 32, 32)
    assert one[0].min() >= 0
    assert one[0].max() <= 1
    assert equal(one, same)
    assert not torch.equal(one[0], other[0])


def test_maps_move_with_their_picture():
    pictures = torch.zeros(8, 40, 40)
    pictures[:, 8:16, 22:30] = 1.0

    moved, maps = augmented(pictures, pictures[:, None], 4)

    assert ((moved > 0.5) == (maps[:, 0] > 0.5)).float().mean() > 0.97
    assert (maps[0] != maps[1]).any()


def test_augmentation_leaves_air_black_and_bone_white():
    maps = torch.zeros(4, 1, 40, 40)
    air, _ = augmented(torch.zeros(4, 40, 40), maps, 1)
    bone, _ = augmented(torch.ones(4, 40, 40), maps, 1)

    assert air.max() == 0
    assert (bone[:, 14:18, 14:18] > 0.98).all()


def test_the_location_is_learned_from_bleeding_slices_only():
    hemorrhage = torch.tensor([0.0, 1.0, PATIENT_LABEL, UNKNOWN])
    said = logits(4)

    dual_loss(said, hemorrhage, torch.tensor([2, IGNORED, 1, 0])).backward()

    assert (said.location.grad.abs().sum(dim=1) > 0).tolist() == [False, False, True, False]
    assert (said.hemorrhage.grad.abs().sum(dim=1) > 0).tolist() == [True, True, True, False]


def test_a_network_need_not_learn_how_often_a_location_is_drawn():
    prior = torch.tensor([0.7, 0.2, 0.1])
    says_nothing = Logits(torch.zeros(10, 2), torch.zeros(10, 3, requires_grad=True), torch.zeros(10, 4, 4))
    as_often_as_drawn = torch.tensor([0] * 7 + [1] * 2 + [2])

    dual_loss(says_nothing, torch.ones(10), as_often_as_drawn, location_prior=prior).backward()

    assert torch.allclose(says_nothing.location.grad.sum(dim=0), torch.zeros(3), atol=1e-6)


def test_the_prior_of_locations_is_that_of_the_slices_that_are_drawn():
    known = {"hemorrhage": torch.tensor([1.0, PATIENT_LABEL, 0.0, 1.0]), "boxes": [None] * 4}
    data = TrainingData(
        pictures=np.zeros((4, 8, 8), np.uint8),
        location=torch.tensor([0, 2, 1, IGNORED]),
        weights=np.array([0.3, 0.1, 0.4, 0.2]),
        **known,
    )

    assert torch.allclose(data.location_prior(), torch.tensor([0.75, 1.0, 0.25]))  # lobar: never seen


def test_a_batch_without_any_label_has_no_loss_and_no_nan():
    assert dual_loss(logits(3), torch.full((3,), UNKNOWN), torch.full((3,), IGNORED)) == 0
    assert evidence_loss(logits(3).evidence, torch.zeros(3, 8, 8), torch.zeros(3, 8, 8)) == 0


def test_a_patient_s_label_is_no_certainty():
    sure = Logits(torch.tensor([[0.0, 9.0]]), torch.zeros(1, 3), torch.zeros(1, 4, 4))
    none = torch.tensor([IGNORED])

    assert dual_loss(sure, torch.tensor([1.0]), none) < 0.01
    assert dual_loss(sure, torch.tensor([PATIENT_LABEL]), none) > 0.5


def test_evidence_is_learned_from_certain_patches_only():
    blood, known = torch.zeros(1, 8, 8), torch.ones(1, 8, 8)
    blood[0, :2, :2] = 1  # all of the first patch
    blood[0, 0, 2] = 0.2  # hardly any of the second: neither one nor the other
    known[0, 2:4, :2] = 0  # nothing is known of the one below the first
    known[0, 2, 2] = 0  # and not all of its neighbour
    said = logits(1).evidence

    evidence_loss(said, blood, known).backward()

    learned = said.grad[0] != 0
    expected = torch.ones(4, 4, dtype=torch.bool)
    expected[0, 1] = expected[1, 0] = expected[1, 1] = False
    assert torch.equal(learned, expected)
    assert said.grad[0, 0, 0] < 0 < said.grad[0, 3, 3]
