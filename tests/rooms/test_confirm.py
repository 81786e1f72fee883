"""Proof that a report is kept, by C-FIND and Storage Commitment: from peers of others, and odd ones."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from odd_pacs import Handler
from outbox import NOW, SC, SR, deliveries, put_into_outbox, report, sending, storescp
from peers import Dcmtk, OrthancServer
from pydicom.dataset import Dataset
from pynetdicom import AE, _config, build_role, evt
from reception import NODE, count, eventually, receiving, settings_for

from ich_node.cli.study import lines_of, look_up
from ich_node.core.states import DeliveryState
from ich_node.delivery import confirm
from ich_node.delivery.confirm import confirm_due
from ich_node.delivery.reach import Sending
from ich_node.delivery.send import deliver_due
from ich_node.delivery.serve import alarm
from ich_node.demo.pacs import stand_in_pacs
from ich_node.dicom.commitment import PUSH_MODEL, PUSH_MODEL_INSTANCE
from ich_node.network import FIND
from ich_node.settings.tree import Settings
from ich_node.store.alarms import count_unproven
from ich_node.store.database import Database
from ich_node.store.deliveries import Delivery, send_again

AFTER = timedelta(seconds=901)  # delivery.confirm_within_s is over
FAILED_REASON = 0x0112  # no such object instance


@pytest.fixture(autouse=True)
def _peers_negotiate_as_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_config, "UNRESTRICTED_STORAGE_SERVICE", False)
    monkeypatch.setattr(confirm, "LINGER_S", 0.5)


@contextmanager
def pacs_that(
    port: int, *, find: Handler | None = None, commit: Callable[[Any], Any] | None = None
) -> Iterator[None]:
    """A PACS that takes every report; what it says afterwards is the test's."""
    entity = AE(ae_title="PACS")
    for sop_class in (SR, SC):
        entity.add_supported_context(sop_class)
    handlers: list[Any] = [(evt.EVT_C_STORE, lambda _event: 0)]
    if find is not None:
        entity.add_supported_context(FIND)
        handlers.append((evt.EVT_C_FIND, find))
    if commit is not None:
        entity.add_supported_context(PUSH_MODEL)
        handlers.append((evt.EVT_N_ACTION, commit))
    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
    try:
        yield
    finally:
        assert server is not None
        server.shutdown()


def _one(database: Database, study_id: int) -> Delivery:
    (delivery,) = deliveries(database, study_id)
    return delivery


def at(one: Sending, moment: datetime) -> Sending:
    return replace(one, now=lambda: moment)


def test_what_the_pacs_lists_is_confirmed_and_not_before_it_was_asked(
    database: Database, tmp_path: Path
) -> None:
    study_id = put_into_outbox(database, report(SR, 1), report(SC, 2))
    with stand_in_pacs(tmp_path / "pacs") as pacs:
        to = sending(pacs.port, confirm="find")
        deliver_due(database, to)
        at_once = confirm_due(database, to)
        before = {one.state for one in deliveries(database, study_id)}

        later = confirm_due(database, at(to, NOW + timedelta(seconds=5)))

    assert (at_once, later) == (0, 2)
    assert before == {DeliveryState.SENT}
    assert {one.state for one in deliveries(database, study_id)} == {DeliveryState.CONFIRMED}
    assert count(database, "history", "event = 'report.confirmed'") == 2


def test_a_pacs_that_accepts_and_forgets_gets_it_again_and_at_last_it_is_given_up_visibly(
    database: Database, free_port: int
) -> None:
    study_id = put_into_outbox(database, report())
    now, sent = NOW, 0

    with pacs_that(free_port, find=_nothing):
        to = sending(free_port, confirm="find")
        while _one(database, study_id).state is not DeliveryState.FAILED:
            sent += deliver_due(database, at(to, now))
            confirm_due(database, at(to, now))
            now += timedelta(seconds=300)
            assert now < NOW + timedelta(days=1)

    given_up = _one(database, study_id)
    assert sent == 4, "delivery.resends is 3"
    assert "does not list it" in str(given_up.last_error)
    assert count(database, "history", "event = 'report.missing'") == 4
    assert count(database, "history", "event = 'report.not_sent'") == 1


