"""Fetching from PACS that answer oddly: what came of it is said as it is, and nothing waits for ever."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from odd_pacs import PACS, answering, listing, node, odd_pacs, sending, study
from pydicom.dataset import Dataset
from reception import archive_of, eventually, receiving

from ich_node.core.retrieval import Fetched, Held, SubOperations
from ich_node.demo.scanner import send
from ich_node.errors import DeliveryFailed, FetchFailed
from ich_node.intake.fetch import Fetching, fetch, find_studies, held
from ich_node.settings.tree import Settings
from ich_node.store.database import Database
from ich_node.store.images import images_under


@pytest.fixture
def sqlite(sqlite_url: str) -> Iterator[Database]:
    opened = Database(sqlite_url)
    yield opened
    opened.dispose()


def fetching(settings: Settings) -> Fetching:
    return Fetching(
        source=settings.sources[0],
        receiver=settings.receiver,
        timeout_s=settings.fetch.timeout_s,
        settle_s=1,
    )


def fetched(
    settings: Settings,
    database: Database,
    *,
    tell: Callable[[SubOperations], None] = lambda _counts: None,
    before_each_look: Callable[[], None] = lambda: None,
    timeout_s: float | None = None,
) -> Fetched:
    """Find the one study of the accession number and fetch it, with this patience for the fetch alone."""
    asking = fetching(settings)
    (found,), _ = find_studies(asking, "A-1")

    def here() -> Held:
        before_each_look()
        return held(database, archive_of(settings), found.study_uid)

    return fetch(replace(asking, timeout_s=timeout_s or asking.timeout_s), found, here=here, tell=tell)


def missing(result: Fetched) -> int:
    return sum(gap.missing for gap in result.gaps)


def test_the_progress_is_what_the_pacs_counts(sqlite: Database, tmp_path: Path, free_port: int) -> None:
    images = study()
    told: list[SubOperations] = []

    with odd_pacs(listing(images), sending(images, free_port)) as port:
        settings = node(tmp_path, sqlite, free_port, pacs_port=port)
        with receiving(settings):
            result = fetched(settings, sqlite, tell=told.append)

    assert result.whole
    assert [(one.sent, one.total) for one in told] == [(1, 4), (2, 4), (3, 4), (4, 4), (4, 4)]


def test_images_that_could_not_be_stored_are_counted_and_missing(
    sqlite: Database, tmp_path: Path, free_port: int
) -> None:
    images = study()
    listed = study()
    del images[3].StudyInstanceUID  # our receiver refuses what belongs to no study

    with odd_pacs(listing(listed), sending(images, free_port)) as port:
        settings = node(tmp_path, sqlite, free_port, pacs_port=port)
        with receiving(settings):
            result = fetched(settings, sqlite)

    assert (result.counts.sent, result.counts.failed, result.here, result.there) == (3, 1, 3, 4)
    assert missing(result) == 1
    assert not result.whole


def test_images_that_the_pacs_forgot_to_send_are_missing_though_it_says_success(
    sqlite: Database, tmp_path: Path, free_port: int
) -> None:
    images = study()

    with odd_pacs(listing(images), sending(images[:3], free_port)) as port:
        settings = node(tmp_path, sqlite, free_port, pacs_port=port)
        with receiving(settings):
            result = fetched(settings, sqlite)

    assert result.trouble is None
    assert missing(result) == 1


def test_warnings_are_counted_and_images_that_went_elsewhere_are_missing(
    sqlite: Database, tmp_path: Path, free_port: int
) -> None:
    images = study()

    with odd_pacs(listing(images), sending(images), stores_with=0xB000) as port:
        result = fetched(node(tmp_path, sqlite, free_port, pacs_port=port), sqlite)

    assert (result.counts.sent, result.counts.warning, result.counts.failed) == (4, 4, 0)
    assert missing(result) == 4


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0xA801, "move destination unknown"),
        (0xA702, "out of resources"),
        (0x0124, "not authorized"),
        (0xC123, "C123"),
    ],
)
def test_a_refused_move_says_why_and_how_the_pacs_must_know_us(
    sqlite: Database, tmp_path: Path, free_port: int, status: int, words: str
) -> None:
    images = study()

    with odd_pacs(listing(images), answering(status)) as port:
        result = fetched(node(tmp_path, sqlite, free_port, pacs_port=port), sqlite)

    assert result.trouble is not None
    assert words in result.trouble
    assert f"AE title ICHNODE, host 127.0.0.1, port {free_port}" in result.trouble
    assert missing(result) == 4


def test_a_pacs_that_falls_silent_is_given_up(sqlite: Database, tmp_path: Path, free_port: int) -> None:
    given_up = threading.Event()

    def move(_event: Any) -> Iterator[Any]:
        given_up.wait(60)
        yield None, None

    with odd_pacs(listing(study()), move) as port:
        result = fetched(node(tmp_path, sqlite, free_port, pacs_port=port), sqlite, timeout_s=2)
        given_up.set()

    assert "silent for 2 s" in str(result.trouble)
    assert not result.whole


def one_more(images: list[Dataset], port: int) -> None:
    """Send the next of the images, as the PACS; nothing where none is left."""
    for image in images[:1]:
        images.remove(image)
        send([image], "127.0.0.1", port, calling_ae=PACS)


def test_a_pacs_that_says_nothing_while_it_sends_is_waited_for(
    sqlite: Database, tmp_path: Path, free_port: int
) -> None:
    images = study()[:2]
    unsent = list(images)

    def move(_event: Any) -> Iterator[Any]:
        eventually(lambda: not unsent, within_s=60)
        yield "127.0.0.1", free_port
        yield 0

    with odd_pacs(listing(images), move) as port:
        settings = node(tmp_path, sqlite, free_port, pacs_port=port)
        with receiving(settings):
            result = fetched(
                settings, sqlite, before_each_look=partial(one_more, unsent, free_port), timeout_s=2
            )

    assert result.whole, result


def test_a_pacs_that_answers_before_it_sends_is_waited_for(
    sqlite: Database, tmp_path: Path, free_port: int
) -> None:
    images = study()

    def move(_event: Any) -> Iterator[Any]:
        yield "127.0.0.1", free_port
        yield 0

    with odd_pacs(listing(images), move) as port:
        settings = node(tmp_path, sqlite, free_port, pacs_port=port)
        with receiving(settings):
            result = fetched(settings, sqlite, before_each_look=partial(one_more, list(images), free_port))

    assert result.whole, result


def test_a_pacs_that_hangs_up_is_said(sqlite: Database, tmp_path: Path, free_port: int) -> None:
    images = study()

    def move(event: Any) -> Iterator[Any]:
        event.assoc.abort()
        yield "127.0.0.1", free_port

    with odd_pacs(listing(images), move) as port:
        result = fetched(node(tmp_path, sqlite, free_port, pacs_port=port), sqlite)

    assert "hung up" in str(result.trouble)
    assert missing(result) == 4


def test_a_pacs_that_ignores_the_cancel_is_left(sqlite: Database, tmp_path: Path, free_port: int) -> None:
    images = study()
    left = threading.Event()

    def move(event: Any) -> Iterator[Any]:
        asking.stop.set()
        yield "127.0.0.1", event.assoc.acceptor.port
        yield 1000
        while not left.wait(0.02):
            yield 0xFF00, images[0]

    with odd_pacs(listing(images), move) as port:
        settings = node(tmp_path, sqlite, free_port, pacs_port=port, fetch={"timeout_s": 2})
        asking = fetching(settings)
        (found,), _ = find_studies(asking, "A-1")
        result = fetch(asking, found, here=dict, tell=lambda _counts: None)
        left.set()

    assert "did not heed the C-CANCEL" in str(result.trouble)
    assert not result.whole


def test_a_pacs_without_c_move_is_said(sqlite: Database, tmp_path: Path, free_port: int) -> None:
    with odd_pacs(listing(study()), None) as port:
        result = fetched(node(tmp_path, sqlite, free_port, pacs_port=port), sqlite)

    assert "offers no C-MOVE" in str(result.trouble)


def test_a_pacs_that_lists_no_images_is_compared_by_its_counts(
    sqlite: Database, tmp_path: Path, free_port: int
) -> None:
    images = study()

    with odd_pacs(listing(images, refused_level="IMAGE"), sending(images[:3], free_port)) as port:
        settings = node(tmp_path, sqlite, free_port, pacs_port=port)
        with receiving(settings):
            result = fetched(settings, sqlite)

    assert (result.there, missing(result)) == (4, 1)


def test_a_pacs_that_lists_nothing_leaves_the_study_unproven(
    sqlite: Database, tmp_path: Path, free_port: int
) -> None:
    images = study()

    with odd_pacs(listing(images, refused_level="SERIES"), sending(images, free_port)) as port:
        settings = node(tmp_path, sqlite, free_port, pacs_port=port)
        with receiving(settings):
            result = fetched(settings, sqlite)

    assert "did not answer the C-FIND" in str(result.trouble)
    assert (result.here, result.there, result.whole) == (4, 0, False)


def test_studies_of_another_number_are_left_out(sqlite: Database, tmp_path: Path, free_port: int) -> None:
    everything = [*study("A-1", seed=1), *study("A-10", seed=2), *study("", seed=3)]

    with odd_pacs(listing(everything), None) as port:
        found, others = find_studies(fetching(node(tmp_path, sqlite, free_port, pacs_port=port)), "A-1")

    assert [one.accession_number for one in found] == ["A-1"]
    assert others == 2


def test_a_pacs_that_does_not_know_our_title_is_said(
    sqlite: Database, tmp_path: Path, free_port: int
) -> None:
    with odd_pacs(listing(study()), None, knows=["OTHER"]) as port:
        settings = node(tmp_path, sqlite, free_port, pacs_port=port)

        with pytest.raises(DeliveryFailed, match="does not know our AE title"):
            find_studies(fetching(settings), "A-1")


def test_a_pacs_that_does_not_search_is_said_with_its_status(
    sqlite: Database, tmp_path: Path, free_port: int
) -> None:
    with odd_pacs(listing(study(), refused_level="STUDY"), None) as port:
        settings = node(tmp_path, sqlite, free_port, pacs_port=port)

        with pytest.raises(FetchFailed, match="A900"):
            find_studies(fetching(settings), "A-1")


def test_images_that_were_forgotten_here_are_not_here(
    sqlite: Database, tmp_path: Path, free_port: int
) -> None:
    images = study()

    with odd_pacs(listing(images), sending(images, free_port)) as port:
        settings = node(tmp_path, sqlite, free_port, pacs_port=port)
        with receiving(settings):
            first = fetched(settings, sqlite)
            archive = archive_of(settings)
            uid = str(images[0].StudyInstanceUID)
            with sqlite.transaction() as connection:
                archive.delete([file for *_, file in images_under(connection, uid)])
            gone = held(sqlite, archive, uid)
            again = fetched(settings, sqlite)

    assert first.whole
    assert gone == {}
    assert again.whole
