"""A report that waits until its destination lists the images that it speaks of, and not for ever."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from typing import Any

import pytest
from outbox import NOW, SC, SR, deliveries, peer, put_into_outbox, report, sending
from peers import OrthancServer
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, _config
from pynetdicom.association import Association

from ich_node.core.states import DeliveryState
from ich_node.delivery.reach import Sending
from ich_node.delivery.send import deliver_due
from ich_node.network import FIND
from ich_node.store.database import Database
from ich_node.store.readings import Reading, add_readings

READ = "1.2.3.9"


@pytest.fixture(autouse=True)
def _peers_negotiate_as_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_config, "UNRESTRICTED_STORAGE_SERVICE", False)


def _after(to: Sending, seconds: float) -> Sending:
    """The same destination later; it lets reports wait for ten minutes."""
    destination = to.destination.model_copy(update={"wait_for_images_s": 600.0})
    return replace(to, destination=destination, now=lambda: NOW + timedelta(seconds=seconds))


def _read(database: Database, study_id: int, series_uid: str = READ) -> None:
    reading = Reading(
        study_id=study_id,
        revision=1,
        series_uid=series_uid,
        outcome="negative",
        reason=None,
        leading=True,
        bundle_sha256=None,
        device=None,
        result={},
        read_at=NOW,
    )
    with database.transaction() as connection:
        add_readings(connection, [reading])


class _Listing:
    """A PACS's list of series, which grows."""

    def __init__(self, *series: str) -> None:
        self.series = list(series)
        self.asked = 0

    def __call__(self, event: Any) -> Iterator[Any]:
        self.asked += 1
        for uid in self.series:
            found = Dataset()
            found.QueryRetrieveLevel = "SERIES"
            found.StudyInstanceUID = event.identifier.StudyInstanceUID
            found.SeriesInstanceUID = uid
            yield 0xFF00, found


def test_a_report_goes_out_when_the_series_that_was_read_has_come(database: Database, free_port: int) -> None:
    study_id = put_into_outbox(database, report(SR, 1), report(SC, 2))
    _read(database, study_id)
    pacs, to = _Listing("1.2.3.5"), sending(free_port, attempts=2)

    with peer(free_port, [SR, SC, FIND], lambda _: 0, find=pacs):
        early = [deliver_due(database, _after(to, seconds)) for seconds in range(0, 120, 5)]
        waits = deliveries(database, study_id)
        asked = pacs.asked
        pacs.series.append(READ)
        later = deliver_due(database, _after(to, 180))

    assert set(early) == {0}
    assert {(one.state, one.attempts) for one in waits} == {(DeliveryState.PENDING, 0)}
    assert "lists the images" in str(waits[0].last_error)
    assert asked <= 24, "two reports, not asked about at every turn"
    assert later == 2


def test_a_report_whose_images_never_come_goes_out_when_its_time_is_over(
    sqlite_url: str, free_port: int
) -> None:
    database = Database(sqlite_url)
    _read(database, put_into_outbox(database, report()))
    to = sending(free_port)

    with peer(free_port, [SR, FIND], lambda _: 0, find=_Listing()):
        taken = [deliver_due(database, _after(to, seconds)) for seconds in (0, 300, 599, 600)]

    database.dispose()
    assert taken == [0, 0, 0, 1]


@pytest.mark.parametrize("classes", [[SR], [SR, FIND]])
def test_a_pacs_that_cannot_be_asked_gets_its_report_at_once_or_at_the_end(
    sqlite_url: str, free_port: int, classes: list[str]
) -> None:
    database = Database(sqlite_url)
    _read(database, put_into_outbox(database, report()))
    to = sending(free_port)

    def refuse(_event: Any) -> Iterator[Any]:
        yield 0xA900, None

    with peer(free_port, classes, lambda _: 0, find=refuse):
        taken = [deliver_due(database, _after(to, seconds)) for seconds in (0, 600)]

    database.dispose()
    assert taken == ([1, 0] if classes == [SR] else [0, 1])


@pytest.mark.peer
def test_orthanc_gets_the_report_after_the_images(
    sqlite_url: str, free_port: int, orthanc: OrthancServer
) -> None:
    database = Database(sqlite_url)
    number, read = 10 * free_port + 2, f"1.2.3.{free_port}"
    _read(database, put_into_outbox(database, report(SR, number)), read)
    to = sending(orthanc.port, ae_title=orthanc.ae_title)

    before = deliver_due(database, _after(to, 0))
    image = dcmread(BytesIO(report(SC, number + 1)))
    image.SeriesInstanceUID = read
    _store(orthanc, image)
    after = deliver_due(database, _after(to, 60))

    database.dispose()
    assert (before, after) == (0, 1)


def _store(orthanc: OrthancServer, image: Dataset) -> None:
    entity = AE(ae_title="SCANNER")
    entity.add_requested_context(SC)
    association: Association = entity.associate("127.0.0.1", orthanc.port, ae_title=orthanc.ae_title)
    assert association.send_c_store(image).Status == 0
    association.release()
