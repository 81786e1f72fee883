"""The queue and the outbox under several claimers, on both databases."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

import pytest
from queued import NOW, add_study, queue_deliveries, queue_studies

from ich_node.core.states import StudyState
from ich_node.errors import LeaseLost
from ich_node.store.arrivals import ask_early
from ich_node.store.claims import (
    claim_study,
    early_is_due_first,
    extend_lease,
    finish_study,
    postpone_study,
    release_study,
)
from ich_node.store.database import Connection, Database
from ich_node.store.deliveries import claim_delivery, mark_sent, postpone_delivery
from ich_node.store.studies import NewInstance, add_instance, get_study, mark_ready

CLAIMERS = 6
Got = TypeVar("Got")


def claim_all_at_once(database: Database, claim: Callable[[Connection, str], Got | None]) -> list[Got]:
    """Let several claimers empty a queue; everything that any of them got."""
    got: list[Got] = []
    barrier = threading.Barrier(CLAIMERS)

    def _claimer(name: str) -> None:
        barrier.wait()
        while True:
            with database.transaction() as connection:
                one = claim(connection, name)
            if one is None:
                return
            got.append(one)

    threads = [threading.Thread(target=_claimer, args=(f"claimer {i}",)) for i in range(CLAIMERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return got


def claim_one(database: Database, holder: str, now: datetime = NOW):
    with database.transaction() as connection:
        return claim_study(connection, holder=holder, lease_s=60, now=now)


def test_what_is_to_be_read_early_goes_first_unless_it_is_less_urgent(database: Database) -> None:
    hour = 3600
    with database.transaction() as connection:
        for number, handicap_s in ((1, 0), (2, 4 * hour), (3, 0)):
            add_study(connection, number, handicap_s=handicap_s)
        assert mark_ready(connection, 3, quiet_since=NOW, by_deadline=False, now=NOW)

        def due_first(*, early: int) -> bool:
            assert ask_early(connection, early, f"key {early}", evidence=[], now=NOW)
            return early_is_due_first(connection, now=NOW)

        old_research = due_first(early=2)
        fresh = due_first(early=1)

    assert (old_research, fresh) == (False, True)


def test_no_study_is_claimed_twice(database: Database) -> None:
    queue_studies(database, 60)

    got = claim_all_at_once(
        database, lambda connection, name: claim_study(connection, holder=name, lease_s=60, now=NOW)
    )

    assert sorted(claim.study.id for claim in got) == list(range(1, 61))


def test_no_delivery_is_claimed_twice(database: Database) -> None:
    queue_deliveries(database, 60)

    got = claim_all_at_once(
        database,
        lambda connection, name: claim_delivery(connection, "pacs", holder=name, lease_s=60, now=NOW),
    )

    assert sorted(parcel.delivery_id for parcel in got) == list(range(1, 61))


def test_a_claim_can_be_taken_over_only_when_its_lease_has_ended(database: Database) -> None:
    queue_studies(database, 1)
    first = claim_one(database, "first")

    early = claim_one(database, "second", NOW + timedelta(seconds=59))
    late = claim_one(database, "second", NOW + timedelta(seconds=61))

    assert first is not None
    assert early is None
    assert late is not None
    assert late.token > first.token
    assert late.study.attempts == 2


def test_a_heartbeat_keeps_the_claim(database: Database) -> None:
    queue_studies(database, 1)
    first = claim_one(database, "first")
    assert first is not None

    with database.transaction() as connection:
        extend_lease(connection, first, lease_s=60, now=NOW + timedelta(seconds=50))

    assert claim_one(database, "second", NOW + timedelta(seconds=100)) is None


def test_who_lost_the_lease_can_say_nothing_more(database: Database) -> None:
    queue_studies(database, 1)
    slow = claim_one(database, "same name")
    quick = claim_one(database, "same name", NOW + timedelta(seconds=61))
    assert slow is not None
    assert quick is not None

    with pytest.raises(LeaseLost), database.transaction() as connection:
        finish_study(connection, slow, outcome="negative", reason=None, now=NOW)
    with database.transaction() as connection:
        finish_study(connection, quick, outcome="positive", reason=None, now=NOW)

    with database.transaction() as connection:
        study = get_study(connection, 1)
    assert study is not None
    assert (study.state, study.outcome) == (StudyState.FINISHED, "positive")


def test_a_late_slice_takes_the_study_from_its_worker(database: Database) -> None:
    queue_studies(database, 1)
    claim = claim_one(database, "worker")
    assert claim is not None
    late = NewInstance(
        study_uid="1.2.0",
        series_uid="1.2.3",
        sop_instance_uid="1.2.0.2",
        sop_class_uid="1.2",
        transfer_syntax_uid="1.2",
        patient_id="",
        accession_number="",
        sha256="00",
        bytes=1,
        file="late",
        association_id=None,
    )

    with database.transaction() as connection:
        add_instance(connection, late, in_use=True, now=NOW)

    with pytest.raises(LeaseLost), database.transaction() as connection:
        finish_study(connection, claim, outcome="negative", reason=None, now=NOW)


def test_a_postponed_study_comes_back_at_its_time(database: Database) -> None:
    queue_studies(database, 1)
    claim = claim_one(database, "worker")
    assert claim is not None

    with database.transaction() as connection:
        postpone_study(connection, claim, until=NOW + timedelta(seconds=10), now=NOW)

    assert claim_one(database, "worker", NOW + timedelta(seconds=9)) is None
    assert claim_one(database, "worker", NOW + timedelta(seconds=10)) is not None


def test_a_study_that_is_given_back_is_free_at_once_and_its_attempt_does_not_count(
    database: Database,
) -> None:
    queue_studies(database, 1)
    claim = claim_one(database, "leaving")
    assert claim is not None

    with database.transaction() as connection:
        release_study(connection, claim, now=NOW)

    again = claim_one(database, "staying")
    assert again is not None
    assert again.study.attempts == 1
    with pytest.raises(LeaseLost), database.transaction() as connection:
        release_study(connection, claim, now=NOW)


def test_a_delivery_whose_lease_passed_on_cannot_be_marked_by_its_old_holder(database: Database) -> None:
    queue_deliveries(database, 1)
    with database.transaction() as connection:
        old = claim_delivery(connection, "pacs", holder="same name", lease_s=1, now=NOW)
        new = claim_delivery(
            connection, "pacs", holder="same name", lease_s=60, now=NOW + timedelta(seconds=2)
        )
    assert old is not None
    assert new is not None

    with pytest.raises(LeaseLost), database.transaction() as connection:
        postpone_delivery(connection, old, error="late", until=NOW)
    with database.transaction() as connection:
        mark_sent(connection, new, now=NOW)


def test_destinations_have_queues_of_their_own(database: Database) -> None:
    queue_deliveries(database, 1)

    with database.transaction() as connection:
        other = claim_delivery(connection, "other", holder="x", lease_s=60, now=NOW)

    assert other is None


def test_the_study_that_is_due_first_is_claimed_first(database: Database) -> None:
    with database.transaction() as connection:
        for number, handicap_s in enumerate((900, 7200, 0, 900)):
            add_study(connection, number, handicap_s=handicap_s)
        for study_id, waits_since in ((1, 0), (2, -7300), (3, 60), (4, -30)):
            at = NOW + timedelta(seconds=waits_since)
            assert mark_ready(connection, study_id, quiet_since=NOW, by_deadline=False, now=at)

    claimed = [claim_one(database, "worker", now=NOW + timedelta(seconds=60)) for _ in range(4)]

    # the least urgent one has waited for two hours: it has aged to the top
    assert [claim.study.id for claim in claimed] == [2, 3, 4, 1]


def test_the_most_urgent_instance_speaks_for_its_study(database: Database) -> None:
    with database.transaction() as connection:
        study_ids = [
            add_study(connection, 0, instance=one, handicap_s=s) for one, s in enumerate((900, 0, 7200))
        ]
        study = get_study(connection, study_ids[0])

    assert len(set(study_ids)) == 1
    assert study.handicap_s == 0
