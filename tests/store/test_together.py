"""Several threads' writes in one commit: each is done when it returns, and one that fails harms no other."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from reception import count, eventually
from sqlalchemy import Connection

from ich_node.errors import Collision, DatabaseAway
from ich_node.store import together
from ich_node.store.associations import open_association
from ich_node.store.database import Database

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def one_row(name: str) -> Callable[[Connection], int]:
    def _write(connection: Connection) -> int:
        return open_association(connection, receiver=name, calling_ae_title="CT", address="::1", now=NOW)

    return _write


class Crowd:
    """Threads that write while a first one holds the turn, so that they go together."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._begun, self._go_on = threading.Event(), threading.Event()
        self.results: dict[str, object] = {}

    def run(self, writes: dict[str, Callable[[Connection], object]]) -> None:
        first = threading.Thread(target=self._database.together, args=(self._first,))
        first.start()
        assert self._begun.wait(20)
        others = [threading.Thread(target=self._one, args=item) for item in writes.items()]
        for thread in others:
            thread.start()
        eventually(lambda: len(self._database._together._waiting) == len(writes))
        self._go_on.set()
        for thread in (first, *others):
            thread.join(60)

    def _first(self, _connection: Connection) -> None:
        self._begun.set()
        assert self._go_on.wait(20)

    def _one(self, name: str, write: Callable[[Connection], object]) -> None:
        try:
            self.results[name] = self._database.together(write)
        except (Collision, DatabaseAway) as error:
            self.results[name] = error


def test_writes_that_wait_at_the_same_moment_are_committed_together(database: Database) -> None:
    crowd, seen = Crowd(database), []

    def _watched(name: str) -> Callable[[Connection], int]:
        def _write(connection: Connection) -> int:
            seen.append(connection)
            return one_row(name)(connection)

        return _write

    crowd.run({name: _watched(name) for name in "abc"})

    assert len({id(connection) for connection in seen}) == 1
    assert len(set(crowd.results.values())) == 3
    assert count(database, "associations") == 3


def test_one_that_fails_is_undone_and_the_others_are_committed(database: Database) -> None:
    def _fails(connection: Connection) -> None:
        one_row("never")(connection)
        raise Collision

    crowd = Crowd(database)
    crowd.run({"a": one_row("a"), "bad": _fails, "b": one_row("b")})

    assert isinstance(crowd.results["bad"], Collision)
    assert isinstance(crowd.results["a"], int)
    assert isinstance(crowd.results["b"], int)
    assert count(database, "associations") == 2
    assert count(database, "associations", "receiver = 'never'") == 0


def test_where_the_database_is_away_all_hear_of_it(sqlite_url: str) -> None:
    database = Database(sqlite_url)

    def _away(_connection: Connection) -> None:
        raise DatabaseAway

    crowd = Crowd(database)
    crowd.run({"a": one_row("a"), "away": _away})

    assert all(isinstance(result, DatabaseAway) for result in crowd.results.values())
    assert count(database, "associations") == 0
    database.dispose()


def test_one_alone_waits_for_nobody_and_hears_what_its_write_raises(sqlite_url: str) -> None:
    database = Database(sqlite_url)

    def _fails(_connection: Connection) -> None:
        raise KeyError

    assert database.together(one_row("a")) == 1
    with pytest.raises(KeyError):
        database.together(_fails)
    database.dispose()


def test_who_waits_for_a_write_that_does_not_end_hears_that_the_database_is_away(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(together, "TURN_WITHIN_S", 0.2)
    database = Database(sqlite_url)
    begun, go_on = threading.Event(), threading.Event()

    def _hangs(_connection: Connection) -> None:
        begun.set()
        assert go_on.wait(60)

    first = threading.Thread(target=database.together, args=(_hangs,))
    first.start()
    assert begun.wait(20)

    with pytest.raises(DatabaseAway):
        database.together(one_row("late"))

    go_on.set()
    first.join(60)
    database.together(one_row("next"))
    assert count(database, "associations", "receiver = 'late'") == 0
    assert count(database, "associations") == 1
    database.dispose()
