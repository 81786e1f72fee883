"""A room is well where all its processes speak in time and none is in trouble."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ich_node.core.rooms import FORGOTTEN_AFTER, ROOMS, Sign, judge

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
ALIVE = Sign(
    room="work",
    process="host:7",
    begun_at=NOW - timedelta(hours=3),
    seen_at=NOW - timedelta(seconds=5),
    due_at=NOW + timedelta(seconds=55),
    doing="predict",
    trouble=None,
)
SILENT = replace(
    ALIVE, process="host:8", seen_at=NOW - timedelta(seconds=90), due_at=NOW - timedelta(seconds=30)
)
TROUBLED = replace(ALIVE, process="host:9", trouble="the bundle does not load")
LONG_SILENT = replace(SILENT, due_at=NOW - FORGOTTEN_AFTER)


def _work(*signs):
    return next(health for health in judge(signs, now=NOW) if health.room == "work")


@pytest.mark.parametrize(
    ("signs", "well", "since", "why"),
    [
        ((), False, None, "no process of it runs"),
        ((ALIVE,), True, ALIVE.begun_at, "predict"),
        ((SILENT,), False, SILENT.seen_at, "host:8 is silent: predict"),
        ((ALIVE, SILENT), False, SILENT.seen_at, "host:8 is silent: predict"),
        ((ALIVE, LONG_SILENT), True, ALIVE.begun_at, "predict"),
        ((LONG_SILENT,), False, LONG_SILENT.seen_at, "host:8 is silent: predict"),
        ((ALIVE, TROUBLED), False, TROUBLED.seen_at, "host:9: the bundle does not load"),
    ],
)
def test_a_room_is_judged_by_its_signs(signs, well, since, why):
    health = _work(*signs)

    assert (health.well, health.since, health.why) == (well, since, why)


def test_every_room_is_judged_by_its_own_signs_alone():
    judged = judge([replace(ALIVE, room=room) for room in ROOMS if room != "deliver"], now=NOW)

    assert {health.room: health.well for health in judged} == {room: room != "deliver" for room in ROOMS}


def test_long_work_that_was_announced_is_no_silence():
    working = replace(SILENT, due_at=NOW + timedelta(minutes=8))

    assert _work(working).well
