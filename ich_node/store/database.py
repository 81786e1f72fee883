"""Open the database: SQLite by default, PostgreSQL by URL; transactions that cannot half happen."""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection as Connection  # for rooms that hand one through, to name its type
from sqlalchemy import Engine, create_engine, event, inspect, select, text
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as NoConnectionLeft

from ich_node.errors import Collision, DatabaseAway, UsageError
from ich_node.log import logger
from ich_node.store.tables import installation
from ich_node.store.together import Together, Written

SQLITE_WAIT_MS = 30_000
CONNECT_WITHIN_S = 5
LOOK_AGAIN_S = 2.0  # at a database that is away
SAY_EVERY = 30  # attempts: about once a minute
# A machine that stands still in the middle of a transaction must not hold its rows for ever, and a server
# that vanished without a word must be missed: by default the one never ends and the other takes hours.
HELD_AT_MOST_S, LOCK_WITHIN_S, SILENT_AT_MOST_S = 20, 30, 30
STATEMENT_WITHIN_S = 60  # on storage that hangs a statement would never end; more than the wait for a lock
_SERVER_BOUNDS = {
    "connect_timeout": CONNECT_WITHIN_S,
    "options": f"-c idle_in_transaction_session_timeout={HELD_AT_MOST_S}s -c lock_timeout={LOCK_WITHIN_S}s "
    # what we acknowledge is on the disk, whatever the server does for others
    f"-c statement_timeout={STATEMENT_WITHIN_S}s -c synchronous_commit=on",
    "keepalives_idle": SILENT_AT_MOST_S // 3,
    "keepalives_interval": SILENT_AT_MOST_S // 6,
    "keepalives_count": 4,
    "tcp_user_timeout": SILENT_AT_MOST_S * 1000,
}
_READING = {"postgresql_readonly": True}
_OF_ONE_MOMENT = {"isolation_level": "REPEATABLE READ"}  # SQLite reads a snapshot anyhow, and knows it not
_DEADLOCK, _NOT_SERIALIZABLE = "40P01", "40001"  # SQLSTATEs of PostgreSQL


class Database:
    """One engine for one process; never handed over a fork."""

    def __init__(self, url: str) -> None:
        """Prepare the engine, connect to nothing yet; raises UsageError where the URL cannot work."""
        self.url = url
        self.engine = _engine(url)
        self._together = Together(self.transaction)

    def together(self, write: Callable[[Connection], Written]) -> Written:
        """Run `write` in a transaction that other threads' may share; committed when it returns.

        Raises what a transaction raises. It may run twice: see `Together`.
        """
        return self._together.write(write)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads, all of one moment; it holds up no writer. Raises DatabaseAway."""
        snapshot = {} if self.engine.dialect.name == "sqlite" else _OF_ONE_MOMENT
        with self._transaction(_READING | snapshot) as connection:
            yield connection

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A transaction that commits as a whole or not at all.

        Raises DatabaseAway where none can be had, Collision where another process wrote the same rows.
        """
        with self._transaction({}) as connection:
            yield connection

    @contextmanager
    def _transaction(self, options: dict[str, Any]) -> Iterator[Connection]:
        try:
            with self.engine.connect().execution_options(**options) as connection, connection.begin():
                yield connection
        except IntegrityError as error:
            raise Collision from error
        except NoConnectionLeft as error:
            raise DatabaseAway("all connections to the database are busy") from error
        except (OperationalError, InterfaceError) as error:
            if getattr(error.orig, "sqlstate", None) in (_DEADLOCK, _NOT_SERIALIZABLE):
                raise Collision from error
            raise DatabaseAway(f"the database does not answer ({type(error.orig).__name__})") from error
        except DBAPIError as error:
            if error.connection_invalidated:
                raise DatabaseAway("the connection to the database broke") from error
            # one that only reads, a standby; a file that is damaged: no statement of ours is to blame
            if isinstance(error, InternalError) or type(error) is DatabaseError:
                raise DatabaseAway(f"the database does not work ({type(error.orig).__name__})") from error
            raise

    def dispose(self) -> None:
        self.engine.dispose()


def _engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return _server(url)
    if (path := url.removeprefix("sqlite:///")) and ":memory:" not in path:
        _require_writable(Path(path))
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": SQLITE_WAIT_MS / 1000})

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # we begin transactions ourselves, see below
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            f"busy_timeout={SQLITE_WAIT_MS}",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin_immediate(connection: Connection) -> None:
        # a deferred transaction that reads, then writes, fails at once where another one wrote meanwhile
        only_reads = "postgresql_readonly" in connection.get_execution_options()
        connection.exec_driver_sql("BEGIN" if only_reads else "BEGIN IMMEDIATE")

    return engine


def _server(url: str) -> Engine:
    try:
        return create_engine(
            url,
            pool_pre_ping=True,
            hide_parameters=True,  # an error must not print a patient's ID
            connect_args=_SERVER_BOUNDS,
        )
    except (ArgumentError, ValueError):  # its message would show the password
        raise UsageError(
            "database.url cannot be read; write postgresql+psycopg://user:password@host:port/name"
        ) from None
    except ModuleNotFoundError as error:
        raise UsageError(f"database.url needs {error.name}: install ich-node[postgresql]") from error


def _require_writable(file: Path) -> None:
    """Make the folder of a SQLite file; raises UsageError where SQLite could not write there."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"the database's folder {file.parent} cannot be made ({error.strerror}): set database.url or "
            "storage.folder to a place that this user can write"
        ) from error
    if file.is_dir():
        raise UsageError(f"database.url names the folder {file}: it must name a file")
    # SQLite writes files of its own beside the database
    if not os.access(file.parent, os.W_OK | os.X_OK) or (file.exists() and not os.access(file, os.W_OK)):
        raise UsageError(f"the database {file} and its folder cannot be written by this user")


def migrations_folder() -> Path:
    """Where Alembic's revisions lie: in a checkout beside the package, in a wheel inside it."""
    package = Path(__file__).parents[1]
    checkout = package.parent / "migrations"
    return checkout if (checkout / "env.py").is_file() else package / "migrations"


def require_current(database: Database) -> None:
    """Refuse a database whose schema is not the newest, with what to do.

    Without Alembic, which costs each process 11 MB: a revision's file begins with its number (NNNN_pre_...).
    """
    newest = max(path.name[:4] for path in (migrations_folder() / "versions").glob("[0-9]*.py"))
    with database.transaction() as connection:
        found = None
        if inspect(connection).has_table("alembic_version"):
            found = connection.execute(text("select version_num from alembic_version")).scalar()
    if found != newest:
        raise UsageError(
            f"the database is at revision {found or 'none'}, this version needs {newest}: "
            "run `ich-node migrate`"
        )


def await_current(database: Database, stop: threading.Event) -> bool:
    """Wait until the database answers and require the newest schema; False where `stop` came first.

    Raises UsageError where the schema is not the newest.
    """
    attempts = 0
    while not stop.is_set():
        try:
            require_current(database)
        except (Collision, DatabaseAway) as error:
            if attempts % SAY_EVERY == 0:
                logger().error("database.away", error=str(error))
            attempts += 1
            stop.wait(LOOK_AGAIN_S)
        else:
            return True
    return False


def installation_uid(connection: Connection) -> str:
    """The UID of this installation, written once by `migrate`."""
    uid: str = connection.execute(select(installation.c.uid)).scalar_one()
    return uid
