"""The state machines: every pair that is not in a table is refused, and nothing is ever stuck."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ich_node.core.states import (
    DELIVERY_TRANSITIONS,
    STUDY_TRANSITIONS,
    DeliveryEvent,
    DeliveryState,
    IllegalTransition,
    StudyEvent,
    StudyState,
    next_delivery_state,
    next_study_state,
)


@pytest.mark.parametrize("state", StudyState)
@pytest.mark.parametrize("event", StudyEvent)
def test_a_study_moves_only_as_the_table_says(state, event):
    if (state, event) in STUDY_TRANSITIONS:
        assert next_study_state(state, event) is STUDY_TRANSITIONS[state, event]
        return

    with pytest.raises(IllegalTransition):
        next_study_state(state, event)


@pytest.mark.parametrize("state", DeliveryState)
@pytest.mark.parametrize("event", DeliveryEvent)
def test_a_delivery_moves_only_as_the_table_says(state, event):
    if (state, event) in DELIVERY_TRANSITIONS:
        assert next_delivery_state(state, event) is DELIVERY_TRANSITIONS[state, event]
        return

    with pytest.raises(IllegalTransition):
        next_delivery_state(state, event)


@given(st.lists(st.sampled_from(StudyEvent), max_size=30))
def test_a_study_is_never_stuck_whatever_happened_to_it(events):
    state = StudyState.RECEIVING
    for event in events:
        if (state, event) in STUDY_TRANSITIONS:
            state = next_study_state(state, event)

    way_out = [StudyEvent.COMPLETED, StudyEvent.CONCLUDED]
    for event in way_out:
        if (state, event) in STUDY_TRANSITIONS:
            state = next_study_state(state, event)

    assert state is StudyState.FINISHED


def test_an_instance_may_arrive_in_every_state():
    for state in StudyState:
        assert next_study_state(state, StudyEvent.INSTANCE_STORED) is StudyState.RECEIVING
