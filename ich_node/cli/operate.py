"""Commands that run the node: serve and its processes, migrate, demo."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from ich_node.cli.context import console, given, now
from ich_node.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (demo, serve, receive, work, deliver, schedule, web, migrate):
        app.command()(command)
    app.command(hidden=True)(canary)  # the scheduler runs it
    app.command("settings")(show_settings)


def demo(
    context: typer.Context,
    seed: Annotated[
        int | None, typer.Option(help="repeat the studies of this seed; without it they are fresh")
    ] = None,
    studies: Annotated[
        int, typer.Option(min=1, max=500, help="synthetic studies to send, with and without a bleed in turn")
    ] = 2,
    keep: Annotated[bool, typer.Option("--keep", help="keep the node's folder and say where it is")] = False,
    study: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="send this folder of DICOM files instead of synthetic studies"),
    ] = None,
    trust_headers: Annotated[
        bool,
        typer.Option("--trust-headers", help="with --study: skip the checks of HU (series of 8-bit images)"),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="where reports, pictures and result.json go; else a folder in /tmp, or ./out with --study",
        ),
    ] = None,
) -> None:
    """Show the whole node at work: real processes, a scanner, a stand-in PACS.

    Without --study it makes synthetic head CTs with and without a bleed and checks the answers. With
    --study it sends your own folder of DICOM files the same way and leaves result.json, report.dcm,
    report.html and key-slice.png.
    """
    from ich_node.demo import stage

    del context  # the demo brings settings of its own and never touches an installation
    if study is not None:
        sys.exit(stage.show_folder(study, out=out, trust_headers=trust_headers, keep=keep, console=console))
    sys.exit(stage.show_synthetic(seed=seed, count=studies, out=out, keep=keep, console=console))


def serve(context: typer.Context) -> None:
    """Run the whole node on this machine: every process, each started anew if it dies."""
    from ich_node import serve as supervisor
    from ich_node.log import configure

    given(context).database().dispose()  # wrong settings or an old schema: say so now, not in four logs
    configure("serve")
    supervisor.run(given(context).settings_file, supervisor.stop_on_signal())


def receive(context: typer.Context) -> None:
    """Receive images (C-STORE SCP) and answer C-ECHO."""
    from ich_node.intake import receiver
    from ich_node.log import configure
    from ich_node.serve import stop_on_signal

    configure("receive")
    receiver.run(given(context).settings(), stop_on_signal())


def work(context: typer.Context) -> None:
    """Read complete studies with the network and write their reports."""
    from ich_node import worker
    from ich_node.log import configure
    from ich_node.serve import stop_on_signal

    configure("work")
    worker.run(given(context).settings(), stop_on_signal())


def deliver(context: typer.Context) -> None:
    """Send reports to the destinations (C-STORE SCU), one thread for each."""
    from ich_node.delivery import serve
    from ich_node.log import configure
    from ich_node.serve import stop_on_signal

    configure("deliver")
    serve.run(given(context).settings(), stop_on_signal())


def schedule(context: typer.Context) -> None:
    """Do what is periodic: complete studies, see that all adds up, send canaries, forget, retrain."""
    from ich_node import scheduler
    from ich_node.log import configure
    from ich_node.serve import stop_on_signal

    configure("schedule")
    scheduler.run(given(context).settings(), stop_on_signal(), settings_file=given(context).settings_file)


def web(context: typer.Context) -> None:
    """Serve /metrics for Prometheus and /health, on web.host and web.port."""
    from ich_node.log import configure
    from ich_node.serve import stop_on_signal
    from ich_node.web import serve

    configure("web")
    serve.run(given(context).settings(), stop_on_signal())


def canary(
    context: typer.Context,
    study_uid: Annotated[str, typer.Argument(help="of a canary that the scheduler wrote down")],
) -> None:
    """Send a synthetic head to our own receiver."""
    from ich_node.demo.canary import send_canary
    from ich_node.log import configure
    from ich_node.network import adjust_pynetdicom
    from ich_node.store.canaries import flights

    with given(context).database().reading() as connection:
        if study_uid not in [one.study_uid for one in flights(connection)]:
            raise UsageError("no canary of this UID is to be sent: only the scheduler sends them")
    configure("canary")
    adjust_pynetdicom()
    send_canary(given(context).settings(), study_uid, now=now())


def migrate(context: typer.Context) -> None:
    """Bring the database up to this version; creates it where there is none. Harmless to repeat."""
    from pydicom.uid import generate_uid

    from ich_node.log import configure
    from ich_node.retraining.registry import register_first
    from ich_node.store.database import Database
    from ich_node.store.migration import migrate as migrate_database

    configure("migrate")
    settings = given(context).settings()
    database = Database(settings.database_url)
    migrate_database(database, new_uid=generate_uid(prefix=None), now=now())
    bundle = register_first(database, settings, now=now())
    console.print(f"The database is up to date. Bundle that reads: {bundle.name}.")


def show_settings(
    context: typer.Context,
    example: Annotated[
        bool, typer.Option("--example", help="print the example file with every setting")
    ] = False,
) -> None:
    """Print the settings in force, or an example file that names every setting with unit and default."""
    from ich_node.settings.example import example as example_file

    if example:
        typer.echo(example_file(), nl=False)
        return
    shown = given(context).settings()
    typer.echo(shown.model_dump_json(indent=2, exclude={"database"}))
