"""What every command is given: the settings file, and from it the settings and the database."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from ich_node.errors import UsageError
from ich_node.settings.tree import FILE_VARIABLE, Settings, load

if TYPE_CHECKING:
    from ich_node.store.database import Database

console = Console()


@dataclass(frozen=True, kw_only=True)
class Given:
    """The arguments that stand before the command."""

    settings_file: Path | None

    def settings(self) -> Settings:
        """Read the settings; raises SettingsError that names every problem."""
        return load(self.settings_file)

    def database(self) -> "Database":
        """Open the database of these settings; raises UsageError unless its schema is the newest.

        A mere question makes no database: without settings the default one must be there already.
        """
        from ich_node.store.database import Database, require_current

        known = self.settings()
        if self.settings_file is None and not known.model_fields_set & {"database", "storage"}:
            file = Path(known.database_url.removeprefix("sqlite:///"))
            if not file.exists():
                raise UsageError(
                    f"no settings were named, and there is no {file}: use `ich-node --settings FILE ...` "
                    f"or set {FILE_VARIABLE}"
                )
        database = Database(known.database_url)
        require_current(database)
        return database


def given(context: typer.Context) -> Given:
    """What stood before the command."""
    found = context.find_object(Given)
    assert found is not None
    return found


def now() -> datetime:
    """The only clock of the command line."""
    return datetime.now(UTC)


def say(words: str) -> None:
    """Print words as they are, brackets too; a line that is not for a terminal stays one line."""
    console.print(words, markup=False, highlight=False, soft_wrap=not console.is_terminal)
