"""When a study is queued, on both databases."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from builders import ct_series
from reception import Message, accept, count

from ich_node.core.states import StudyState
from ich_node.intake.close import close_complete_studies
from ich_node.store.arrivals import arrivals
from ich_node.store.associations import (
    ADOPTED,
    close_association,
    close_associations_of,
    keep_associations_open,
    open_association,
)
from ich_node.store.claims import claim_study
from ich_node.store.database import Database
from ich_node.store.files import Archive
from ich_node.store.studies import Study, find_study, mark_ready

START = datetime(2026, 11, 24, 12, tzinfo=UTC)
SERIES = ct_series(slices=3, rows=8, columns=8)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "storage", reserve_mb=0)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def association(database: Database) -> int:
    with database.transaction() as connection:
        return open_association(
            connection, receiver="here:104", calling_ae_title="CT", address="10.1.1.1", now=START
        )


def still_there(database: Database, seconds: float) -> None:
    with database.transaction() as connection:
        keep_associations_open(connection, "here:104", now=at(seconds))


def arrive(database: Database, archive: Archive, number: int, seconds: float, sender: int | None) -> None:
    received = Message.of(SERIES[number]).received(sender)
    assert accept(received, database=database, archive=archive, now=at(seconds)).status == 0


def close(database: Database, seconds: float) -> int:
    return close_complete_studies(database, now=at(seconds), quiet_s=30, deadline_s=600)


def study(database: Database) -> Study:
    with database.transaction() as connection:
        found = find_study(connection, SERIES[0].StudyInstanceUID)
    assert found is not None
    return found


def test_silence_alone_does_not_close_a_study_while_its_sender_is_connected(
    database: Database, archive: Archive
) -> None:
    sender = association(database)
    arrive(database, archive, 0, 0, sender)

    still_there(database, 99)
    while_open = close(database, 100)
    with database.transaction() as connection:
        close_association(connection, sender, now=at(101))
    after = close(database, 102)

    assert (while_open, after) == (0, 1)
    assert study(database).state is StudyState.READY


def test_a_study_does_not_wait_for_the_deadline_where_its_receiver_is_gone_for_good(
    database: Database, archive: Archive
) -> None:
    sender = association(database)
    arrive(database, archive, 0, 0, sender)
    still_there(database, 20)

    assert [close(database, 39), close(database, 41)] == [0, 1]


def test_the_quiet_time_runs_from_the_last_instance_of_any_association(
    database: Database, archive: Archive
) -> None:
    arrive(database, archive, 0, 0, None)
    arrive(database, archive, 1, 20, None)

    assert [close(database, 31), close(database, 49), close(database, 51)] == [0, 0, 1]


def test_at_the_deadline_a_study_is_taken_as_it_is(database: Database, archive: Archive) -> None:
    sender = association(database)
    arrive(database, archive, 0, 0, sender)
    arrive(database, archive, 1, 599, sender)

    closed = close(database, 601)

    assert closed == 1
    assert count(database, "history", "event = 'study.completed'") == 1


@pytest.mark.parametrize(("last_s", "cut_short"), [(599, True), (560, False)])
def test_what_still_came_at_the_deadline_is_no_whole_study(
    database: Database, archive: Archive, last_s: float, cut_short: bool
) -> None:
    arrive(database, archive, 0, 0, None)
    arrive(database, archive, 1, last_s, None)

    assert close(database, 601) == 1
    assert count(database, "studies", "cut_short") == cut_short


def test_a_late_slice_reopens_a_queued_study_and_voids_the_lease(
    database: Database, archive: Archive
) -> None:
    arrive(database, archive, 0, 0, None)
    close(database, 31)
    with database.transaction() as connection:
        claim = claim_study(connection, holder="worker", lease_s=60, now=at(32))
    assert claim is not None

    arrive(database, archive, 1, 33, None)

    reopened = study(database)
    assert (reopened.state, reopened.revision, reopened.lease_holder) == (StudyState.RECEIVING, 1, None)


def test_a_study_that_waited_long_is_not_taken_at_its_next_slice(
    database: Database, archive: Archive
) -> None:
    arrive(database, archive, 0, 0, None)
    close(database, 31)
    sender = association(database)

    arrive(database, archive, 1, 700, sender)

    assert [close(database, 701), close(database, 1301)] == [0, 1]


def test_a_slice_that_comes_between_the_decision_and_the_mark_keeps_the_study_open(
    database: Database, archive: Archive
) -> None:
    arrive(database, archive, 0, 0, None)
    with database.transaction() as connection:
        ((study_id, seen),) = arrivals(connection, now=at(40))
    arrive(database, archive, 1, 31, None)

    with database.transaction() as connection:
        marked = mark_ready(
            connection, study_id, quiet_since=seen.last_instance_at, by_deadline=False, now=at(31)
        )

    assert not marked
    assert study(database).state is StudyState.RECEIVING


def test_a_receiver_closes_only_what_its_own_earlier_life_left_open(database: Database) -> None:
    association(database)
    with database.transaction() as connection:
        open_association(
            connection, receiver="there:104", calling_ae_title="CT", address="10.1.1.1", now=START
        )

    with database.transaction() as connection:
        closed = close_associations_of(connection, "here:104", now=at(1))

    assert len(closed) == 1
    assert count(database, "associations", "closed_at is null") == 1


def test_a_study_does_not_wait_for_the_end_of_what_is_adopted(database: Database, archive: Archive) -> None:
    with database.transaction() as connection:
        facts = {"receiver": ADOPTED, "calling_ae_title": "CT", "address": ""}
        number = open_association(connection, **facts, now=at(30))
    arrive(database, archive, 0, seconds=0, sender=number)

    assert close(database, 31) == 1
