"""Command that brings studies from a PACS: fetch."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ich_node.cli.context import console, given, now, say
from ich_node.errors import IchNodeError, UsageError
from ich_node.settings.sections import Source
from ich_node.settings.tree import Settings

if TYPE_CHECKING:
    from ich_node.core.retrieval import Fetched, StudyThere, SubOperations
    from ich_node.intake.fetch import Fetching
    from ich_node.store.database import Database


def register(app: typer.Typer) -> None:
    """Add this command to the command line."""
    app.command()(fetch)


def fetch(
    context: typer.Context,
    accession: Annotated[
        str, typer.Argument(metavar="ACCESSION", help="accession number, without wildcards")
    ],
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="NAME", help="the PACS, where the settings name several `sources`"),
    ] = None,
) -> None:
    """Bring every study of an accession number from a PACS, for what was missed and for old studies.

    A PACS that the settings name in `sources` is asked (C-FIND) and sends (C-MOVE) to the receiver, which
    must run on this machine. The PACS must know our AE title, host and port, and be one of the `senders`.
    Then it is asked once more what it has, and what has not come is named. What comes is read, and
    reported, like any other study. Ctrl-C cancels the transfer (C-CANCEL).

    Exit status: 0 all is here; 1 something is missing or went wrong; 3 the PACS knows no such study.
    """
    from ich_node.cli.callers import with_allowed
    from ich_node.core.retrieval import asked_accession
    from ich_node.intake.fetch import Fetching, find_studies
    from ich_node.log import configure
    from ich_node.network import adjust_pynetdicom
    from ich_node.tls import credentials_of

    settings = given(context).settings()
    asked = asked_accession(accession)
    chosen = _choose(settings.sources, source)
    database = given(context).database()
    _require_way_in(with_allowed(settings, database), chosen)
    configure("fetch")
    adjust_pynetdicom()
    with _ctrl_c() as stop:
        fetching = Fetching(
            source=chosen,
            receiver=settings.receiver,
            timeout_s=settings.fetch.timeout_s,
            credentials=credentials_of(settings.tls),
            stop=stop,
        )
        _note_query(database, fetching, asked)
        studies, others = find_studies(fetching, asked)
        _say_found(chosen, asked, studies, others)
        whole = studies and _fetch_all(fetching, studies, settings, database)
    database.dispose()
    sys.exit((0 if whole else 1) if studies else 3)


def _note_query(database: "Database", fetching: "Fetching", asked: str) -> None:
    """Write into the audit trail whom we ask for what."""
    from ich_node.cli.audit import note
    from ich_node.dicom.audit import Party, queried
    from ich_node.dicom.query import encoded_query, study_query
    from ich_node.network import FIND
    from ich_node.user import current_user

    query, syntax = encoded_query(study_query(asked))
    theirs = Party.entity(fetching.source.ae_title, fetching.source.host)
    ours, who = Party.entity(fetching.receiver.ae_title), current_user()
    note(
        database,
        queried(query, sop_class_uid=FIND, transfer_syntax_uid=syntax, who=who, ours=ours, theirs=theirs),
    )


def _choose(sources: tuple[Source, ...], name: str | None) -> Source:
    names = ", ".join(one.name for one in sources)
    if not sources:
        raise UsageError("the settings name no PACS to ask; add [[sources]] (name, ae_title, host, port)")
    if name is None and len(sources) > 1:
        raise UsageError(f"the settings name several [[sources]]; say which with --from NAME: {names}")
    for one in sources:
        if name in (None, one.name):
            return one
    raise UsageError(f"no source is called {name}; the settings name: {names}")


def _require_way_in(settings: Settings, source: Source) -> None:
    """What the PACS sends must find a receiver that runs and lets it in; raises UsageError, IchNodeError."""
    from ich_node.cli.callers import command_for
    from ich_node.intake.fetch import addresses_of, may_send, receiver_listens

    if not may_send(source, settings.senders):
        command = command_for(source.ae_title, addresses_of(source)[0])
        raise UsageError(
            f"the receiver would refuse what {source.name} sends: {source.ae_title} may not send from "
            f"{source.host}; to let it in:\n{command}"
        )
    if not receiver_listens(settings.receiver):
        raise IchNodeError(
            f"the receiver does not run: nothing listens on port {settings.receiver.first_port} of this "
            "machine; start `ich-node serve` (or ich-node.target), on the machine where you fetch"
        )


@contextmanager
def _ctrl_c() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets, so that the PACS can be told; the second one ends at once."""
    stop = threading.Event()

    def note(_number: int, _frame: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def _say_found(source: Source, asked: str, studies: "list[StudyThere]", others: int) -> None:
    if others:
        other = _counted(others, "study", "studies")
        say(f"{source.name} also answered with {other} of another accession number: left out.")
    if not studies:
        say(f"{source.name} has no study with accession number {asked}.")
        return
    say(f"{source.name} has {_counted(len(studies), 'study', 'studies')} with accession number {asked}:")
    for study in studies:
        say("  " + ", ".join(_facts(study)))


def _facts(study: "StudyThere") -> Iterator[str]:
    yield study.study_uid
    yield study.study_date or "without date"
    yield "+".join(study.modalities) or "modality not said"
    if study.series is not None:
        yield f"{study.series} series"
    if study.images is not None:
        yield _counted(study.images, "image")


def _fetch_all(
    fetching: "Fetching", studies: "list[StudyThere]", settings: Settings, database: "Database"
) -> bool:
    """Fetch one study after the other; returns whether all of them are here as a whole."""
    from ich_node.intake.fetch import fetch, held
    from ich_node.store.files import Archive

    archive = Archive(settings.storage.folder, reserve_mb=0)
    whole = True
    for study in studies:
        started = now()
        with _bar(study) as tell:
            fetched = fetch(
                fetching, study, here=partial(held, database, archive, study.study_uid), tell=tell
            )
        for line in _lines_of(fetched):
            say(line)
        if not fetched.whole:
            whole = False
            _say_refused(settings, database, since=started)
        if fetching.stop.is_set():
            say("Stopped. The same command fetches what is missing.")
            return False
    return whole


@contextmanager
def _bar(study: "StudyThere") -> Iterator[Callable[["SubOperations"], None]]:
    """A bar of the sub-operations, where the output is a terminal."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("images", total=study.images)

        def tell(counts: "SubOperations") -> None:
            progress.update(task, completed=counts.sent + counts.failed, total=counts.total or study.images)

        yield tell


def _lines_of(fetched: "Fetched") -> Iterator[str]:
    counts = fetched.counts
    said = f"{_counted(counts.sent, 'image')} sent, {counts.warning} with a warning, {counts.failed} failed"
    yield f"{fetched.study.study_uid}: {said}"
    if fetched.trouble:
        yield f"  {fetched.trouble}"
    if not fetched.there:
        yield f"  {_counted(fetched.here, 'image')} here; the PACS listed none to compare with"
    elif not fetched.gaps:
        yield f"  all {_counted(fetched.there, 'image')} of the PACS are here"
    for gap in fetched.gaps:
        series = gap.series
        yield (
            f"  missing: {gap.missing} of {_counted(series.expected, 'image')} "
            f"of series {series.number or 'without number'} ({series.series_uid})"
        )


def _say_refused(settings: Settings, database: "Database", *, since: datetime) -> None:
    """Name the callers that the receiver refused meanwhile: the PACS may send under another title."""
    from ich_node.cli.callers import what_lets_in, with_allowed
    from ich_node.store.quarantine import list_refused_callers

    with database.transaction() as connection:
        refused = [caller for caller in list_refused_callers(connection) if caller.last_at >= since]
    for caller in refused:
        say(f"  meanwhile the receiver refused {caller.calling_ae_title!r} from {caller.address}")
        say(f"  {what_lets_in(caller, with_allowed(settings, database))}")


def _counted(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or f'{one}s'}"
