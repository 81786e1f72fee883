"""After a clock was set, nothing waits for it to catch up, and nothing counts as over that was skipped."""

from datetime import timedelta

import pytest
from queued import NOW, add_study, queue_deliveries, queue_studies

from ich_node.core.completion import Completion, decide
from ich_node.core.urgency import NORMAL_S
from ich_node.store.arrivals import arrivals
from ich_node.store.claims import claim_study
from ich_node.store.clock import go_on_from
from ich_node.store.deliveries import claim_delivery, deliveries_of, mark_sent
from ich_node.store.studies import get_study, mark_ready

HOUR = timedelta(hours=1)
LEASE_S = 60


def _go_on(database, by):
    with database.transaction() as connection:
        return go_on_from(connection, now=NOW + by, lease_s=LEASE_S)


@pytest.mark.parametrize("by", [HOUR, -HOUR], ids=["forth", "back"])
def test_a_study_that_is_being_received_is_silent_only_from_then_on(database, by):
    with database.transaction() as connection:
        add_study(connection, 1)

    _go_on(database, by)

    def decided(seconds):
        now = NOW + by + timedelta(seconds=seconds)
        with database.transaction() as connection:
            ((_, arrival),) = arrivals(connection, now=now)
        return decide(arrival, now=now, quiet_s=30, deadline_s=600)

    assert [decided(seconds) for seconds in (1, 31)] == [Completion.WAIT, Completion.WHOLE]


def test_the_order_of_those_that_wait_stays_and_nobody_stands_back_longer_than_asked(database):
    handicaps = {1: NORMAL_S, 2: 7200, 3: 0}
    with database.transaction() as connection:
        for number, handicap_s in handicaps.items():
            add_study(connection, number, handicap_s=handicap_s)
            assert mark_ready(connection, number, quiet_since=NOW, by_deadline=False, now=NOW)

    _go_on(database, -HOUR)

    with database.transaction() as connection:
        claims = [claim_study(connection, holder="w", lease_s=60, now=NOW - HOUR) for _ in handicaps]
    assert [claim.study.id for claim in claims] == [3, 1, 2]


def test_leases_end_in_their_time_and_retries_come_at_once(database):
    queue_deliveries(database, 1)
    with database.transaction() as connection:
        assert mark_ready(connection, 1, quiet_since=NOW, by_deadline=False, now=NOW)
        claim = claim_study(connection, holder="w", lease_s=LEASE_S, now=NOW)
    assert claim is not None

    _go_on(database, -HOUR)

    with database.transaction() as connection:
        study = get_study(connection, 1)
        pending = connection.exec_driver_sql(
            "select count(*) from deliveries where next_attempt_at is null or next_attempt_at <= "
            "(select lease_until from studies)"
        ).scalar()
    assert study.lease_until == NOW - HOUR + timedelta(seconds=LEASE_S)
    assert pending == 1


def test_what_was_sent_before_the_clock_was_set_back_can_be_proven_from_then_on(database):
    queue_deliveries(database, 1)
    with database.transaction() as connection:
        parcel = claim_delivery(connection, "pacs", holder="d", lease_s=60, now=NOW)
        mark_sent(connection, parcel, confirm_by=NOW + timedelta(seconds=600), now=NOW)

    _go_on(database, -HOUR)

    with database.transaction() as connection:
        (sent,) = deliveries_of(connection, 1)
    assert (sent.sent_at, sent.confirm_by) == (NOW - HOUR, NOW - HOUR + timedelta(seconds=600))


def test_a_clock_that_was_not_set_back_leaves_what_was_promised(database):
    queue_studies(database, 2)
    with database.transaction() as connection:
        claim_study(connection, holder="w", lease_s=LEASE_S, now=NOW)

    assert _go_on(database, timedelta(seconds=1)) == 0
