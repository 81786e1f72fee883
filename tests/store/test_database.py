"""Transactions, schema and errors, on both databases."""

import sqlite3
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from peers import PostgresServer

from ich_node.errors import Collision, DatabaseAway, SettingsError, UsageError
from ich_node.settings.tree import load
from ich_node.store import audit_tables, tables, watch_tables  # noqa: F401
from ich_node.store.associations import open_association
from ich_node.store.database import Database, await_current, installation_uid, require_current
from ich_node.store.deliveries import claim_delivery, deliveries_of
from ich_node.store.history import append, history_of
from ich_node.store.migration import alembic_config, migrate
from ich_node.store.studies import find_study

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ADD_STUDY = (
    "insert into studies (study_uid, patient_id, accession_number, state, revision, conflict, cut_short, "
    "attempts, lease_token, first_instance_at, last_instance_at) values "
    "('1.2.3', '', '', 'receiving', 1, false, false, 0, 0, '2026-11-24 12:00:00', '2026-11-24 12:00:00')"
)


def test_the_migrations_build_exactly_the_tables_of_the_code(database: Database) -> None:
    with database.engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), tables.metadata)

    assert differences == []


def test_reports_that_an_older_version_queued_are_delivered_after_the_migration(database: Database) -> None:
    command.downgrade(alembic_config(database.url), "0002")
    with database.engine.begin() as connection:
        for statement in (
            ADD_STUDY,
            "insert into reports (id, study_id, revision, kind, sop_class_uid, sop_instance_uid, series_uid, "
            "content, created_at) values (1, 1, 1, 'SR', '1.2', '1.2.3.1', '1.2.3.0', '', "
            "'2026-11-24 12:00:00')",
            "insert into deliveries (report_id, destination, state, attempts, next_attempt_at, lease_token) "
            "values (1, 'pacs', 'pending', 2, '2026-11-24 12:00:00', 0)",
        ):
            connection.exec_driver_sql(statement)

    migrate(database, new_uid="2.25.9", now=NOW)

    with database.transaction() as connection:
        parcel = claim_delivery(connection, "pacs", holder="x", lease_s=60, now=NOW)
        (delivery,) = deliveries_of(connection, 1)
    assert parcel is not None
    assert (parcel.attempts, parcel.queued_at) == (3, NOW)
    assert delivery.confirm_by is None, "no proof is asked for that nobody asked for when it was sent"


def test_migrating_again_keeps_the_installation(database: Database) -> None:
    with database.transaction() as connection:
        before = installation_uid(connection)

    migrate(database, new_uid="2.25.9", now=NOW)

    with database.transaction() as connection:
        assert installation_uid(connection) == before
    require_current(database)


def test_a_database_that_was_never_migrated_is_refused_with_what_to_do(tmp_path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'new.sqlite'}")

    with pytest.raises(UsageError, match="ich-node migrate"):
        require_current(database)

    database.dispose()


def test_a_transaction_that_fails_leaves_nothing(database: Database) -> None:
    def _add_and_stop() -> None:
        with database.transaction() as connection:
            connection.exec_driver_sql(ADD_STUDY)
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        _add_and_stop()

    with database.transaction() as connection:
        assert find_study(connection, "1.2.3") is None


def test_the_same_row_twice_is_a_collision(database: Database) -> None:
    with database.transaction() as connection:
        connection.exec_driver_sql(ADD_STUDY)

    with pytest.raises(Collision), database.transaction() as connection:
        connection.exec_driver_sql(ADD_STUDY)


def test_times_come_back_as_utc_and_naive_ones_are_refused(database: Database) -> None:
    berlin = NOW.astimezone(timezone(timedelta(hours=1)))
    with database.transaction() as connection:
        connection.exec_driver_sql(ADD_STUDY)
        study = find_study(connection, "1.2.3")
        assert study is not None
        append(connection, study.id, "tried", now=berlin)
        (line,) = history_of(connection, study.id)

    assert line.at == NOW
    assert line.at.utcoffset() == timedelta(0)
    with pytest.raises(Exception, match="aware"), database.transaction() as connection:
        open_association(
            connection, receiver="x", calling_ae_title="x", address="x", now=NOW.replace(tzinfo=None)
        )


