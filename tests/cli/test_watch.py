"""The doctor says who is silent, what does not add up and how the last canary ended, and what to do."""

from datetime import UTC, datetime, timedelta

import pytest
from outbox import put_into_outbox, report
from reception import settings_for

from ich_node.cli.watch import MOST_NAMED, examine_watch
from ich_node.core.reconciliation import Discrepancy
from ich_node.core.rooms import ROOMS, Sign
from ich_node.store.canaries import begin_canary, end_canary
from ich_node.store.database import Database
from ich_node.store.reconciliation import keep_discrepancies
from ich_node.store.refusals import note_refusals
from ich_node.store.rooms import give_sign

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


@pytest.fixture
def opened(sqlite_url):
    database = Database(sqlite_url)
    yield database
    database.dispose()


def _examine(database, folder, **sections):
    settings = settings_for(folder, database.url, 11112, **sections)
    checks = list(examine_watch(database, settings, now=NOW))
    return {check.subject: (check.passed, check.words) for check in checks}


def _give_signs(database, **due_in_s):
    with database.transaction() as connection:
        for room in ROOMS:
            seen_at = NOW - timedelta(minutes=2)
            due_at = NOW + timedelta(seconds=due_in_s.get(room, 30))
            sign = Sign(
                room=room,
                process="h:1",
                begun_at=seen_at,
                seen_at=seen_at,
                due_at=due_at,
                doing="waits",
                trouble=None,
            )
            give_sign(connection, sign)


def test_before_the_first_start_nothing_is_wrong(opened, tmp_path):
    told = _examine(opened, tmp_path)

    assert all(passed for passed, _ in told.values())
    assert "`ich-node serve`" in told["rooms"][1]
    assert "adds up" in told["books"][1] or "has its end" in told["books"][1]
    assert told["canary"][1] == "none has ended yet"


def test_a_node_that_is_to_report_and_does_not_run_is_not_well(opened, tmp_path):
    assert _examine(opened, tmp_path, mode="report")["rooms"] == (
        False,
        "nothing runs; `ich-node serve` starts all of it",
    )


def test_a_silent_room_is_named_with_since_when_and_what_to_do(opened, tmp_path):
    _give_signs(opened, work=-60)

    told = _examine(opened, tmp_path)

    passed, words = told["room work"]
    assert not passed
    assert "silent" in words
    assert f"since {(NOW - timedelta(minutes=2)).astimezone():%Y-%m-%d %H:%M:%S}" in words
    assert "the log of `ich-node work`" in words
    assert told["room receive"][0]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Discrepancy.NO_REPORT, "has an outcome and no report; `ich-node studies read-again ID`"),
        (
            Discrepancy.FILE_LOST,
            "has images whose files are gone; send the study again from the PACS, "
            "then `ich-node studies read-again ID`",
        ),
    ],
)
def test_what_does_not_add_up_is_named_with_the_command_that_helps(opened, tmp_path, kind, words):
    study = put_into_outbox(opened, report())
    with opened.transaction() as connection:
        keep_discrepancies(connection, set(Discrepancy), {(kind, study)}, now=NOW)
        note_refusals(connection, {"A700": 1}, now=NOW)

    told = _examine(opened, tmp_path)

    assert told["books"] == (False, f"study {study} {words}")
    assert "1 instance was refused with status A700" in told["refusals"][1]


def test_what_was_cut_off_is_named_by_its_reason(opened, tmp_path):
    with opened.transaction() as connection:
        note_refusals(connection, {"INSTANCE_TOO_LARGE": 2}, now=NOW)

    assert "2 associations were cut off: INSTANCE_TOO_LARGE" in _examine(opened, tmp_path)["refusals"][1]


def test_of_many_the_rest_is_counted(opened, tmp_path):
    study = put_into_outbox(opened, report())
    with opened.transaction() as connection:
        for number in range(MOST_NAMED):
            connection.exec_driver_sql(
                "insert into studies (study_uid, patient_id, accession_number, state, revision, conflict, "
                "cut_short, attempts, lease_token, first_instance_at, last_instance_at) values "
                f"('9.{number}', '', '', 'ready', 1, 0, 0, 0, 0, '2026-11-26', '2026-11-26')"
            )
        found = {(Discrepancy.STUCK, study + number) for number in range(MOST_NAMED + 1)}
        keep_discrepancies(connection, set(Discrepancy), found, now=NOW)

    assert _examine(opened, tmp_path)["books"] == (False, "1 more do not add up")  # the last of its lines


@pytest.mark.parametrize(
    ("canary", "trouble", "passed", "words"),
    [
        ({}, None, True, "came through"),
        ({}, "no outcome in time", False, "no outcome in time"),
        ({"every_s": 0}, "no outcome in time", True, "off"),
    ],
)
def test_how_the_last_canary_ended_is_told(opened, tmp_path, canary, trouble, passed, words):
    with opened.transaction() as connection:
        begin_canary(connection, "1.2.3", now=NOW)
        end_canary(connection, "1.2.3", outcome="negative", trouble=trouble, now=NOW)

    told = _examine(opened, tmp_path, canary=canary)["canary"]

    assert told[0] is passed
    assert words in told[1]
