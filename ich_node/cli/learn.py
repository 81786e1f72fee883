"""Commands of learning: labels, retrain, bundles."""

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from ich_node.cli.audit import audited, note
from ich_node.cli.context import console, given, now
from ich_node.vocabulary import DISCLAIMER

if TYPE_CHECKING:
    from ich_node.core.gate import GateVerdict

labels = typer.Typer(help="Radiologists' verdicts on received studies.", no_args_is_help=True)
retrain = typer.Typer(
    help="Retrain on labelled studies; nothing is promoted by itself.", no_args_is_help=True
)
bundles = typer.Typer(
    help="The networks of this installation: list, judge, promote, roll back.", no_args_is_help=True
)
Name = Annotated[str, typer.Argument(metavar="NAME", help="as `ich-node bundles list` names it")]


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.add_typer(labels, name="labels")
    app.add_typer(retrain, name="retrain")
    app.add_typer(bundles, name="bundles")


@labels.command("import")
def import_labels(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help="the table to read")],
) -> None:
    """Put the verdicts of a table on received studies; lines that cannot be used are named.

    Columns: study_uid, accession_number, patient_id (one is enough), hemorrhage (present, absent,
    undetermined), location (deep, lobar, subtentorial or empty), reader, read_at, saw_result, confidence.
    """
    from ich_node.retraining.labels import import_labels as read

    database = given(context).database()
    with audited(database, "labels import"):
        result = read(database, file, now=now())
    console.print(f"{result.added} labels are new, {result.unchanged} were known.")
    for bad in result.problems:
        console.print(f"line {bad.line}: {bad.problem}", markup=False, highlight=False)
    sys.exit(1 if result.problems else 0)


@labels.command("export")
def export_labels(context: typer.Context) -> None:
    """Print every label as a table that can be imported again."""
    from ich_node.dicom.audit import exported
    from ich_node.retraining.labels import export_labels as write
    from ich_node.user import current_user

    database = given(context).database()
    note(database, exported(None, who=current_user(), what="labels export"))
    write(database, sys.stdout)


@retrain.command("start")
def start(context: typer.Context) -> None:
    """Ask for a retraining on what is labelled; `ich-node schedule` does it, `watch` shows it."""
    from ich_node.retraining.run import start as request

    database = given(context).database()
    with audited(database, "retrain start"):
        run = request(database, given(context).settings(), now=now())
    console.print(f"Retraining {run.id} {run.message}. `ich-node retrain watch` shows how far it is.")


@retrain.command("status")
def status(context: typer.Context) -> None:
    """Say where the last retraining stands."""
    from ich_node.retraining.run import status as latest
    from ich_node.retraining.watch import remaining

    found = latest(given(context).database())
    if found is None:
        console.print("Nothing was ever retrained here: `ich-node retrain start` begins.")
        return
    console.print(f"Retraining {found.run.id}: {found.run.state}: {found.run.message}", highlight=False)
    if found.progress is not None:
        console.print(remaining(found.progress))


@retrain.command("watch")
def watch(context: typer.Context) -> None:
    """Follow the last retraining to its end; Ctrl-C ends the watching, not the training."""
    from ich_node.core.states import RunState
    from ich_node.retraining.watch import watch as follow

    try:
        run = follow(given(context).database(), console, threading.Event())
    except KeyboardInterrupt:
        console.print("The retraining goes on.")
        return
    console.print(f"Retraining {run.id} is {run.state}: {run.message}", highlight=False)
    sys.exit(0 if run.state is RunState.DONE else 1)


@retrain.command("cancel")
def cancel(context: typer.Context) -> None:
    """End the retraining that runs or waits."""
    from ich_node.retraining.run import cancel as end

    database = given(context).database()
    with audited(database, "retrain cancel"):
        run = end(database, now=now())
    console.print(f"Retraining {run.id} is cancelled.")


@retrain.command("resume")
def resume(context: typer.Context) -> None:
    """Let the last retraining go on where it stopped."""
    from ich_node.retraining.run import resume as again

    database = given(context).database()
    with audited(database, "retrain resume"):
        run = again(database)
    console.print(f"Retraining {run.id} {run.message}.")


@bundles.command("list")
def list_bundles(context: typer.Context) -> None:
    """List the networks of this installation and which one reads."""
    from ich_node.store.bundles import list_bundles as registered

    with given(context).database().transaction() as connection:
        rows = registered(connection)
    table = Table("name", "state", "sha256", "trained from", "registered", "promoted", caption=DISCLAIMER)
    for row in rows:
        promoted = f"{row.promoted_at.astimezone():%Y-%m-%d %H:%M}" if row.promoted_at else ""
        registered_at = f"{row.created_at.astimezone():%Y-%m-%d %H:%M}"
        parent = (row.parent_sha256 or "")[:12]
        table.add_row(row.name, row.state, row.sha256[:12], parent, registered_at, promoted)
    console.print(table)


@bundles.command("gate")
def gate(context: typer.Context, name: Name) -> None:
    """Say whether a candidate could be promoted now, and why not."""
    from ich_node.retraining.registry import gate as judge

    minimum = given(context).settings().gate.minimum_patients
    verdict = judge(given(context).database(), name, minimum_patients=minimum)
    _tell(verdict)
    sys.exit(0 if verdict.allowed else 1)


@bundles.command("promote")
def promote(context: typer.Context, name: Name) -> None:
    """Let a candidate read from the next study on; refused when it is worse or the evidence too thin."""
    from ich_node.retraining.registry import promote as let_serve

    minimum = given(context).settings().gate.minimum_patients
    database = given(context).database()
    with audited(database, "bundles promote", about=name, configures=True):
        bundle = let_serve(database, name, minimum_patients=minimum, now=now())
    console.print(f"{bundle.name} ({bundle.sha256[:12]}) reads from the next study on.")
    for words in bundle.notes:
        console.print(words)


@bundles.command("rollback")
def rollback(context: typer.Context) -> None:
    """Let the network read again that served before; one command, no gate, from the next study on."""
    from ich_node.retraining.registry import rollback as go_back

    database = given(context).database()
    with audited(database, "bundles rollback", configures=True):
        bundle = go_back(database, now=now())
    console.print(f"{bundle.name} ({bundle.sha256[:12]}) reads from the next study on.")


def _tell(verdict: "GateVerdict") -> None:
    table = Table("", "serves now", "candidate")
    champion, challenger = verdict.champion, verdict.challenger
    for name in ("auc", "sensitivity", "specificity"):
        table.add_row(name, _number(getattr(champion, name)), _number(getattr(challenger, name)))
    patients = (
        f"{verdict.patients} kept-aside patients ({verdict.positives} with, {verdict.negatives} without)"
    )
    console.print(f"{patients}; asked for: {verdict.minimum_patients}")
    console.print(table)
    for reason in verdict.reasons:
        console.print(f"refused: {reason}", highlight=False)
    if verdict.allowed:
        console.print("It may be promoted.")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
