"""What does not add up is found, said once, and forgotten when it adds up again. Rows are broken by hand."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from outbox import put_into_outbox, report
from reception import NODE, archive_of, count, settings_for

from ich_node.core.reconciliation import READ_WITHIN, Discrepancy
from ich_node.reconcile import WRITTEN_LONG_AGO, check_files, check_rows
from ich_node.store.history import history_of
from ich_node.store.reconciliation import count_discrepancies
from ich_node.store.standing import balance

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=7)
PACS = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 104}


@pytest.fixture
def settings(tmp_path, database):
    url = database.engine.url.render_as_string(hide_password=False)
    return settings_for(tmp_path, url, 11112, mode="report", destinations=[PACS])


@pytest.fixture
def study(database):
    """A study that ended well: read, reported, and its report waits for the one destination."""
    study_id = put_into_outbox(database, report())
    _change(database, f"state = 'finished', outcome = 'positive', finished_at = '{NOW:%F %T}', {_READY}")
    return study_id


_READY = f"ready_at = '{NOW:%F %T}', next_attempt_at = '{NOW:%F %T}'"


def _change(database, values, table="studies"):
    with database.engine.begin() as connection:
        connection.exec_driver_sql(f"update {table} set {values}".replace("%", "%%"))


def _delete(database, table):
    with database.engine.begin() as connection:
        connection.exec_driver_sql(f"delete from {table}")


def _check(database, settings, now=NOW):
    return check_rows(database, settings, made_since=LONG_AGO, now=now)


def test_of_what_adds_up_nothing_is_said(database, settings, study):
    assert _check(database, settings) == []
    with database.reading() as connection:
        assert balance(connection).unaccounted == 0
        assert set(count_discrepancies(connection).values()) == {0}


@pytest.mark.parametrize(
    ("tables", "values", "kind"),
    [
        ([], "state = 'ready', next_attempt_at = null", Discrepancy.STUCK),
        ([], "outcome = null", Discrepancy.NO_OUTCOME),
        ([], "outcome = 'fine'", Discrepancy.NO_OUTCOME),
        (["deliveries", "reports"], "attempts = 1", Discrepancy.NO_REPORT),
        ([], "outcome = 'failed', revision = 2", Discrepancy.NO_REPORT),
        (["deliveries"], "attempts = 1", Discrepancy.NO_DELIVERY),
    ],
)
def test_what_is_broken_is_said_once_and_stands_in_the_history(
    database, settings, study, tables, values, kind
):
    for table in tables:
        _delete(database, table)
    _change(database, values)

    first, second = _check(database, settings), _check(database, settings)

    assert (first, second) == ([(kind, study)], [])
    with database.reading() as connection:
        assert count_discrepancies(connection)[kind] == 1
        told = [line for line in history_of(connection, study) if line.event == "study.does_not_add_up"]
    assert [line.detail for line in told] == [{"reason": kind.value}]


def test_a_study_without_an_outcome_is_missing_in_the_balance(database, settings, study):
    _change(database, "outcome = null")

    with database.reading() as connection:
        assert balance(connection).unaccounted == 1


def test_a_study_that_waits_too_long_is_stuck_until_it_moves(database, settings, study):
    _change(database, "state = 'ready', outcome = null, finished_at = null")
    later = NOW + READ_WITHIN + timedelta(seconds=1)

    in_time, late = _check(database, settings), _check(database, settings, later)
    _change(database, f"state = 'finished', outcome = 'positive', finished_at = '{NOW:%F %T}'")
    _check(database, settings, later)

    assert (in_time, late) == ([], [(Discrepancy.STUCK, study)])
    assert count(database, "discrepancies") == 0


def test_an_ignored_study_needs_no_report_and_a_quiet_node_no_delivery(database, settings, study):
    _delete(database, "deliveries")
    assert _check(database, settings.model_copy(update={"mode": "quiet"})) == []
    _delete(database, "reports")
    _change(database, "outcome = 'ignored'")

    assert _check(database, settings) == []


def test_of_a_report_made_under_other_settings_no_delivery_is_expected(database, settings, study):
    _delete(database, "deliveries")

    assert check_rows(database, settings, made_since=NOW, now=NOW) == []


def test_a_row_whose_file_is_gone_is_said_until_the_file_is_back(database, settings, study):
    archive, stop = archive_of(settings), threading.Event()
    now = datetime.now(UTC) + WRITTEN_LONG_AGO

    first = check_files(database, archive, stop, ours=NODE, now=now)
    path = archive.path("00")  # as tests.outbox names it
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    second = check_files(database, archive, stop, ours=NODE, now=now)

    assert (first, second) == ([(Discrepancy.FILE_LOST, study)], [])
    assert count(database, "discrepancies") == 0


def test_a_look_that_was_stopped_says_nothing(database, settings, study):
    stop = threading.Event()
    stop.set()

    assert check_files(database, archive_of(settings), stop, ours=NODE, now=NOW) == []
    assert count(database, "discrepancies") == 0
