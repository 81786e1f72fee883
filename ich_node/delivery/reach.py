"""Calls one destination, and remembers in the database when it cannot be reached. Uses the network."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pynetdicom.association import Association
from pynetdicom.events import EventHandlerType
from pynetdicom.presentation import PresentationContext

from ich_node.core.confirmation import ConfirmPolicy
from ich_node.core.outages import Outage, ProbePolicy, after_failure, is_away
from ich_node.core.retry import RetryPolicy
from ich_node.errors import Collision, DeliveryRefused, DestinationAway
from ich_node.log import logger
from ich_node.network import association_with
from ich_node.settings.sections import Delivery, Destination
from ich_node.store.database import Database
from ich_node.store.outages import end_outage, note_outage, outage_of, take_probe
from ich_node.tls import Credentials

WAITS_PER_CALL = 6  # connect, negotiate, send, answer, release: each at most one timeout, and one to spare


def probing(facts: Delivery) -> ProbePolicy:
    """When a destination that is away is tried again."""
    return ProbePolicy(away_after=facts.away_after, first_s=facts.retry_s, longest_s=facts.probe_max_s)


def confirming(facts: Delivery) -> ConfirmPolicy:
    """How a proof is asked for."""
    looks = RetryPolicy(attempts=facts.attempts, first_s=facts.retry_s, longest_s=facts.retry_max_s)
    return ConfirmPolicy(within_s=facts.confirm_within_s, looks=looks, resends=facts.resends)


@dataclass(frozen=True, kw_only=True)
class Sending:
    """How one destination is served; `now` tells the time."""

    destination: Destination
    policy: RetryPolicy
    calling_ae_title: str
    timeout_s: float
    holder: str
    now: Callable[[], datetime]
    ends: Callable[[], bool] = lambda: False  # whether the process is to end
    credentials: Credentials | None = None
    probing: ProbePolicy = field(default_factory=lambda: probing(Delivery()))
    confirming: ConfirmPolicy = field(default_factory=lambda: confirming(Delivery()))

    @property
    def longest_call_s(self) -> float:
        """How long one report may hold an association, and so a lease."""
        return self.timeout_s * WAITS_PER_CALL


def may_call(database: Database, sending: Sending) -> bool:
    """Whether the destination answers, or is due to be tried again."""
    with database.transaction() as connection:
        outage = outage_of(connection, sending.destination.name)
    return outage is None or outage.probe_at <= sending.now()


@contextmanager
def reached(
    database: Database,
    sending: Sending,
    contexts: Sequence[PresentationContext],
    handlers: Sequence[EventHandlerType] = (),
) -> Iterator[Association]:
    """Hold an association with the destination; where it is away only one caller at a time tries.

    Raises DestinationAway where none comes about, DeliveryRefused where it takes none of the contexts.
    """
    _take_turn(database, sending)
    with ExitStack() as stack:
        try:
            association = stack.enter_context(
                association_with(
                    sending.destination,
                    contexts,
                    calling_ae_title=sending.calling_ae_title,
                    timeout_s=sending.timeout_s,
                    credentials=sending.credentials,
                    handlers=handlers,
                )
            )
        except DestinationAway as error:
            _note_away(database, sending, str(error))
            raise
        except DeliveryRefused:
            _note_reached(database, sending)
            raise
        _note_reached(database, sending)
        yield association


def _take_turn(database: Database, sending: Sending) -> None:
    now = sending.now()
    until = now + timedelta(seconds=sending.longest_call_s)
    with database.transaction() as connection:
        if not take_probe(connection, sending.destination.name, until=until, now=now):
            raise DestinationAway("the destination is away; its next probe is not due")


def _note_away(database: Database, sending: Sending, words: str) -> None:
    name, now = sending.destination.name, sending.now()
    try:
        outage = _written_down(database, sending, words, now)
    except Collision:  # another thread began the same outage
        outage = _written_down(database, sending, words, now)
    next_in_s = round((outage.probe_at - now).total_seconds(), 1)
    log = logger().bind(destination=name, attempts=outage.failures, error=words, next_in_s=next_in_s)
    if is_away(outage, sending.probing):
        log.error("destination.away", seconds=round((now - outage.since).total_seconds()))
    else:
        log.warning("destination.not_reached")


def _written_down(database: Database, sending: Sending, words: str, now: datetime) -> Outage:
    name = sending.destination.name
    with database.transaction() as connection:
        before = outage_of(connection, name)
        outage = after_failure(before, name, words, sending.probing, now=now, jitter=random.random())
        note_outage(connection, outage)
    return outage


def _note_reached(database: Database, sending: Sending) -> None:
    now = sending.now()
    with database.transaction() as connection:
        since = end_outage(connection, sending.destination.name)
    if since is not None:
        seconds = round((now - since).total_seconds())
        logger().info("destination.back", destination=sending.destination.name, seconds=seconds)