def _nothing(_event: Any) -> Iterator[Any]:
    yield from ()


def test_a_report_that_is_filed_late_is_not_sent_twice(sqlite_url: str, tmp_path: Path) -> None:
    database = Database(sqlite_url)
    study_id = put_into_outbox(database, report())
    with stand_in_pacs(tmp_path / "pacs") as pacs:
        to = sending(pacs.port, confirm="find")
        deliver_due(database, to)
        (filed,) = pacs.files()
        content = filed.read_bytes()
        filed.unlink()
        for seconds in (10, 60, 300):
            confirm_due(database, at(to, NOW + timedelta(seconds=seconds)))
        filed.write_bytes(content)

        confirm_due(database, at(to, NOW + timedelta(seconds=899)))

        assert len(pacs.receipts()) == 1
    assert _one(database, study_id).state is DeliveryState.CONFIRMED
    database.dispose()


@pytest.mark.parametrize(("listed", "state"), [(1, DeliveryState.CONFIRMED), (0, DeliveryState.SENT)])
def test_where_images_cannot_be_searched_the_series_is_counted(
    sqlite_url: str, free_port: int, listed: int, state: DeliveryState
) -> None:
    database = Database(sqlite_url)
    study_id = put_into_outbox(database, report())

    def series_only(event: Any) -> Iterator[Any]:
        if event.identifier.QueryRetrieveLevel == "IMAGE":
            yield 0xA900, None
            return
        answer = Dataset()
        answer.QueryRetrieveLevel = "SERIES"
        answer.StudyInstanceUID = event.identifier.StudyInstanceUID
        answer.SeriesInstanceUID = event.identifier.SeriesInstanceUID
        answer.NumberOfSeriesRelatedInstances = listed
        yield 0xFF00, answer

    with pacs_that(free_port, find=series_only):
        to = sending(free_port, confirm="find")
        deliver_due(database, to)
        confirm_due(database, at(to, NOW + timedelta(seconds=10)))

    assert _one(database, study_id).state is state
    database.dispose()


@pytest.mark.parametrize("confirm_by", ["find", "commitment"])
def test_a_pacs_that_cannot_prove_anything_is_alarmed_about_once_and_gets_nothing_twice(
    database: Database, tmp_path: Path, free_port: int, confirm_by: str
) -> None:
    study_id = put_into_outbox(database, report(SC))
    settings = _reporting(tmp_path, database, free_port, free_port, confirm=confirm_by)
    with pacs_that(free_port):
        to = sending(free_port, confirm=confirm_by)
        deliver_due(database, to)
        for hour in range(3):
            now = NOW + AFTER + timedelta(hours=hour)
            confirm_due(database, at(to, now))
            alarm(database, settings, now=now)
            again = deliver_due(database, at(to, now))

    stands = _one(database, study_id)
    with database.transaction() as connection:
        told = "\n".join(lines_of(look_up(connection, study_id)))
        counted = [count_unproven(connection, names, now=now) for names in (["pacs"], [])]
    assert counted == [1, 0], "nothing is awaited any more of a destination that is not asked to prove it"
    assert (stands.state, again) == (DeliveryState.SENT, 0)
    assert "offers no" in str(stands.last_error)
    assert "NOT CONFIRMED in time" in told
    assert count(database, "history", "event = 'report.not_confirmed'") == 1


def _reporting(
    tmp_path: Path, database: Database, port: int, pacs_port: int, *, confirm: str = "none", **sections: Any
) -> Settings:
    pacs = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": pacs_port, "confirm": confirm}
    return settings_for(tmp_path, database.url, port, mode="report", destinations=[pacs], **sections)


