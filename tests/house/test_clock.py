"""Clocks that are set while studies come: every report arrives in seconds and bears the site's right time."""

import os
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from builders import ct_series
from chaos.__main__ import stage_in
from chaos.databases import SqlitePlace
from chaos.plan import Kind, PlannedStudy, Round, Trick, Way
from chaos.rounds import play
from peers import missing
from pydicom import dcmread
from reception import Message, eventually, send_messages

from ich_node.demo.node import AE_TITLE, SCANNER_AE_TITLE

pytestmark = pytest.mark.peer
PATCH = Path(__file__).parent / "wall_clock"
SITE = ZoneInfo("Europe/Berlin")
# the hour from 02:00 to 03:00 comes twice in that night: here 02:20 in summer time, then 02:10 in winter's
SUMMER, WINTER = datetime(2026, 10, 25, 0, 20, tzinfo=UTC), datetime(2026, 10, 25, 1, 10, tzinfo=UTC)
FORTH, BACK = timedelta(hours=1), -timedelta(hours=1)


class Clock:
    """What the node takes for the time; can be set while it runs."""

    def __init__(self, library: Path, file: Path, begin: datetime) -> None:
        self._file, self._ahead = file, begin - datetime.now(UTC)
        self.set(timedelta(0))
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_CACHE_DURATION": "1",  # seconds; reading it at each look would take all the time
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # as on a host whose wall clock is set
            "DONT_FAKE_MONOTONIC": "1",  # its name in older versions
            "NO_FAKE_STAT": "1",
            "TZ": SITE.key,
            "PYTHONPATH": os.pathsep.join([str(PATCH), *sys.path]),
        }

    def now(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def set(self, by: timedelta) -> None:
        self._ahead += by
        new = self._file.with_suffix(".new")
        new.write_text(f"{self._ahead.total_seconds():+.3f}s")
        os.replace(new, self._file)  # noqa: PTH105


@pytest.fixture
def library() -> Path:
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        missing("faketime (Debian package faketime)")
    return found[0]


@contextmanager
def _node(tmp_path: Path, library: Path, begin: datetime):
    clock = Clock(library, tmp_path / "clock", begin)
    with stage_in(tmp_path, SqlitePlace(tmp_path / "database"), environment=clock.environment) as stage:
        yield stage, clock


def _read(stage, number: int, kind: Kind) -> None:
    """Send a study; its report comes within the two minutes of a round."""
    study = PlannedStudy(number=number, kind=kind, way=Way.STEADY, after_s=0)
    found = play(
        stage,
        Round(number=1, studies=(study,), kills=(), trick=Trick.NONE, refusals=0, pacs_delay_s=0),
    )
    assert not found, found.words()
    assert stage.refused == 0


def _times(stage) -> dict[str, datetime]:
    """The moment that each report at the PACS says, by its UID; SR and SC of a study say the same offset."""
    times = {}
    for path in stage.pacs.files():
        report = dcmread(path, stop_before_pixels=True)
        said = f"{report.ContentDate}{report.ContentTime:.6}{report.TimezoneOffsetFromUTC}"
        times[str(report.SOPInstanceUID)] = datetime.strptime(said, "%Y%m%d%H%M%S%z")
    return times


def _send(stage, folder: Path, zone: str) -> None:
    """Send a study of a scanner that says its zone, or none; its report and picture come to the PACS."""
    images = ct_series(seed=len(zone), slices=14, rows=128, columns=128, TimezoneOffsetFromUTC=zone)
    titles = {"calling": SCANNER_AE_TITLE, "called": AE_TITLE}
    there = len(stage.pacs.files())
    answers = send_messages(stage.node.port_of("receive"), list(map(Message.of, images)), folder, **titles)
    assert {answer.Status for answer in answers} == {0}
    eventually(lambda: len(stage.pacs.files()) == there + 2, within_s=90)


@pytest.mark.timeout(400)
def test_a_report_bears_the_right_time_in_both_of_the_two_hours_that_bear_one_name(tmp_path, library):
    with _node(tmp_path, library, SUMMER) as (stage, clock):
        _send(stage, tmp_path, zone="")
        summer = _times(stage)
        clock.set(WINTER - clock.now())
        _send(stage, tmp_path, zone=" ")
        winter = {uid: at for uid, at in _times(stage).items() if uid not in summer}
        _send(stage, tmp_path, zone="-0330")
        theirs = {uid: at for uid, at in _times(stage).items() if uid not in summer | winter}
        ended = clock.now()

    second = timedelta(seconds=1)  # a DICOM time here has no fractions
    assert all(SUMMER - second <= at < WINTER for at in summer.values())
    assert all(WINTER - second <= at <= ended for at in (winter | theirs).values())
    offsets = [{at.utcoffset() for at in times.values()} for times in (summer, winter, theirs)]
    # the site's, or that of the scanner where it names one
    assert offsets == [{timedelta(hours=2)}, {timedelta(hours=1)}, {-timedelta(hours=3, minutes=30)}]
    # by the clock on the wall the later reports stand an hour before: the offset alone tells
    assert min(winter.values()).replace(tzinfo=None) < max(summer.values()).replace(tzinfo=None)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("jump", [FORTH, BACK], ids=["forth", "back"])
def test_a_clock_that_jumps_by_an_hour_delays_nobody(tmp_path, library, seed, jump):
    number = seed % 10_000 * 10
    with _node(tmp_path, library, datetime(2026, 11, 24, 12, tzinfo=UTC)) as (stage, clock):
        _read(stage, number, Kind.WHOLE)
        clock.set(jump)
        _read(stage, number + 1, Kind.SHORT)
        _read(stage, number + 2, Kind.LATE)
        times = _times(stage)

        assert stage.node.deaths == 0
        assert '"clock.was_set"' in stage.node.log_file.read_text()
    assert len(times) >= 6
