"""Who waits for work hears of it at once, on both databases; and looks in time where nothing is heard."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic

import pytest
from outbox import put_into_outbox, report
from store.test_claims import NOW, add_study

from ich_node.store import hints
from ich_node.store.database import Database
from ich_node.store.hints import Hints, Topic
from ich_node.store.studies import mark_ready

LONG_S, AT_ONCE_S = 60.0, 30.0  # the machine may be busy: what matters is that one is below the other


@contextmanager
def listening(database: Database, topic: Topic) -> Iterator[Hints]:
    """Hints as another process has them, which has waited once and heard nothing."""
    elsewhere = Database(database.url)
    heard = Hints(elsewhere, topic)
    try:
        heard.wait(threading.Event(), 0.2)
        yield heard
    finally:
        heard.close()
        elsewhere.dispose()


def queue_a_study(database: Database) -> None:
    with database.transaction() as connection:
        study = add_study(connection, 1)
        assert mark_ready(connection, study, quiet_since=NOW, by_deadline=False, now=NOW)


def waited(heard: Hints, seconds: float, stop: threading.Event | None = None) -> float:
    begun = monotonic()
    heard.wait(stop or threading.Event(), seconds)
    return monotonic() - begun


def test_a_study_that_is_queued_during_the_wait_ends_it(database: Database) -> None:
    with listening(database, Topic.STUDIES) as heard:
        queueing = threading.Timer(0.5, queue_a_study, args=(database,))
        queueing.start()

        seconds = waited(heard, LONG_S)

        queueing.join()
    assert seconds < AT_ONCE_S


def test_a_report_that_was_put_into_the_outbox_before_the_wait_ends_it_too(database: Database) -> None:
    with listening(database, Topic.REPORTS) as heard:
        put_into_outbox(database, report())

        assert waited(heard, LONG_S) < AT_ONCE_S


def test_where_nothing_happens_the_wait_is_as_long_as_asked(database: Database) -> None:
    with listening(database, Topic.STUDIES) as heard:
        assert waited(heard, 0.5) >= 0.5


def test_the_end_of_the_process_ends_the_wait(database: Database) -> None:
    stop = threading.Event()
    with listening(database, Topic.STUDIES) as heard:
        threading.Timer(0.3, stop.set).start()

        assert waited(heard, LONG_S, stop) < AT_ONCE_S


def test_what_was_undone_is_no_hint(database: Database) -> None:
    with listening(database, Topic.REPORTS) as heard:
        with suppress(InterruptedError), database.transaction() as connection:
            hints.tell(connection, Topic.REPORTS)
            raise InterruptedError

        assert waited(heard, 0.5) >= 0.5


@pytest.mark.parametrize(
    "url", ["sqlite:////nowhere/at/all.sqlite", "postgresql+psycopg://nobody@127.0.0.1:9/none"]
)
def test_a_database_that_is_away_costs_the_hint_and_nothing_else(url: str, monkeypatch) -> None:
    monkeypatch.setattr("ich_node.store.database._require_writable", lambda _path: None)
    heard = Hints(Database(url), Topic.STUDIES)

    assert waited(heard, 0.5) >= 0.5

    heard.close()


def test_after_its_connection_broke_hints_are_heard_again(database: Database, monkeypatch) -> None:
    monkeypatch.setattr(hints, "CONNECT_AGAIN_S", 0.0)
    with listening(database, Topic.STUDIES) as heard:
        heard._connection.close()
        assert waited(heard, 0.5) >= 0.5

        queue_a_study(database)

        assert waited(heard, LONG_S) < AT_ONCE_S
