"""Commands that ask: explain, doctor, studies (with quarantine)."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from ich_node.cli.audit import command_event, write
from ich_node.cli.context import console, given, now, say
from ich_node.errors import UsageError
from ich_node.vocabulary import Reason

studies = typer.Typer(
    help="Look at studies and at what belongs to none; read or send one again.", no_args_is_help=True
)


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command()(explain)
    app.command()(doctor)
    app.add_typer(studies, name="studies")


def explain(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="folder with DICOM files")],
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for programs")] = False,
) -> None:
    """Say which series of a folder would be read and why the others would not; needs no node.

    The rules are those of the settings, where some are given, else those of a new installation.
    """
    from ich_node.analysis.decoding import DecodingChild
    from ich_node.analysis.explain import explain_folder
    from ich_node.log import configure

    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    site = given(context).settings()
    configure("explain")  # to standard error: the answer on standard output is for programs too
    own = site.analysis
    with DecodingChild(memory_mb=own.decode_memory_mb, timeout_s=own.decode_timeout_s) as child:
        explanation = explain_folder(folder, site.rules, trust_headers=own.trust_headers, look=child.look_at)
    if as_json:
        typer.echo(explanation.to_json())
    else:
        explanation.render(console)
    sys.exit(0 if explanation.studies else 3)


def doctor(
    context: typer.Context,
    destination: Annotated[
        str | None, typer.Argument(help="look at this destination only, by its name in the settings")
    ] = None,
    send_test_report: Annotated[
        bool,
        typer.Option(
            "--send-test-report",
            help="send DESTINATION a report of a test patient and look whether it is kept; may be deleted "
            "there. Without it nothing is sent. In quiet mode too",
        ),
    ] = False,
    constancy: Annotated[
        bool, typer.Option("--constancy", help="golden studies give golden scores on this machine")
    ] = False,
    store: Annotated[
        bool, typer.Option("--store", help="with --constancy: store the scores of a bundle that has none")
    ] = False,
) -> None:
    """Check settings, disk, database, clock, bundle, device, destinations and sources; say what to do.

    To try a PACS end to end: `ich-node doctor DESTINATION --send-test-report`. It sends a report (SR) and its
    picture (SC) as any report goes, for the patient ICH NODE TEST^NO PATIENT, and looks for them as `confirm`
    of that destination says.
    """
    from ich_node.cli.doctor import examine
    from ich_node.log import configure
    from ich_node.network import adjust_pynetdicom

    adjust_pynetdicom()  # what it sends goes out as from the processes
    configure("doctor")  # what libraries of ours log goes to standard error, not into the list
    checks = examine(
        given(context),
        destination,
        constancy=constancy or store,
        store=store,
        test_report=send_test_report,
    )
    for check in checks:
        mark = Text("ok  ", "green") if check.passed else Text("FAIL", "red")
        console.print(mark, Text(f"{check.subject}: {check.words}"), soft_wrap=not console.is_terminal)
    sys.exit(0 if all(check.passed for check in checks) else 1)


@studies.command("list")
def list_studies(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="how many, the newest first")] = 50,
) -> None:
    """List the newest studies with their state and outcome; patients are not named."""
    from ich_node.store.studies import list_studies as newest

    with given(context).database().transaction() as connection:
        rows = newest(connection, limit=limit)
    table = Table(
        "ID",
        "received",
        "state",
        "outcome",
        "reason",
        "rev",
        "accession",
        box=None,
        pad_edge=False,
        collapse_padding=True,
    )
    for column in table.columns:
        column.overflow = "fold"  # a cut accession number is of no use
    for row in rows:
        table.add_row(
            str(row.id),
            f"{row.first_instance_at.astimezone():%m-%d %H:%M}",
            row.state,
            row.outcome or "",
            row.reason or "",
            str(row.revision),
            Text(row.accession_number),
        )
    console.print(table)


@studies.command("show")
def show_study(
    context: typer.Context,
    study_id: Annotated[int, typer.Argument(metavar="ID")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="write report.dcm, report.html and key-slice.png there"),
    ] = None,
) -> None:
    """Show one study: what its report says, its readings, deliveries and history."""
    from ich_node.cli.study import leave_files, lines_of, look_up, note_look

    with given(context).database().transaction() as connection:
        told = look_up(connection, study_id)
        note_look(connection, study_id, out)
    for line in lines_of(told):
        say(line)
    if out is not None:
        say(f"Written to {out}: {', '.join(leave_files(told, out))}")


@studies.command("read-again")
def read_again(context: typer.Context, study_id: Annotated[int, typer.Argument(metavar="ID")]) -> None:
    """Queue a study for another reading, with the bundle that serves now."""
    from ich_node.cli.study import require_study
    from ich_node.store.studies import ask_again

    with given(context).database().transaction() as connection:
        study = require_study(connection, study_id)
        if study.forgotten_at is not None:
            raise UsageError(f"the images of study {study_id} are gone (storage.keep_days); send them again")
        ask_again(connection, study, now=now())
        write(connection, command_event("studies read-again", about=study.study_uid))
    console.print(f"Study {study_id} waits for a worker.")


@studies.command("send-again")
def send_again(context: typer.Context, study_id: Annotated[int, typer.Argument(metavar="ID")]) -> None:
    """Send the newest reports of a study once more, the same bytes."""
    from ich_node.cli.study import require_study
    from ich_node.store.deliveries import send_again as queue_again

    settings = given(context).settings()
    if settings.mode == "quiet":
        raise UsageError('mode is quiet: nothing is sent; set mode = "report" first')
    if not settings.destinations:
        raise UsageError("the settings name no destination; add [[destinations]] with the PACS")
    with given(context).database().transaction() as connection:
        study = require_study(connection, study_id)
        names = settings.receiving(canary=study.canary)
        if not names:
            raise UsageError(f"study {study_id} is a canary, and no destination takes those (canary = true)")
        count = queue_again(connection, study_id, destinations=names, now=now())
        write(connection, command_event("studies send-again", about=study.study_uid))
    if count == 0:
        raise UsageError(f"nothing to send again: study {study_id} has no report")
    console.print(f"{count} {'delivery waits' if count == 1 else 'deliveries wait'} for an attempt.")


@studies.command("quarantine")
def list_quarantine(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="how many, the newest first")] = 50,
) -> None:
    """List what came and belongs to no study: when, from whom, why, and where its bytes are kept."""
    from ich_node.store.files import Archive
    from ich_node.store.quarantine import list_quarantined

    archive = Archive(given(context).settings().storage.folder, reserve_mb=0)
    with given(context).database().transaction() as connection:
        rows = list_quarantined(connection, limit=limit)
    if not rows:
        console.print("Nothing is in quarantine.")
    for row in rows:
        reason = Reason(row.reason)
        gone = row.gone_at and f"its bytes went on {row.gone_at.astimezone():%Y-%m-%d} (storage.keep_days)"
        say(
            f"{row.received_at.astimezone():%Y-%m-%d %H:%M:%S} {reason}: {reason.sentence} "
            f"{row.bytes} bytes from {row.calling_ae_title!r} at {row.address}\n"
            f"  {gone or archive.quarantine_path(row.file)}"
        )
