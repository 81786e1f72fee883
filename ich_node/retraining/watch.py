"""Follows a retraining on a terminal until it ends: what it does, how far it is, how long it still takes."""

import threading

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ich_node.errors import UsageError
from ich_node.retraining.run import RunStatus, TrainingProgress, status
from ich_node.store.database import Database
from ich_node.store.runs import TrainingRun

LOOK_EVERY_S = 0.5


def watch(database: Database, console: Console, stop: threading.Event) -> TrainingRun:
    """Show the last run until it ends or `stop` is set; returns it as it then stands.

    Raises UsageError where there is no run. Where the output is no terminal, each step is one line.
    """
    current = _require_run(database)
    bar = Progress(
        TextColumn("retraining {task.fields[number]}: {task.description}"),
        BarColumn(),
        TextColumn("{task.fields[left]}"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    said = ""
    with bar:
        task = bar.add_task("", total=None, number=current.run.id, left="")
        while True:
            run, progress = current.run, current.progress
            bar.update(
                task,
                description=run.message,
                total=progress.steps if progress else None,
                completed=progress.step if progress else 0,
                left=remaining(progress),
            )
            if not console.is_terminal and run.message != said:
                said = run.message
                console.print(f"retraining {run.id}: {run.state}: {said}")
            if not run.active or stop.wait(LOOK_EVERY_S):
                return run
            current = _require_run(database)


def remaining(progress: TrainingProgress | None) -> str:
    """The time that is left in words; says what the estimate covers, and nothing where there is none."""
    if progress is None:
        return ""
    minutes = round(progress.left_s / 60)
    amount = f"about {minutes} min" if minutes else "less than a minute"
    return f"epoch {progress.epoch}/{progress.epochs}, {amount} of training left, then evaluation"


def _require_run(database: Database) -> RunStatus:
    found = status(database)
    if found is None:
        raise UsageError("nothing was ever retrained here: `ich-node retrain start` begins")
    return found
