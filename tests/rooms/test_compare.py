"""What a PACS lists of a study ends the waiting for it, or makes it last."""

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from builders import ct_series
from odd_pacs import listing, node, odd_pacs, study
from reception import Message, accept, archive_of

from ich_node.core.completion import COMPARED_AFTER_S
from ich_node.core.states import StudyState
from ich_node.intake.close import close_complete_studies
from ich_node.intake.compare import UNANSWERED_PAUSE_S, SourceWatch
from ich_node.store.associations import open_association
from ich_node.store.database import Database
from ich_node.store.studies import find_study

START = datetime(2026, 11, 24, 12, tzinfo=UTC)
IMAGES = study()
LATER = [*study(), *ct_series(slices=1, rows=16, columns=16, series_number=9, AccessionNumber="A-1")]


class Waiting:
    """A study of which some images came, and a node that may ask one PACS about it."""

    def __init__(self, folder: Path, database: Database, pacs_port: int) -> None:
        self.database = database
        self.settings = node(folder, database, 11112, pacs_port=pacs_port, fetch={"timeout_s": 2})
        self.seconds = 0.0
        self.watch = SourceWatch(
            database, archive_of(self.settings), self.settings, threading.Event(), lambda: self.seconds
        )

    def arrive(self, images, seconds, sender=None):
        for image in images:
            answer = accept(
                Message.of(image).received(sender),
                database=self.database,
                archive=archive_of(self.settings),
                now=START + timedelta(seconds=seconds),
            )
            assert answer.status == 0

    def asks(self, seconds):
        self.seconds = seconds
        return self.watch.look(now=START + timedelta(seconds=seconds))

    def closes(self, seconds):
        now = START + timedelta(seconds=seconds)
        return close_complete_studies(self.database, now=now, quiet_s=30, deadline_s=600)

    def study(self):
        with self.database.transaction() as connection:
            return find_study(connection, IMAGES[0].StudyInstanceUID)


@pytest.fixture
def waiting(tmp_path, database):
    return lambda pacs_port: Waiting(tmp_path, database, pacs_port)


def test_a_study_of_which_the_pacs_has_no_more_is_queued_before_the_quiet_time(waiting):
    with odd_pacs(listing(IMAGES), None) as port:
        there = waiting(port)
        there.arrive(IMAGES, 0)

        asked = [there.asks(COMPARED_AFTER_S + seconds) for seconds in (-0.1, 0, 1)]

    assert asked == [0, 1, 0]
    assert there.closes(7) == 1
    assert there.study().state is StudyState.READY


def test_a_study_of_which_the_pacs_has_more_waits_and_at_the_deadline_is_not_whole(waiting):
    with odd_pacs(listing(IMAGES), None) as port:
        there = waiting(port)
        there.arrive(IMAGES[:3], 0)
        there.asks(6)

    assert [there.closes(60), there.closes(599), there.closes(600)] == [0, 0, 1]
    assert there.study().cut_short


def test_the_pacs_is_asked_again_after_more_came(waiting):
    with odd_pacs(listing(IMAGES), None) as port:
        there = waiting(port)
        there.arrive(IMAGES[:3], 0)
        there.asks(6)
        there.arrive(IMAGES[3:], 40)
        before = there.closes(41)
        there.asks(46)

    assert (before, there.closes(46)) == (0, 1)
    assert not there.study().cut_short


def test_of_two_sources_the_one_that_has_more_outweighs_the_other(tmp_path, database):
    with odd_pacs(listing(IMAGES[:3]), None) as small, odd_pacs(listing(IMAGES), None) as large:
        there = Waiting(tmp_path, database, small)
        second = {"name": "archive", "ae_title": "ORTHANC", "host": "127.0.0.1", "port": large}
        sources = [*[one.model_dump() for one in there.settings.sources], second]
        settings = node(tmp_path, database, 11112, pacs_port=small, sources=sources)
        there.watch = SourceWatch(database, archive_of(settings), settings, threading.Event())
        there.arrive(IMAGES[:3], 0)
        there.asks(6)

    assert there.closes(60) == 0


def test_while_the_sender_is_there_nobody_is_asked(waiting):
    with odd_pacs(listing(IMAGES), None) as port:
        there = waiting(port)
        with there.database.transaction() as connection:
            sender = open_association(
                connection, receiver="r", calling_ae_title="CT", address="::1", now=START
            )
        there.arrive(IMAGES, 0, sender)

        assert there.asks(15) == 0


def test_a_pacs_that_does_not_know_the_study_changes_nothing(waiting):
    with odd_pacs(listing([]), None) as port:
        there = waiting(port)
        there.arrive(IMAGES, 0)
        proved = there.asks(6)

    assert proved == 0
    assert [there.closes(29), there.closes(31)] == [0, 1]


def test_a_pacs_that_does_not_answer_is_left_alone_for_a_while_and_the_silence_decides(waiting, free_port):
    there = waiting(free_port)
    there.arrive(IMAGES[:3], 0)

    nobody_there = there.asks(6)
    with odd_pacs(listing(LATER), None, port=free_port):
        there.arrive(IMAGES[3:], 3)
        left_alone = there.asks(9)
        silence = [there.closes(32), there.closes(33)]
        there.arrive(LATER[-1:], 40)
        asked = there.asks(6 + UNANSWERED_PAUSE_S)

    assert (nobody_there, left_alone, silence, asked) == (0, 0, [0, 1], 1)
