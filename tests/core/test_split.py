"""Patients kept apart: in one part each, there for good, and each part with both classes where it can."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ich_node.core.split import SHARES, Split, assign

PATIENTS = st.dictionaries(st.text("0123456789abcdef", min_size=1, max_size=20), st.booleans(), max_size=60)


@given(PATIENTS, PATIENTS, PATIENTS)
def test_a_patient_never_moves_however_many_come_later_or_whatever_changes(first, second, third):
    one = assign({}, first)
    two = assign(one, {**first, **second})
    # labels are revised, some patients leave, others come
    three = assign(two, third)

    assert all(two[patient] is part for patient, part in one.items())
    assert all(three[patient] is two[patient] for patient in three if patient in two)


@given(PATIENTS, st.randoms())
def test_everybody_gets_one_part_and_the_order_of_the_list_does_not_matter(patients, random):
    mixed = list(patients.items())
    random.shuffle(mixed)

    parts = assign({}, patients)

    assert parts.keys() == patients.keys()
    assert assign({}, dict(mixed)) == parts


@pytest.mark.parametrize(
    ("count", "held"), [(1, {"train"}), (2, {"train", "test"}), (3, {"train", "test", "val"})]
)
def test_three_patients_of_a_class_are_enough_for_every_part(count, held):
    for start in range(50):
        parts = assign({}, {f"p{start + number}": True for number in range(count)})

        assert set(parts.values()) == {Split(name) for name in held}


@pytest.mark.parametrize("batch", [1, 7, 200])
def test_the_shares_are_kept_in_each_class_however_patients_arrive(batch):
    patients = {f"patient {number}": number % 3 == 0 for number in range(200)}
    parts: dict[str, Split] = {}

    for start in range(0, 200, batch):
        seen = dict(list(patients.items())[: start + batch])
        parts = assign(parts, seen)

    for present in (True, False):
        members = [patient for patient, bleeds in patients.items() if bleeds is present]
        counts = Counter(parts[patient] for patient in members)
        for part, share in SHARES.items():
            assert abs(counts[part] - share * len(members)) <= 1


@pytest.mark.parametrize(("count", "kept_aside"), [(2, 1), (4, 1), (5, 2), (6, 2), (8, 2), (9, 3), (20, 6)])
def test_of_a_few_patients_of_a_class_enough_are_kept_aside(count, kept_aside):
    parts = assign({}, {f"p{number}": True for number in range(count)})

    assert Counter(parts.values())[Split.TEST] == kept_aside
