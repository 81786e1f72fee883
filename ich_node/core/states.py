"""The state machines, as tables: (state, event) to the next state; other pairs cannot happen. Pure."""

from enum import StrEnum


class IllegalTransition(Exception):
    """The event cannot happen in this state."""


class StudyState(StrEnum):
    """Where a study stands. Being worked on is no state but a lease on the row."""

    RECEIVING = "receiving"  # instances arrive; not known to be whole
    READY = "ready"  # whole, or taken as it is; waits for a worker
    FINISHED = "finished"  # has its outcome


class StudyEvent(StrEnum):
    """What happens to a study."""

    INSTANCE_STORED = "instance stored"
    COMPLETED = "completed"
    CONCLUDED = "concluded"
    ASKED_AGAIN = "asked again"


STUDY_TRANSITIONS = {
    (StudyState.RECEIVING, StudyEvent.INSTANCE_STORED): StudyState.RECEIVING,
    (StudyState.RECEIVING, StudyEvent.COMPLETED): StudyState.READY,
    (StudyState.RECEIVING, StudyEvent.ASKED_AGAIN): StudyState.READY,
    # the worker that may hold it loses its lease: its result would be about less than what came
    (StudyState.READY, StudyEvent.INSTANCE_STORED): StudyState.RECEIVING,
    (StudyState.READY, StudyEvent.CONCLUDED): StudyState.FINISHED,
    (StudyState.READY, StudyEvent.ASKED_AGAIN): StudyState.READY,
    # a late slice reopens the study as a new revision
    (StudyState.FINISHED, StudyEvent.INSTANCE_STORED): StudyState.RECEIVING,
    (StudyState.FINISHED, StudyEvent.ASKED_AGAIN): StudyState.READY,
}


class DeliveryState(StrEnum):
    """Where one report for one destination stands."""

    PENDING = "pending"  # waits for its (next) attempt
    SENT = "sent"  # the destination answered with success; proof that it keeps it may be asked for
    CONFIRMED = "confirmed"  # the destination proved that it keeps it
    FAILED = "failed"  # out of attempts, or refused for good; visible until somebody sends it again


class DeliveryEvent(StrEnum):
    """What happens to a delivery."""

    ACCEPTED = "accepted"
    POSTPONED = "postponed"
    GIVEN_UP = "given up"
    PROVEN = "proven"
    MISSED = "missed"  # the destination took it and does not keep it
    SENT_AGAIN = "sent again"


DELIVERY_TRANSITIONS = {
    (DeliveryState.PENDING, DeliveryEvent.ACCEPTED): DeliveryState.SENT,
    (DeliveryState.PENDING, DeliveryEvent.POSTPONED): DeliveryState.PENDING,
    (DeliveryState.PENDING, DeliveryEvent.GIVEN_UP): DeliveryState.FAILED,
    (DeliveryState.PENDING, DeliveryEvent.SENT_AGAIN): DeliveryState.PENDING,
    (DeliveryState.SENT, DeliveryEvent.PROVEN): DeliveryState.CONFIRMED,
    # missing there: sent again, the same bytes, or after so many times given up
    (DeliveryState.SENT, DeliveryEvent.MISSED): DeliveryState.PENDING,
    (DeliveryState.SENT, DeliveryEvent.GIVEN_UP): DeliveryState.FAILED,
    (DeliveryState.SENT, DeliveryEvent.SENT_AGAIN): DeliveryState.PENDING,
    (DeliveryState.CONFIRMED, DeliveryEvent.SENT_AGAIN): DeliveryState.PENDING,
    (DeliveryState.FAILED, DeliveryEvent.SENT_AGAIN): DeliveryState.PENDING,
}


class BundleState(StrEnum):
    """What a bundle is to this installation."""

    CANDIDATE = "candidate"  # trained, evaluated, serves nobody
    SERVING = "serving"  # reads the next study
    RETIRED = "retired"  # served before; one command brings it back


class BundleCommand(StrEnum):
    """How a bundle came to serve."""

    FIRST = "first"  # shipped with the node, at its first start
    PROMOTE = "promote"
    ROLLBACK = "rollback"


class RunState(StrEnum):
    """Where a retraining run stands."""

    REQUESTED = "requested"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


def next_study_state(state: StudyState, event: StudyEvent) -> StudyState:
    """The state after the event; raises IllegalTransition for a pair that is not in the table."""
    try:
        return STUDY_TRANSITIONS[state, event]
    except KeyError:
        raise IllegalTransition(f"a study that is {state} cannot see {event!r}") from None


def next_delivery_state(state: DeliveryState, event: DeliveryEvent) -> DeliveryState:
    """The state after the event; raises IllegalTransition for a pair that is not in the table."""
    try:
        return DELIVERY_TRANSITIONS[state, event]
    except KeyError:
        raise IllegalTransition(f"a delivery that is {state} cannot see {event!r}") from None
