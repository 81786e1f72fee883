"""Whose images go, and in which order."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ich_node.core.retention import Kept, to_forget

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def _kept(study_id, *, days, ignored=False, undelivered=0, refused=0, labelled=False):
    return Kept(
        study_id=study_id,
        ignored=ignored,
        undelivered=undelivered,
        refused=refused,
        labelled=labelled,
        finished_at=NOW - timedelta(days=days),
    )


def test_only_old_studies_go_while_there_is_room():
    studies = [_kept(1, days=29), _kept(2, days=31), _kept(3, days=90)]

    assert to_forget(studies, now=NOW, keep_days=30, disk_is_near_reserve=False) == [3, 2]


def test_near_the_reserve_ignored_ones_go_first_then_the_oldest():
    studies = [_kept(1, days=1), _kept(2, days=9), _kept(3, days=2, ignored=True)]

    assert to_forget(studies, now=NOW, keep_days=30, disk_is_near_reserve=True) == [3, 2, 1]


def test_a_destination_that_takes_one_kind_only_does_not_fill_the_disk():
    studies = [_kept(1, days=90, refused=1), _kept(2, days=1)]

    assert to_forget(studies, now=NOW, keep_days=30, disk_is_near_reserve=False) == []
    assert to_forget(studies, now=NOW, keep_days=30, disk_is_near_reserve=True) == [2, 1]


@given(
    st.lists(
        st.tuples(st.integers(0, 400), st.booleans(), st.integers(0, 3), st.booleans()),
        min_size=1,
        max_size=20,
    ),
    st.booleans(),
)
def test_what_is_undelivered_or_labelled_never_goes(drawn, near):
    studies = [
        _kept(number, days=days, ignored=ignored, undelivered=undelivered, labelled=labelled)
        for number, (days, ignored, undelivered, labelled) in enumerate(drawn)
    ]

    gone = to_forget(studies, now=NOW, keep_days=30, disk_is_near_reserve=near)

    assert not any(studies[number].undelivered or studies[number].labelled for number in gone)
    assert len(set(gone)) == len(gone)
