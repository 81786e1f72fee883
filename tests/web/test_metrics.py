"""The metrics say what the rows say, over HTTP, with no patient in them; a database that is away is said."""

import json
import socket
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from certificates import NODE_NAME, Authority
from outbox import put_into_outbox, report
from prometheus_client.parser import text_string_to_metric_families
from reception import settings_for

from ich_node.core.outages import Outage
from ich_node.core.reconciliation import Discrepancy
from ich_node.core.rooms import ROOMS, Sign
from ich_node.store.canaries import begin_canary, end_canary
from ich_node.store.outages import note_outage
from ich_node.store.quarantine import Quarantined, add_quarantined, note_refused_caller
from ich_node.store.readings import Reading, add_readings
from ich_node.store.reconciliation import keep_discrepancies
from ich_node.store.refusals import note_refusals
from ich_node.store.rooms import give_sign
from ich_node.store.tallies import SETTLED, carry_forward, count_instances
from ich_node.web.serve import run

PACS = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 104, "confirm": "find"}
NOW = datetime.now(UTC)


@contextmanager
def _serving(settings):
    stop, ready = threading.Event(), threading.Event()
    thread = threading.Thread(target=run, args=(settings, stop), kwargs={"ready": lambda _: ready.set()})
    thread.start()
    try:
        assert ready.wait(20)
        yield f"http://127.0.0.1:{settings.web.port}"
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture
def settings(tmp_path, database, free_port):
    url = database.engine.url.render_as_string(hide_password=False)
    return settings_for(
        tmp_path,
        url,
        11112,
        mode="report",
        destinations=[PACS],
        web={"port": free_port},
        storage={"reserve_mb": 7},
    )


