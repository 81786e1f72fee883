"""The command line: wires settings and rooms together; imports inside the commands keep `--help` fast."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from ich_node import vocabulary
from ich_node.cli import ask, audit, fetch, learn, operate, senders
from ich_node.cli.context import Given
from ich_node.errors import IchNodeError, SettingsError, UsageError
from ich_node.settings.tree import FILE_VARIABLE

app = typer.Typer(
    name="ich-node",
    help=f"""Reads head CT studies for intracerebral hemorrhage and answers with a DICOM Structured Report.

{vocabulary.DISCLAIMER}

First steps: `ich-node demo` shows the whole node at work. To install it, copy
deploy/settings.example.toml, edit it, then run `ich-node --settings FILE migrate`,
`ich-node --settings FILE doctor` and `ich-node --settings FILE serve`. `--settings FILE` stands before
the command, every command; the variable {FILE_VARIABLE} says the same.

Exit status: 0 done, 1 failed, 2 wrong use or wrong settings, 3 nothing to read.""",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for part in (operate, ask, senders, fetch, learn, audit):
    part.register(app)


@app.callback()
def _settings(
    context: typer.Context,
    settings: Annotated[
        Path | None,
        typer.Option("--settings", metavar="FILE", envvar=FILE_VARIABLE, help="TOML file with the settings"),
    ] = None,
) -> None:
    context.obj = Given(settings_file=settings)


def main() -> None:
    """Run the command that the arguments name; one exit status for each kind of end."""
    try:
        app()
    except SettingsError as error:
        count = len(error.problems)
        _say(
            f"{count} problem{'' if count == 1 else 's'} in the settings:",
            *(f"  {line}" for line in error.problems),
        )
        sys.exit(2)
    except UsageError as error:
        _say(str(error))
        sys.exit(2)
    except IchNodeError as error:
        _say(str(error))
        sys.exit(1)


def _say(*lines: str) -> None:
    for line in lines:
        print(line, file=sys.stderr)
