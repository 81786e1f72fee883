"""Commands of learning: labels, retrain, bundles."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ich_node.cli.context import console, given, now

labels = typer.Typer(help="Radiologists' verdicts on received studies.", no_args_is_help=True)
retrain = typer.Typer(
    help="Retrain on labelled studies; nothing is promoted by itself.", no_args_is_help=True
)
bundles = typer.Typer(
    help="The networks of this installation: list, judge, promote, roll back.", no_args_is_help=True
)


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.add_typer(labels, name="labels")
    app.add_typer(retrain, name="retrain")
    app.add_typer(bundles, name="bundles")
