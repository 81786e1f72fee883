"""When a study counts as whole."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from facts import stack

from ich_node.core.completion import (
    Arrival,
    Completion,
    SourceSays,
    compare,
    decide,
    heads_of,
    key_of,
)
from ich_node.core.retrieval import SeriesThere

NOON = datetime(2026, 3, 29, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("first_s_ago", "last_s_ago", "open_associations", "expected"),
    [
        (5, 5, 0, Completion.WAIT),  # not quiet yet
        (60, 30, 0, Completion.WHOLE),  # quiet as long as asked for
        (60, 29.9, 0, Completion.WAIT),
        (60, 59, 1, Completion.WAIT),  # silence counts for nothing while the sender is connected
        (1800, 1, 0, Completion.DEADLINE),
        (1800, 1, 3, Completion.DEADLINE),  # an association that hangs does not keep a study for ever
        (1799, 1, 1, Completion.WAIT),
    ],
)
def test_a_study_is_whole_when_it_is_quiet_and_nobody_is_connected(
    first_s_ago, last_s_ago, open_associations, expected
):
    arrival = Arrival(
        first_instance_at=NOON - timedelta(seconds=first_s_ago),
        last_instance_at=NOON - timedelta(seconds=last_s_ago),
        open_associations=open_associations,
    )

    assert decide(arrival, now=NOON, quiet_s=30, deadline_s=1800) is expected


def test_a_clock_set_back_makes_nothing_whole():
    arrival = Arrival(
        first_instance_at=NOON + timedelta(hours=1),
        last_instance_at=NOON + timedelta(hours=1),
        open_associations=0,
    )

    assert decide(arrival, now=NOON, quiet_s=30, deadline_s=1800) is Completion.WAIT


@pytest.mark.parametrize(
    ("says", "last_s_ago", "open_associations", "expected"),
    [
        (SourceSays.ALL_CAME, 1, 0, Completion.WHOLE),  # no need to wait for the silence
        (SourceSays.ALL_CAME, 1, 1, Completion.WAIT),  # but for the sender to leave
        (SourceSays.MORE_TO_COME, 300, 0, Completion.WAIT),
        (SourceSays.MORE_TO_COME, 1799, 0, Completion.WAIT),
    ],
)
def test_a_source_shortens_the_silence_and_one_that_has_more_makes_it_wait(
    says, last_s_ago, open_associations, expected
):
    arrival = Arrival(
        first_instance_at=NOON - timedelta(seconds=1799),
        last_instance_at=NOON - timedelta(seconds=last_s_ago),
        open_associations=open_associations,
        source_says=says,
    )

    assert decide(arrival, now=NOON, quiet_s=30, deadline_s=1800) is expected
    assert decide(arrival, now=NOON, quiet_s=30, deadline_s=1700) is Completion.DEADLINE


def _series(uid, *images, counted=0):
    return SeriesThere(series_uid=uid, number="1", images=frozenset(images), counted=counted)


@pytest.mark.parametrize(
    ("there", "here", "expected"),
    [
        pytest.param([], {"1": {"a"}}, None, id="it does not know the study"),
        pytest.param([_series("1", "a", "b")], {"1": {"a", "b"}}, SourceSays.ALL_CAME, id="all"),
        pytest.param([_series("1", "a")], {"1": {"a", "b"}}, None, id="we have more: it lags behind"),
        pytest.param([_series("1", "a")], {"1": {"a"}, "2": {"b"}}, None, id="it lacks a series"),
        pytest.param([_series("1")], {"1": {"a"}}, None, id="it does not count"),
        pytest.param([_series("1", "a", "b")], {"1": {"a"}}, SourceSays.MORE_TO_COME, id="an image less"),
        pytest.param([_series("1", counted=3)], {"1": {"a"}}, SourceSays.MORE_TO_COME, id="counted only"),
        pytest.param(
            [_series("1", "a"), _series("2", "b")], {"1": {"a"}}, None, id="a series that may not be for us"
        ),
    ],
)
def test_a_list_of_the_source_speaks_for_a_loss_only_in_a_series_of_which_something_came(
    there, here, expected
):
    assert compare(there, here) is expected


WHOLE = [6.0 * step for step in range(20)]


def test_a_head_over_its_whole_length_looks_whole_with_its_evidence():
    (head,) = heads_of(stack(WHOLE))

    assert head.to_dict() == {
        "series_uid": "1.2",
        "slices": 20,
        "span_mm": 114.0,
        "step_mm": 6.0,
        "numbers_missing": 0,
    }


@pytest.mark.parametrize(
    "facts",
    [
        pytest.param([], id="nothing"),
        pytest.param(stack(WHOLE[:17]), id="96 mm"),
        pytest.param(stack(WHOLE[:9] + WHOLE[10:]), id="a gap"),
        pytest.param(
            stack([12.0 * step for step in range(12)])[::2], id="even steps, but numbers are left out"
        ),
    ],
)
def test_what_lacks_length_slices_or_numbers_does_not_look_whole(facts):
    assert heads_of(facts) == ()


def test_a_scanner_that_gives_no_numbers_can_still_send_a_whole_head():
    facts = [replace(fact, instance_number=None) for fact in stack(WHOLE)]

    assert len(heads_of(facts)) == 1


def test_the_key_of_heads_follows_their_images_and_not_their_order():
    (head,) = heads_of(stack(WHOLE))
    (mirrored,) = heads_of(stack(WHOLE)[::-1])
    (longer,) = heads_of(stack([*WHOLE, 120.0]))

    assert key_of([head]) == key_of([mirrored]) != key_of([longer])