def test_sqlite_writers_wait_for_each_other_and_then_say_that_the_database_is_away(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    with database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout=100")
    lock = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")

    with pytest.raises(DatabaseAway), database.transaction():
        pass

    lock.execute("ROLLBACK")
    lock.close()
    database.dispose()


@pytest.mark.peer
def test_postgresql_that_is_not_there_is_away(postgres: PostgresServer) -> None:
    database = Database(postgres.url("migrated").replace(str(postgres.port), "9"))

    with pytest.raises(DatabaseAway), database.transaction():
        pass

    database.dispose()


@pytest.mark.peer
def test_a_database_that_is_away_is_waited_for_until_it_answers_or_the_process_stops(
    postgres: PostgresServer,
) -> None:
    database = Database(postgres.url("migrated"))
    stop, answers = threading.Event(), []
    waiting = threading.Thread(target=lambda: answers.append(await_current(database, stop)))
    postgres.stop()
    try:
        waiting.start()
        waiting.join(0.5)
        waited = waiting.is_alive()
    finally:
        postgres.start()
    waiting.join(10)
    stop.set()

    assert waited
    assert answers == [True]
    assert not await_current(database, stop)
    database.dispose()


def test_a_folder_that_cannot_hold_the_database_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(UsageError, match=r"file/below.*storage\.folder"):
        Database(f"sqlite:///{tmp_path / 'file/below/node.sqlite'}")
    with pytest.raises(UsageError, match="must name a file"):
        Database(f"sqlite:///{tmp_path}")


@pytest.mark.parametrize(
    "url",
    ["nonsense", "postgres://ich:secret@h/ich", "postgresql://ich:secret@h/ich", "sqlite://", "sqlite:///"],
)
def test_the_settings_refuse_a_url_of_another_kind_and_say_what_to_write(tmp_path: Path, url: str) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(f'database.url = "{url}"\n')

    with pytest.raises(SettingsError, match=r"database\.url.*postgresql\+psycopg://") as raised:
        load(file)

    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("url", ["", "sqlite:///node.sqlite", "postgresql+psycopg://ich:secret@h:5432/ich"])
def test_the_settings_take_the_urls_that_the_help_names(tmp_path: Path, url: str) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(f'database.url = "{url}"\n')

    assert load(file).database.url == url


def test_a_url_that_cannot_be_read_is_said_without_its_password() -> None:
    with pytest.raises(UsageError, match=r"database\.url") as raised:
        Database("postgresql+psycopg://ich:secret@host:port/name")

    assert "secret" not in str(raised.value)


def test_who_only_reads_holds_up_no_writer_and_sees_one_moment(database: Database) -> None:
    other = Database(database.url)
    with database.reading() as reader:
        before = installation_uid(reader)
        with other.transaction() as writer:
            writer.exec_driver_sql("update installation set uid = '2.25.1'")
        during = installation_uid(reader)
    with database.reading() as reader:
        after = installation_uid(reader)
    other.dispose()

    assert before == during
    assert after == "2.25.1"


@pytest.mark.peer
def test_postgresql_that_only_reads_is_away(postgres: PostgresServer) -> None:
    url = postgres.create("only_reads", template="migrated")
    database = Database(url)
    with database.transaction() as connection:
        connection.exec_driver_sql("alter database only_reads set default_transaction_read_only = on")
    database.dispose()

    with pytest.raises(DatabaseAway, match="does not work"), database.transaction() as connection:
        connection.exec_driver_sql(ADD_STUDY)

    database.dispose()
    postgres.drop("only_reads")


def test_a_damaged_sqlite_file_is_away(tmp_path: Path) -> None:
    (tmp_path / "node.sqlite").write_bytes(b"no database" * 1000)
    database = Database(f"sqlite:///{tmp_path / 'node.sqlite'}")

    with pytest.raises(DatabaseAway, match="does not work"), database.transaction():
        pass

    database.dispose()


@pytest.mark.peer
def test_on_postgresql_what_is_committed_is_on_the_disk_and_no_statement_hangs_for_ever(
    postgres: PostgresServer,
) -> None:
    database = Database(postgres.create("hasty", template="migrated"))
    with database.transaction() as connection:
        connection.exec_driver_sql("alter database hasty set synchronous_commit = off")
    database.dispose()

    with database.transaction() as connection:
        said = [
            connection.exec_driver_sql(f"show {name}").scalar_one()
            for name in ("synchronous_commit", "statement_timeout", "lock_timeout")
        ]

    assert said == ["on", "1min", "30s"]
    database.dispose()
    postgres.drop("hasty")
