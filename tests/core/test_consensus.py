"""From opinions to a truth: who replaces whom, what a majority is, and when there is no truth."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ich_node.core.consensus import Opinion, Presence, Truth, consensus
from ich_node.vocabulary import Location

PRESENT, ABSENT, UNDETERMINED = Presence.PRESENT, Presence.ABSENT, Presence.UNDETERMINED
MORNING = datetime(2026, 5, 4, 8, tzinfo=UTC)


def opinion(
    hemorrhage: Presence, reader: str = "a", *, hours: int = 0, saw: bool | None = False, **more
) -> Opinion:
    return Opinion(
        hemorrhage=hemorrhage,
        location=more.pop("location", None),
        reader=reader,
        read_at=MORNING + timedelta(hours=hours),
        saw_result=saw,
        **more,
    )


def test_one_reader_is_believed():
    found = consensus([opinion(PRESENT, location=Location.LOBAR)])

    assert found == Truth(present=True, location=Location.LOBAR, readers=1)


@pytest.mark.parametrize("order", [1, -1])
def test_a_later_word_of_the_same_reader_replaces_the_earlier_whatever_came_first(order):
    words = [opinion(PRESENT), opinion(ABSENT, hours=1)][::order]

    found = consensus(words)

    assert found is not None
    assert not found.present
    assert found.readers == 1


@pytest.mark.parametrize(
    ("said", "present"),
    [
        ((PRESENT, ABSENT), None),
        ((PRESENT, PRESENT, ABSENT), True),
        ((ABSENT, PRESENT, ABSENT), False),
        ((UNDETERMINED,), None),
        ((PRESENT, UNDETERMINED), None),
        ((PRESENT, PRESENT, UNDETERMINED), True),
        ((UNDETERMINED, UNDETERMINED, ABSENT), None),
        ((), None),
    ],
)
def test_readers_who_disagree_leave_no_truth_but_by_majority(said, present):
    found = consensus([opinion(word, f"reader {number}") for number, word in enumerate(said)])

    assert (found.present if found else None) is present


def test_who_saw_our_result_weighs_less_and_not_knowing_counts_as_having_seen():
    blind = opinion(PRESENT, "blind", saw=False)

    assert consensus([blind, opinion(ABSENT, "b", saw=True)]) is not None
    assert consensus([blind, opinion(ABSENT, "b", saw=None)]) is not None
    assert consensus([blind, opinion(ABSENT, "b", saw=True), opinion(ABSENT, "c", saw=True)]) is None


def test_who_is_not_sure_at_all_decides_nothing():
    assert consensus([opinion(PRESENT, confidence=0.0)]) is None
    assert (
        consensus([opinion(PRESENT, "a", confidence=0.9), opinion(ABSENT, "b", confidence=0.3)]) is not None
    )


def test_a_disputed_location_is_none_though_the_bleed_is_agreed():
    found = consensus(
        [opinion(PRESENT, "a", location=Location.DEEP), opinion(PRESENT, "b", location=Location.LOBAR)]
    )

    assert found == Truth(present=True, location=None, readers=2)


def test_who_names_no_location_does_not_dispute_it():
    found = consensus([opinion(PRESENT, "a", location=Location.DEEP), opinion(PRESENT, "b")])

    assert found == Truth(present=True, location=Location.DEEP, readers=2)


OPINIONS = st.builds(
    opinion,
    st.sampled_from(Presence),
    st.sampled_from(("a", "b", "c")),
    hours=st.integers(0, 1000),
    saw=st.sampled_from((True, False, None)),
    confidence=st.one_of(st.none(), st.floats(0, 1)),
)


@given(st.lists(OPINIONS, unique_by=lambda one: (one.reader, one.read_at)), st.randoms())
def test_the_order_in_which_labels_came_never_matters(opinions, random):
    mixed = list(opinions)
    random.shuffle(mixed)

    assert consensus(mixed) == consensus(opinions)


@given(st.lists(OPINIONS, unique_by=lambda one: (one.reader, one.read_at)))
def test_nobody_is_found_to_bleed_whom_no_reader_called_so(opinions):
    found = consensus(opinions)

    if found is not None:
        wanted = PRESENT if found.present else ABSENT
        assert any(one.hemorrhage is wanted for one in opinions)
