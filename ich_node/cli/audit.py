"""Commands of the audit trail: verify, list; and what other commands write into it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from ich_node.cli.context import given, now, say
from ich_node.errors import IchNodeError

if TYPE_CHECKING:
    from ich_node.dicom.audit import AuditEvent
    from ich_node.store.database import Connection, Database

audit = typer.Typer(help="The audit trail: is it whole, and what does it say.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.add_typer(audit, name="audit")


@audit.command("verify")
def verify(context: typer.Context) -> None:
    """Say whether any line of the audit trail was changed, taken out or put in, and the first one that was.

    Who can write to the database can also write a whole new chain: the lines that the receiver of audit
    messages has, and the hash that this command prints, show that one too. Keep the hash elsewhere.

    Exit status: 0 it is whole; 1 it is broken.
    """
    from ich_node.core.audit import first_break
    from ich_node.store.audit import head, lines

    database = given(context).database()
    with database.reading() as connection:
        end = head(connection)
        found = first_break(lines(connection), end)
    _note_use(database)
    if found is not None:
        say(f"The audit trail is broken: line {found.id} {found.words}.")
        sys.exit(1)
    say(f"The audit trail is whole: {end.id} lines, the last one has the hash {end.sha256}.")


@audit.command("list")
def list_lines(
    context: typer.Context,
    since: Annotated[
        datetime | None, typer.Option(help="from this time on, of this machine's zone; without it all")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="how many, the newest")] = 50,
) -> None:
    """Print audit messages, oldest first: number, time, kind, XML of PS3.15 A.5; it names Patient IDs."""
    from ich_node.store.audit import lines_since

    database = given(context).database()
    moment = datetime.min.replace(tzinfo=UTC) if since is None else since.astimezone()
    with database.reading() as connection:
        found = lines_since(connection, moment, limit=limit)
    _note_use(database)
    for line in found:
        say(f"{line.id} {line.at.astimezone():%Y-%m-%d %H:%M:%S} {line.kind} {line.message}")


def _note_use(database: "Database") -> None:
    from ich_node.dicom.audit import log_used
    from ich_node.user import current_user

    note(database, log_used(who=current_user()))


def note(database: "Database", event: "AuditEvent") -> None:
    """Write a message of its own into the trail."""
    with database.transaction() as connection:
        write(connection, event)


def write(connection: "Connection", event: "AuditEvent") -> None:
    """Write a message into the trail, as the last statement of a transaction."""
    from ich_node.store.audit import record

    record(connection, event, now=now())


def command_event(command: str, *, about: str = "", configures: bool = False) -> "AuditEvent":
    """The message that a person used a command that changes something."""
    from ich_node.dicom.audit import commanded
    from ich_node.user import current_user

    return commanded(command, about=about, who=current_user(), configures=configures)


@contextmanager
def audited(
    database: "Database", command: str, *, about: str = "", configures: bool = False
) -> Iterator[None]:
    """Write into the trail that a command was used, and whether it did what was asked."""
    from ich_node.dicom.audit import Outcome

    event = command_event(command, about=about, configures=configures)
    try:
        yield
    except IchNodeError as error:
        note(database, event.ended(Outcome.MINOR_FAILURE, type(error).__name__))
        raise
    note(database, event)
