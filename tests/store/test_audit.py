"""The audit trail in the database: nobody changes it, several processes write it, any break is found."""

import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.exc import DatabaseError

from ich_node.core.audit import first_break
from ich_node.dicom.audit import Party, commanded
from ich_node.errors import IchNodeError
from ich_node.store.audit import (
    count_unsent,
    head,
    lines,
    lines_after,
    lines_since,
    mark_sent_up_to,
    oldest_unsent_at,
    record,
    sent_up_to,
)
from ich_node.store.database import Database

NOW = datetime(2026, 11, 26, 12, 0, 0, 123456, tzinfo=UTC)
EVENT = commanded("studies read-again", about="1.2.3", who=Party(user="anna@node"))
WRITERS, EACH = 4, 25

_WRITER = """
import sys
from datetime import UTC, datetime
from ich_node.dicom.audit import Party, commanded
from ich_node.store.audit import record
from ich_node.store.database import Database
database = Database(sys.argv[1])
for number in range(int(sys.argv[2])):
    with database.transaction() as connection:
        record(connection, commanded("x", about=str(number), who=Party(user="u")), now=datetime.now(UTC))
"""


def _write(database, count=3, *, now=NOW):
    for number in range(count):
        with database.transaction() as connection:
            record(connection, EVENT, now=now + timedelta(minutes=number))


def _verify(database):
    with database.reading() as connection:
        return first_break(lines(connection), head(connection))


def _unguarded(database, *statements):
    """Change rows as somebody does who owns the database and takes its triggers away."""
    with database.engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            for verb in ("update", "delete"):
                connection.exec_driver_sql(f"drop trigger audit_events_no_{verb}")
        else:
            connection.exec_driver_sql("drop trigger audit_events_append_only on audit_events")
        for statement in statements:
            connection.exec_driver_sql(statement)


def test_what_was_written_comes_back_in_order_and_the_chain_holds(database: Database) -> None:
    _write(database)

    with database.reading() as connection:
        found = list(lines(connection))
    assert [line.id for line in found] == [1, 2, 3]
    assert [line.at for line in found] == [NOW + timedelta(minutes=number) for number in range(3)]
    assert _verify(database) is None


@pytest.mark.parametrize(
    "statement",
    ["update audit_events set message = 'x' where id = 2", "delete from audit_events where id = 2"],
)
def test_the_database_refuses_to_change_or_delete_a_line(database: Database, statement: str) -> None:
    _write(database)

    with (
        pytest.raises((DatabaseError, IchNodeError)),
        database.transaction() as connection,
    ):
        connection.exec_driver_sql(statement)

    assert _verify(database) is None


@pytest.mark.peer
def test_postgresql_refuses_to_empty_the_trail(postgres) -> None:
    url = postgres.create("truncated_audit", template="migrated")
    database = Database(url)
    _write(database)

    with pytest.raises(DatabaseError), database.transaction() as connection:
        connection.exec_driver_sql("truncate audit_events")

    assert _verify(database) is None
    database.dispose()
    postgres.drop("truncated_audit")


@pytest.mark.parametrize(
    ("statement", "broken"),
    [
        ("update audit_events set message = '<AuditMessage/>' where id = 2", 2),
        ("delete from audit_events where id = 2", 2),
        ("delete from audit_events where id = 3", 3),
        ("update audit_events set kind = 'Export' where id = 1", 1),
    ],
)
def test_who_takes_the_triggers_away_is_found_out(database: Database, statement: str, broken: int) -> None:
    _write(database)
    _unguarded(database, statement)

    found = _verify(database)

    assert found is not None
    assert found.id == broken


def test_a_transaction_that_fails_leaves_no_line_and_no_gap(database: Database) -> None:
    _write(database, 1)

    def _write_and_stop() -> None:
        with database.transaction() as connection:
            record(connection, EVENT, now=NOW)
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        _write_and_stop()
    _write(database, 1)

    with database.reading() as connection:
        assert [line.id for line in lines(connection)] == [1, 2]
    assert _verify(database) is None


def test_several_processes_and_threads_write_one_chain(database: Database) -> None:
    command = [sys.executable, "-c", _WRITER, database.url, str(EACH)]
    writers = [subprocess.Popen(command) for _ in range(WRITERS)]
    threads = [threading.Thread(target=_write, args=(database, EACH)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [writer.wait(120) for writer in writers] == [0] * WRITERS
    with database.reading() as connection:
        assert head(connection).id == (WRITERS + 2) * EACH
    assert _verify(database) is None


def test_it_is_remembered_up_to_where_the_receiver_has_them(database: Database) -> None:
    _write(database)
    with database.transaction() as connection:
        assert count_unsent(connection) == 3
        assert mark_sent_up_to(connection, 2, before=0)
        assert not mark_sent_up_to(connection, 1, before=0), "another process got further"

    with database.reading() as connection:
        assert sent_up_to(connection) == 2
        assert count_unsent(connection) == 1
        assert oldest_unsent_at(connection) == NOW + timedelta(minutes=2)
        assert [line.id for line in lines_after(connection, 1, limit=10)] == [2, 3]
        assert [line.id for line in lines_since(connection, NOW + timedelta(minutes=1), limit=1)] == [3]