def _get(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read().decode()


def _samples(text):
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _read(settings):
    with _serving(settings) as url:
        return _samples(_get(f"{url}/metrics"))


def _statement(database, words):
    with database.engine.begin() as connection:
        connection.exec_driver_sql(words)


def _sign(room, due_at):
    seen_at = NOW - timedelta(seconds=5)
    return Sign(
        room=room,
        process="h:1",
        begun_at=seen_at,
        seen_at=seen_at,
        due_at=due_at,
        doing="waits",
        trouble=None,
    )


def test_a_new_node_has_every_number_and_they_are_nothing(settings):
    found = _read(settings)

    assert found["ich_node_database_up",] == 1
    assert found["ich_node_disk_reserve_bytes",] == 7e6
    assert found["ich_node_disk_free_bytes",] > 0
    assert found["ich_node_studies_received_total",] == 0
    assert found["ich_node_instances_received_total",] == 0
    assert found["ich_node_room_up", "work"] == 0
    assert found["ich_node_deliveries", "failed", "pacs"] == 0
    assert found["ich_node_refused_instances_total", "A700"] == 0
    assert found["ich_node_cut_off_associations_total", "PDU_TOO_SLOW"] == 0
    assert ("ich_node_last_instance_timestamp_seconds",) not in found


def test_what_happened_is_counted_from_the_rows(settings, database):
    study_id = put_into_outbox(database, report())
    seconds = [{"decode": second, "predict": 2 * second} for second in (1.0, 2.0, 3.0)]
    with database.transaction() as connection:
        for one in seconds:
            add_readings(connection, [_reading(study_id, one)])
        add_quarantined(connection, _quarantined())
        for _ in range(3):
            note_refused_caller(
                connection, calling_ae_title="X", called_ae_title="Y", address="10.0.0.1", now=NOW
            )
        for counts in ({"A700": 1, "INSTANCE_TOO_LARGE": 3}, {"A700": 1, "A900": 1}):
            note_refusals(connection, counts, now=NOW)
        note_outage(connection, _outage())
        keep_discrepancies(connection, {Discrepancy.NO_REPORT}, {(Discrepancy.NO_REPORT, study_id)}, now=NOW)
        begin_canary(connection, "1.2.840.1", now=NOW)
        end_canary(connection, "1.2.840.1", outcome="negative", trouble=None, now=NOW)
        give_sign(connection, _sign("work", NOW + timedelta(hours=12)))
        give_sign(connection, _sign("receive", NOW - timedelta(seconds=1)))
    day = f"{NOW - timedelta(hours=2):%Y-%m-%d %H:%M:%S}", f"{NOW - timedelta(hours=1):%Y-%m-%d %H:%M:%S}"
    _statement(
        database,
        "update studies set state = 'finished', outcome = 'declined', reason = 'CONTRAST', "
        f"first_instance_at = '{day[0]}', finished_at = '{day[1]}'",
    )

    found = _read(settings)

    assert found["ich_node_studies", "CONTRAST", "declined"] == 1
    assert found["ich_node_studies_recent", "1d", "declined"] == 1
    assert found["ich_node_studies_recent", "28d", "positive"] == 0
    assert found["ich_node_studies_in_state", "finished"] == 1
    assert found["ich_node_studies_unaccounted",] == 0
    assert found["ich_node_discrepancies", "no_report"] == 1
    assert found["ich_node_instances_received_total",] == 1
    assert found["ich_node_received_bytes_total",] == 1
    assert found["ich_node_quarantined_total", "NOT_DICOM"] == 1
    assert found["ich_node_refused_calls",] == 3
    assert found["ich_node_refused_instances_total", "A700"] == 2
    assert found["ich_node_refused_instances_total", "A900"] == 1
    assert ("ich_node_refused_instances_total", "INSTANCE_TOO_LARGE") not in found
    assert found["ich_node_cut_off_associations_total", "INSTANCE_TOO_LARGE"] == 3
    for name, code in (("refused_instances", "A700"), ("cut_off_associations", "INSTANCE_TOO_LARGE")):
        assert found[f"ich_node_{name}_last_timestamp_seconds", code] == pytest.approx(NOW.timestamp())
    assert found["ich_node_deliveries", "pacs", "pending"] == 1
    assert found["ich_node_oldest_pending_delivery_seconds", "pacs"] > 0
    assert found["ich_node_destination_away_seconds", "pacs"] >= 60
    assert found["ich_node_stage_seconds", "0.5", "decode"] == 2
    assert found["ich_node_stage_seconds", "0.95", "predict"] == pytest.approx(5.8)
    assert found["ich_node_outcome_seconds", "0.5"] == 3600
    assert found["ich_node_room_up", "work"] == 1
    assert found["ich_node_room_up", "receive"] == 0
    assert found["ich_node_canary_last_success_timestamp_seconds",] == pytest.approx(NOW.timestamp())
    assert found["ich_node_canary_failed",] == 0


def test_how_long_studies_wait_and_what_was_not_proven(settings, database):
    put_into_outbox(database, report())
    past = f"{NOW - timedelta(hours=1):%Y-%m-%d %H:%M:%S}"
    _statement(database, f"update studies set state = 'ready', ready_at = '{past}'")
    _statement(database, f"update deliveries set state = 'sent', confirm_by = '{past}'")

    found = _read(settings)

    assert found["ich_node_oldest_waiting_seconds", "ready"] >= 3600
    assert found["ich_node_oldest_waiting_seconds", "receiving"] == 0
    assert found["ich_node_deliveries_unproven",] == 1


def test_no_patient_no_uid_and_no_address_is_told(settings, database):
    put_into_outbox(database, report())
    with database.transaction() as connection:
        add_quarantined(connection, _quarantined())
    with _serving(settings) as url:
        text = _get(f"{url}/metrics") + _get(f"{url}/metrics")

    for secret in ("P-4711", "1.2.3", "Doe", "10.9.8.7", "SCANNER"):
        assert secret not in text


def test_counts_go_on_where_rows_were_carried_forward(database):
    put_into_outbox(database, report())
    with database.transaction() as connection:
        carry_forward(connection, now=NOW)
        carry_forward(connection, now=NOW + SETTLED)
        before = count_instances(connection)
        connection.exec_driver_sql(
            "insert into instances (study_id, series_uid, sop_instance_uid, sop_class_uid, "
            "transfer_syntax_uid, sha256, bytes, file, in_use, received_at) select study_id, series_uid, "
            "'9.9', sop_class_uid, transfer_syntax_uid, '9', 41, '9', in_use, "
            f"'{NOW:%Y-%m-%d %H:%M:%S}' from instances"
        )
        carry_forward(connection, now=NOW)  # too fresh
        after = count_instances(connection)
        carry_forward(connection, now=NOW + SETTLED)
        settled = count_instances(connection)

    assert (before.count, before.bytes) == (1, 1)
    assert (after.count, after.bytes) == (2, 42)
    assert settled == after


def test_health_is_503_until_every_room_speaks(settings, database):
    with _serving(settings) as url:
        with pytest.raises(urllib.error.HTTPError) as refused:
            _get(f"{url}/health")
        with refused.value as answer:
            ill = json.loads(answer.read())
        with database.transaction() as connection:
            for room in ROOMS:
                give_sign(connection, _sign(room, datetime.now(UTC) + timedelta(minutes=5)))
        well = json.loads(_get(f"{url}/health"))

    assert refused.value.code == 503
    assert ill["rooms"]["work"] == {"ok": False, "since": None, "why": "no process of it runs"}
    assert well["ok"]
    assert set(well["rooms"]) == set(ROOMS)
    assert all(room["ok"] and room["since"] for room in well["rooms"].values())


def test_a_database_that_is_away_is_told_and_not_waited_for(settings, free_port):
    nobody = {"url": f"postgresql+psycopg://ich@127.0.0.1:{free_port}/ich"}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        web = {"port": probe.getsockname()[1]}
    values = settings.model_dump() | {"database": nobody, "web": web}
    with _serving(type(settings)(**values)) as url:
        found = _samples(_get(f"{url}/metrics"))
        with pytest.raises(urllib.error.HTTPError) as refused:
            _get(f"{url}/health")
        with refused.value as answer:
            ill = json.loads(answer.read())

    assert found["ich_node_database_up",] == 0
    assert found["ich_node_disk_free_bytes",] > 0
    assert refused.value.code == 503
    assert not ill["ok"]


def test_nothing_else_is_served(settings):
    with _serving(settings) as url:
        for path, method, code in (("/", "GET", 404), ("/metrics", "POST", 405)):
            request = urllib.request.Request(f"{url}{path}", method=method)
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(request, timeout=20)
            refused.value.close()
            assert refused.value.code == code


def _reading(study_id, seconds):
    return Reading(
        study_id=study_id,
        revision=1,
        series_uid="1.2.3.9",
        outcome="declined",
        reason="CONTRAST",
        leading=True,
        bundle_sha256=None,
        device="cpu",
        result={"seconds": seconds},
        read_at=NOW,
    )


def _quarantined():
    return Quarantined(
        file="q", reason="NOT_DICOM", bytes=3, calling_ae_title="SCANNER", address="10.9.8.7", received_at=NOW
    )


def _outage():
    since = NOW - timedelta(seconds=60)
    return Outage(destination="pacs", failures=3, since=since, probe_at=NOW, error="away")


def test_the_days_of_certificates_are_told_and_a_file_that_cannot_be_read_has_none_left(settings, tmp_path):
    identity = Authority(tmp_path).issue(NODE_NAME, days=20)

    def days():
        secured = {"tls": identity.settings(), "web": {"port": settings.web.port}}
        there = settings_for(tmp_path, settings.database.url, 11112, **secured)
        found = _read(there)
        return {key[1]: value for key, value in found.items() if key[0] == "ich_node_certificate_days_left"}

    whole = days()
    identity.certificate.write_text("nothing")

    assert set(whole) == {"certificate", "authorities"}
    assert 19 < whole["certificate"] <= 20 < whole["authorities"]
    assert days() == {"certificate": 0}
