"""Each process of the node says that it lives while it does, and is not missed once it ended as it should."""

import threading
from contextlib import contextmanager

import pytest
from outbox import delivering
from reception import eventually, receiving, settings_for

from ich_node import scheduler, worker
from ich_node.store.database import Database
from ich_node.store.rooms import list_signs

PACS = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 1}


@contextmanager
def _running(run, settings):
    stop = threading.Event()
    thread = threading.Thread(target=run, args=(settings, stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(60)
        assert not thread.is_alive()


ROOMS = {
    "receive": receiving,
    "work": lambda settings: _running(worker.run, settings),
    "deliver": delivering,
    "schedule": lambda settings: _running(scheduler.run, settings),
}


@pytest.mark.parametrize("room", ROOMS)
def test_a_process_gives_signs_while_it_runs(sqlite_url, tmp_path, free_port, room):
    database = Database(sqlite_url)
    settings = settings_for(tmp_path, sqlite_url, free_port, mode="report", destinations=[PACS])

    def signs():
        with database.reading() as connection:
            return list_signs(connection)

    with ROOMS[room](settings):
        (sign,) = eventually(signs, within_s=30)
    after = signs()
    database.dispose()

    assert sign.room == room
    assert sign.due_at > sign.seen_at
    assert after == []


def test_a_worker_without_a_bundle_says_that_it_cannot_work(sqlite_url, tmp_path, free_port):
    database = Database(sqlite_url)
    settings = settings_for(tmp_path, sqlite_url, free_port)

    def trouble():
        with database.reading() as connection:
            return [sign.trouble for sign in list_signs(connection) if sign.trouble]

    with _running(worker.run, settings):
        told = eventually(trouble, within_s=30)
    database.dispose()

    assert told == ["the bundle does not load"]