def _answer(request: Dataset, *, missing: bool = False) -> Dataset:
    """What an N-EVENT-REPORT says about all that was asked."""
    told = Dataset()
    told.TransactionUID = request.TransactionUID
    items = [Dataset(item) for item in request.ReferencedSOPSequence]
    if not missing:
        told.ReferencedSOPSequence = items
        return told
    for item in items:
        item.FailureReason = FAILED_REASON
    told.FailedSOPSequence = items
    return told


@pytest.mark.parametrize(
    ("missing", "state"), [(False, DeliveryState.CONFIRMED), (True, DeliveryState.PENDING)]
)
def test_an_answer_on_the_same_association_counts(
    database: Database, free_port: int, missing: bool, state: DeliveryState
) -> None:
    study_id = put_into_outbox(database, report())

    def commit(event: Any) -> tuple[int, None]:
        told = _answer(event.action_information, missing=missing)

        def tell() -> None:
            kind = 2 if missing else 1
            event.assoc.send_n_event_report(told, kind, PUSH_MODEL, PUSH_MODEL_INSTANCE)

        threading.Timer(0.1, tell).start()
        return 0, None

    with pacs_that(free_port, commit=commit):
        to = sending(free_port, confirm="commitment")
        deliver_due(database, to)
        ended = confirm_due(database, at(to, NOW + timedelta(seconds=10)))

    assert (ended, _one(database, study_id).state) == (1, state)
    assert ("0112" in str(_one(database, study_id).last_error)) == missing


@pytest.mark.parametrize("proposes_its_role", [True, False])
def test_an_answer_to_our_receiver_counts_though_the_node_was_restarted_between(
    database: Database, tmp_path: Path, free_port: int, proposes_its_role: bool
) -> None:
    study_id = put_into_outbox(database, report(SR, 1), report(SC, 2))
    requests: list[Dataset] = []

    def commit(event: Any) -> tuple[int, None]:
        requests.append(event.action_information)
        return 0, None

    with pacs_that(free_port, commit=commit):
        to = sending(free_port, confirm="commitment")
        deliver_due(database, to)
        confirm_due(database, at(to, NOW + timedelta(seconds=10)))
        again = confirm_due(database, at(to, NOW + timedelta(seconds=20)))
    senders = [{"ae_title": "PACS", "address": "127.0.0.1"}]
    with receiving(_reporting(tmp_path, database, free_port, free_port, senders=senders)) as port:
        statuses = [
            _tell(port, _answer(requests[0]), proposes_its_role),
            _tell(port, _answer(_strange(requests[0])), proposes_its_role),
        ]
    reopened = Database(database.url)
    ended = confirm_due(reopened, at(to, NOW + timedelta(seconds=30)))
    reopened.dispose()

    assert (len(requests), again) == (1, 0), "one transaction for both, not asked for again at once"
    assert statuses == [0x0000, 0x0115]
    assert ended == 2
    assert {one.state for one in deliveries(database, study_id)} == {DeliveryState.CONFIRMED}


def _strange(request: Dataset) -> Dataset:
    other = Dataset(request)
    other.TransactionUID = "1.2.3.4.5"
    return other


def _tell(port: int, told: Dataset, proposes_its_role: bool) -> int:
    entity = AE(ae_title="PACS")
    entity.add_requested_context(PUSH_MODEL)
    roles = [build_role(PUSH_MODEL, scu_role=False, scp_role=True)] if proposes_its_role else []
    association = entity.associate("127.0.0.1", port, ae_title=NODE, ext_neg=roles)
    assert association.is_established
    response, _ = association.send_n_event_report(told, 1, PUSH_MODEL, PUSH_MODEL_INSTANCE)
    association.release()
    return int(response.Status)


