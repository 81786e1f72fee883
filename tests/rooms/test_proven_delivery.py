"""Delivery as it runs, with its threads and our receiver: four destinations at once, each its own fate."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from outbox import SC, SR, deliveries, delivering, peer, put_into_outbox, report
from peers import OrthancServer
from pynetdicom import _config
from reception import count, eventually, receiving, settings_for

from ich_node.demo.pacs import stand_in_pacs
from ich_node.network import FIND
from ich_node.settings.tree import Settings
from ich_node.store.database import Database
from ich_node.store.deliveries import add_deliveries
from ich_node.store.outages import list_outages

SECONDS = {"retry_s": 0.2, "retry_max_s": 1, "confirm_within_s": 2, "timeout_s": 2, "probe_max_s": 1}


@pytest.mark.peer
def test_each_destination_ends_right_and_none_delays_another(
    sqlite_url: str, tmp_path: Path, free_port: int, orthanc: OrthancServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_config, "UNRESTRICTED_STORAGE_SERVICE", False)
    database = Database(sqlite_url)
    with (
        stand_in_pacs(tmp_path / "pacs") as pacs,
        peer(free_port, [SR, SC, FIND], lambda _: 0, find=_nothing),
    ):
        destinations = [
            {"name": "orthanc", "ae_title": "ORTHANC", "port": orthanc.port, "confirm": "commitment"},
            {"name": "finds", "ae_title": "PACS", "port": pacs.port, "confirm": "find"},
            {"name": "forgets", "ae_title": "PACS", "port": free_port, "confirm": "find"},
            {"name": "dead", "ae_title": "PACS", "port": 1, "confirm": "find"},
        ]
        settings = _settings(tmp_path, sqlite_url, orthanc, destinations)
        study_id = put_into_outbox(
            database, report(SR, 10 * free_port + 4), report(SC, 10 * free_port + 5), destination="dead"
        )
        with database.transaction() as connection:
            for report_id in (1, 2):
                names = ["orthanc", "finds", "forgets"]
                add_deliveries(connection, report_id, names, now=datetime.now(UTC))

        started = time.monotonic()
        with receiving(settings), delivering(settings):
            eventually(lambda: _fate(database, study_id, "finds") == {"confirmed"})
            eventually(lambda: _fate(database, study_id, "orthanc") == {"confirmed"})
            proven_s = time.monotonic() - started
            eventually(lambda: _fate(database, study_id, "forgets") == {"failed"}, within_s=60)
            with database.transaction() as connection:
                (away,) = list_outages(connection)

    print(f"proven at two destinations after {proven_s:.1f} s")
    assert (
        proven_s < 25
    )  # whatever else the machine does; a queue for all would stand until the dead one lives
    assert _fate(database, study_id, "dead") == {"pending"}
    assert (away.destination, away.failures > 3) == ("dead", True)
    assert count(database, "history", "event = 'report.confirmed'") == 4
    database.dispose()


def _nothing(_event: Any) -> Iterator[Any]:
    yield from ()


def _settings(folder: Path, url: str, orthanc: OrthancServer, destinations: list[dict[str, Any]]) -> Settings:
    return settings_for(
        folder,
        url,
        orthanc.node_port,
        mode="report",
        destinations=[{"host": "127.0.0.1", **one} for one in destinations],
        senders=[{"ae_title": "ORTHANC", "address": "127.0.0.1"}],
        delivery={**SECONDS, "resends": 1},
    )


def _fate(database: Database, study_id: int, destination: str) -> set[str]:
    return {str(one.state) for one in deliveries(database, study_id) if one.destination == destination}
