"""What is asked at every scrape stays cheap on a large database: no table is read from end to end."""

import re

import pytest
from outbox import put_into_outbox, report
from prometheus_client import CollectorRegistry, generate_latest
from reception import settings_for
from sqlalchemy import event

from ich_node.store.database import Database
from ich_node.web.metrics import NodeMetrics

# small by their nature: a row for a room, a status, a destination that is away, what waits or was refused
SMALL = {
    "signs_of_life",
    "refusals",
    "tallies",
    "discrepancies",
    "canaries",
    "outages",
    "quarantine",
    "refused_callers",
}
# read from the newest row on, and ended by a limit
FROM_THE_END = {"instances", "readings"}


@pytest.fixture
def opened(sqlite_url):
    database = Database(sqlite_url)
    yield database
    database.dispose()


def test_a_scrape_reads_no_large_table_from_end_to_end(opened, tmp_path):
    put_into_outbox(opened, report())
    statements = []

    @event.listens_for(opened.engine, "before_cursor_execute")
    def _note(_connection, _cursor, statement, parameters, *_):
        if statement.startswith("SELECT"):
            statements.append((statement, parameters))

    destinations = [{"name": "pacs", "ae_title": "P", "host": "127.0.0.1", "port": 104, "confirm": "find"}]
    registry = CollectorRegistry(auto_describe=False)
    settings = settings_for(tmp_path, opened.url, 11112, destinations=destinations)
    registry.register(NodeMetrics(opened, settings))
    generate_latest(registry)

    asked, tables = list(statements), _tables(opened)
    assert len(asked) > 10
    with opened.engine.connect() as connection:
        for statement, parameters in asked:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            for line in (str(row[-1]) for row in plan):
                scanned = re.fullmatch(r"SCAN (\w+)", line)  # with an index it reads that alone
                if scanned and scanned[1] in tables:
                    allowed = scanned[1] in SMALL or (scanned[1] in FROM_THE_END and "LIMIT" in statement)
                    assert allowed, statement


def _tables(database):
    with database.engine.connect() as connection:
        found = connection.exec_driver_sql("select name from sqlite_master where type = 'table'")
        return {row[0] for row in found}
