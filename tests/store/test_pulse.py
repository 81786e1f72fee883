"""Signs of life: written by the loops themselves, so that one that hangs falls silent."""

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from ich_node.core.rooms import judge
from ich_node.store import pulse as pulse_module
from ich_node.store.database import Database
from ich_node.store.pulse import Pulse
from ich_node.store.rooms import give_sign, list_signs
from ich_node.store.writer import this_process


def _signs(database):
    with database.reading() as connection:
        return list_signs(connection)


def _well(database, room="deliver"):
    return next(one for one in judge(_signs(database), now=datetime.now(UTC)) if one.room == room)


def test_a_loop_that_hangs_is_seen_although_the_others_go_on(database, monkeypatch):
    monkeypatch.setattr(pulse_module, "EVERY_S", 0.0)
    pulse = Pulse(database, "deliver")
    pulse.beat("looks over", loop="main")
    assert _well(database).well

    pulse.beat("sends to pacs", loop="pacs", within_s=-1)  # its promise is broken already
    pulse.beat("looks over", loop="main")

    health = _well(database)
    assert not health.well
    assert "sends to pacs" in health.why

    pulse.beat("sends to pacs", loop="pacs")
    assert _well(database).well


def test_a_process_in_trouble_says_so_at_once_and_says_when_it_is_over(database):
    pulse = Pulse(database, "work")
    pulse.beat("waits")

    pulse.beat("waits", trouble="the bundle does not load")
    troubled = _well(database, "work")
    pulse.beat("waits")

    assert (troubled.well, "the bundle does not load" in troubled.why) == (False, True)
    assert _well(database, "work").well


def test_more_time_is_written_at_once_and_the_rest_now_and_then(database):
    pulse = Pulse(database, "work")
    pulse.beat("waits", within_s=60)
    (first,) = _signs(database)
    pulse.beat("still waits", within_s=60)
    (second,) = _signs(database)
    pulse.beat("predict", within_s=600)
    (third,) = _signs(database)

    assert second == first
    assert third.doing == "predict"
    assert third.due_at - first.due_at > timedelta(seconds=500)


def test_a_loop_that_does_not_speak_in_time_is_late_until_it_does(database):
    pulse = Pulse(database, "work")
    assert not pulse.is_late()
    pulse.beat("predict", within_s=-1)
    assert pulse.is_late()
    pulse.beat("report")
    assert not pulse.is_late()


def test_a_machine_whose_clock_differs_from_the_database_s_is_in_trouble(database, monkeypatch):
    ahead = datetime.now(UTC) + timedelta(seconds=20)
    monkeypatch.setattr(pulse_module, "server_time", lambda _: ahead)
    Pulse(database, "receive").beat("listens")

    health = _well(database, "receive")

    assert not health.well
    assert "the clock differs from the database's by -20 s" in health.why


def test_who_ends_as_he_should_is_not_missed(database):
    pulse = Pulse(database, "work")
    pulse.beat("waits")

    pulse.end()

    assert _signs(database) == []


def test_an_earlier_life_that_was_killed_is_forgotten_and_others_are_not(database):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    now = datetime.now(UTC)
    pulse = Pulse(database, "work")
    pulse.beat("waits")
    (own,) = _signs(database)
    late = {"due_at": now - timedelta(seconds=1), "seen_at": now - timedelta(seconds=61)}
    others = [
        replace(own, process=f"{this_process().host}:{dead.pid}", **late),
        replace(own, process=f"{this_process().host}:{os.getppid()}", **late),
        replace(own, process=f"elsewhere:{dead.pid}", **late),
    ]
    with database.transaction() as connection:
        for one in others:
            give_sign(connection, one)

    Pulse(database, "work").beat("waits")

    assert {sign.process for sign in _signs(database)} == {own.process, others[1].process, others[2].process}


def test_a_database_that_is_away_hears_nothing_and_is_soon_told_again(database, tmp_path, monkeypatch):
    away = Database(f"sqlite:///{tmp_path / 'empty.sqlite'}")  # no tables: every statement fails
    pulse = Pulse(away, "work")

    pulse.beat("waits")
    pulse._database = database
    pulse.beat("too soon")
    early = _signs(database)
    monkeypatch.setattr(pulse_module, "AGAIN_S", 0.0)
    pulse.beat("waits")

    assert early == []
    assert [sign.doing for sign in _signs(database)] == ["waits"]
    away.dispose()
