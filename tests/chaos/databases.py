"""The two databases from outside: read only, copied, put back, held by somebody else for a moment."""

import shutil
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import psycopg
from peers import PostgresServer

Rows = list[tuple[Any, ...]]


class Place(Protocol):
    """A database whose node can be stopped."""

    url: str

    def rows(self, statement: str, values: Sequence[object]) -> Rows:
        """Read; a statement with `in %s` takes all values."""

    def copy(self) -> None:
        """Keep a copy of the database while nobody uses it."""

    def restore(self) -> None:
        """Put the copy in the place of the database while nobody uses it."""

    def held(self) -> Any:
        """A context in which the node cannot commit an instance."""

    def stop_for(self, seconds: float) -> None:
        """Be away for so long."""


class SqlitePlace:
    """A SQLite file with what belongs beside it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._file = folder / "node.sqlite"
        self._copy = folder / "copy"
        self.url = f"sqlite:///{self._file}"

    def rows(self, statement: str, values: Sequence[object]) -> Rows:
        marks = f"({', '.join('?' * len(values))})"
        with closing(sqlite3.connect(f"file:{self._file}?mode=ro", uri=True, timeout=30)) as connection:
            return connection.execute(statement.replace("%s", marks), list(values)).fetchall()

    def copy(self) -> None:
        shutil.rmtree(self._copy, ignore_errors=True)
        self._copy.mkdir()
        for file in self._files():
            shutil.copy2(file, self._copy)

    def restore(self) -> None:
        for file in self._files():
            file.unlink()
        for file in self._copy.iterdir():
            shutil.copy2(file, self._file.parent)

    @contextmanager
    def held(self) -> Iterator[None]:
        with closing(sqlite3.connect(self._file, timeout=30, isolation_level=None)) as connection:
            connection.execute("begin immediate")
            yield
            connection.execute("rollback")

    def stop_for(self, seconds: float) -> None:
        raise NotImplementedError("a file is there as long as its machine")

    def _files(self) -> list[Path]:
        return list(self._file.parent.glob(f"{self._file.name}*"))


class PostgresPlace:
    """A database of a PostgreSQL server of our own."""

    def __init__(self, server: PostgresServer, name: str = "node") -> None:
        self._server, self._name = server, name
        self.url = server.create(name)
        self._has_copy = False

    def rows(self, statement: str, values: Sequence[object]) -> Rows:
        marks = f"({', '.join(['%s'] * len(values))})"
        with self._connected(options="-c default_transaction_read_only=on") as connection:
            return connection.execute(statement.replace("%s", marks), list(values)).fetchall()  # type: ignore[arg-type]

    def copy(self) -> None:
        if self._has_copy:
            self._server.drop(f"{self._name}_copy")
        self._server.create(f"{self._name}_copy", template=self._name)
        self._has_copy = True

    def restore(self) -> None:
        self._server.drop(self._name)
        self._server.create(self._name, template=f"{self._name}_copy")

    @contextmanager
    def held(self) -> Iterator[None]:
        # rows can be read, so that a second receiver finds files without one; none can be written
        with self._connected() as connection:
            connection.execute("lock table instances in share mode")
            yield
            connection.rollback()

    def stop_for(self, seconds: float) -> None:
        self._server.stop()
        time.sleep(seconds)
        self._server.start()

    def _connected(self, **more: str) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self.url.replace("+psycopg", ""), **more)