def test_an_answer_about_an_earlier_sending_does_not_send_it_a_third_time(
    sqlite_url: str, free_port: int
) -> None:
    database = Database(sqlite_url)
    study_id = put_into_outbox(database, report())
    requests: list[Dataset] = []

    def commit(event: Any) -> tuple[int, None]:
        requests.append(event.action_information)
        return 0, None

    from ich_node.dicom.commitment import commitment_of
    from ich_node.store.confirmations import keep_commitment

    with pacs_that(free_port, commit=commit):
        to = sending(free_port, confirm="commitment")
        deliver_due(database, to)
        confirm_due(database, at(to, NOW + timedelta(seconds=10)))
        with database.transaction() as connection:
            send_again(connection, study_id, destinations=["pacs"], now=NOW)
        deliver_due(database, at(to, NOW + timedelta(seconds=60)))
        with database.transaction() as connection:
            keep_commitment(connection, commitment_of(_answer(requests[0], missing=True)), now=NOW)
        ended = confirm_due(database, at(to, NOW + timedelta(seconds=61)))

    assert ended == 0
    assert _one(database, study_id).state is DeliveryState.SENT
    database.dispose()


@pytest.mark.peer
def test_dcmtk_s_receiver_keeps_no_promise_and_its_report_stays_sent(
    sqlite_url: str, tmp_path: Path, free_port: int, dcmtk: Dcmtk
) -> None:
    database = Database(sqlite_url)
    study_id = put_into_outbox(database, report())
    with storescp(dcmtk, tmp_path / "pacs", free_port):
        to = sending(free_port, confirm="commitment")
        deliver_due(database, to)
        confirm_due(database, at(to, NOW + timedelta(seconds=10)))

    stands = _one(database, study_id)
    database.dispose()
    assert stands.state is DeliveryState.SENT
    assert "offers no Storage Commitment" in str(stands.last_error)


@pytest.mark.peer
def test_orthanc_confirms_by_c_find(database: Database, orthanc: OrthancServer) -> None:
    study_id = put_into_outbox(database, report(SR, 11), report(SC, 12))
    to = sending(orthanc.port, confirm="find", ae_title=orthanc.ae_title)
    deliver_due(database, to)

    ended = confirm_due(database, at(to, NOW + timedelta(seconds=10)))

    assert ended == 2
    assert {one.state for one in deliveries(database, study_id)} == {DeliveryState.CONFIRMED}


@pytest.mark.peer
def test_orthanc_commits_to_what_it_keeps_and_what_it_lost_is_sent_again(
    database: Database, tmp_path: Path, free_port: int, orthanc: OrthancServer
) -> None:
    # numbers that no other test sent to this Orthanc
    study_id = put_into_outbox(database, report(SR, 10 * free_port), report(SC, 10 * free_port + 1))
    to = sending(orthanc.port, confirm="commitment", ae_title=orthanc.ae_title)
    senders = [{"ae_title": orthanc.ae_title, "address": "127.0.0.1"}]
    settings = _reporting(tmp_path, database, orthanc.node_port, orthanc.port, senders=senders)
    with database.transaction() as connection:  # said to be sent, and not there
        connection.exec_driver_sql("update deliveries set state = 'sent' where id = 2")
        connection.exec_driver_sql(
            "update deliveries set sent_at = next_attempt_at, confirm_at = next_attempt_at, "
            "confirm_by = '2999-01-01 00:00:00' where id = 2"
        )
    deliver_due(database, to)
    with receiving(settings):
        clock = at(to, NOW + timedelta(seconds=10))
        eventually(lambda: _states(database, study_id, clock) == ["confirmed", "pending"], within_s=20)
        later = at(to, NOW + timedelta(seconds=100))
        sent_again = deliver_due(database, later)
        clock = at(to, NOW + timedelta(seconds=120))
        eventually(lambda: _states(database, study_id, clock) == ["confirmed"] * 2, within_s=20)

    assert sent_again == 1
    assert count(database, "history", "event = 'report.missing'") == 1


def _states(database: Database, study_id: int, to: Sending) -> list[str]:
    confirm_due(database, to)
    return [str(one.state) for one in deliveries(database, study_id)]
