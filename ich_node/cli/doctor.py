"""Examines an installation: settings, disk, database, clock, bundle, who is called; says what to do."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydicom.uid import generate_uid

from ich_node.cli.audit import command_event, note
from ich_node.cli.callers import way_in, with_allowed
from ich_node.cli.certificates import examine_certificates
from ich_node.cli.check import Check
from ich_node.cli.context import Given, now
from ich_node.cli.destinations import examine_destination, examine_waiting
from ich_node.cli.watch import examine_watch
from ich_node.errors import IchNodeError, UsageError
from ich_node.intake.fetch import may_send
from ich_node.network import echo_trouble
from ich_node.settings.sections import RemoteEntity
from ich_node.settings.tree import Settings
from ich_node.store.alarms import count_failed
from ich_node.store.bundles import ServingBundle, serving
from ich_node.store.clock import newest_event_at, server_time
from ich_node.store.database import Database
from ich_node.store.files import Archive
from ich_node.tls import credentials_of

if TYPE_CHECKING:
    from model.predict import Predictor

# leases pass from one machine to another by the clock; the shortest sensible one is ten times this
CLOCKS_MAY_DIFFER_S = 5.0


def examine(
    given: Given,
    destination: str | None = None,
    *,
    constancy: bool = False,
    store: bool = False,
    test_report: bool = False,
) -> list[Check]:
    """Look at everything, or at one destination; wrong settings raise SettingsError before anything else.

    `constancy` reads the golden studies, too; `store` writes down what the serving bundle says of them;
    `test_report` sends one to the destination.
    """
    settings = _with_allowed_senders(given)
    if destination is None:
        if test_report:
            raise UsageError("name the destination that gets the test report, `ich-node doctor DESTINATION`")
        checks = _everything(given, settings)
    else:
        checks = list(_one_destination(given, settings, destination, test_report=test_report))
    return [*checks, _constancy(given, settings, store=store)] if constancy else checks


def _one_destination(given: Given, settings: Settings, name: str, *, test_report: bool) -> Iterator[Check]:
    """Look at a destination and at what waits for it; a database that is away hides no more than that."""
    study_uid = generate_uid(prefix=None) if test_report else None
    checks = list(_destinations(settings, name, test_study_uid=study_uid))
    yield from checks
    try:
        database = given.database()
    except IchNodeError as error:
        if test_report:
            words = f"that a test report was sent is not in it: {error}"
            yield Check(subject="audit trail", passed=False, words=words)
        return
    if test_report:
        note(database, command_event("doctor --send-test-report", about=study_uid or ""))
    if settings.mode == "report":
        yield from examine_waiting(database, settings, now=now(), only=name)
    database.dispose()


def _with_allowed_senders(given: Given) -> Settings:
    settings = given.settings()
    try:
        database = given.database()
    except IchNodeError:
        return settings  # what is wrong with it is said below
    try:
        return with_allowed(settings, database)
    finally:
        database.dispose()


def _everything(given: Given, settings: Settings) -> list[Check]:
    return [
        Check(subject="mode", passed=True, words=_MODES[settings.mode]),
        _disk(settings),
        *_database_and_bundle(given, settings),
        *examine_certificates(settings.tls, now=now()),
        *_senders(settings),
        *_destinations(settings, None),
        *check_sources(settings),
    ]


_MODES = {
    "quiet": 'quiet: studies are read and kept, nothing is sent (set mode = "report" to send)',
    "report": "report: reports are sent to every destination",
}


def _disk(settings: Settings) -> Check:
    folder = settings.storage.folder.absolute()
    free_mb = Archive(folder, reserve_mb=0).free_mb()
    enough = free_mb > settings.storage.reserve_mb
    advice = "" if enough else "; free space or lower storage.reserve_mb: new images are refused now"
    return Check(
        subject="disk",
        passed=enough,
        words=f"{free_mb} MB free at {folder}, reserve {settings.storage.reserve_mb} MB{advice}",
    )


def _database_and_bundle(given: Given, settings: Settings) -> Iterator[Check]:
    engine = settings.database_url.partition(":")[0]
    try:
        database = given.database()
    except IchNodeError as error:
        yield Check(subject="database", passed=False, words=f"{engine}: {error}")
        return
    yield Check(subject="database", passed=True, words=f"{engine}, schema up to date")
    yield _clock(database)
    yield _deliveries(database)
    if settings.mode == "report":
        yield from examine_waiting(database, settings, now=now())
    yield from examine_watch(database, settings, now=now())
    yield _bundle(database, settings)
    database.dispose()


def _clock(database: Database) -> Check:
    """Compare our clock with the database's; where it has none, with what was written down last."""
    with database.transaction() as connection:
        before = now()
        theirs = server_time(connection)
        ours = before + (now() - before) / 2
        newest = newest_event_at(connection)
    if theirs is not None:
        apart_s = (ours - theirs).total_seconds()
        words = f"{abs(apart_s):.1f} s {'ahead of' if apart_s > 0 else 'behind'} the database's server"
        passed = abs(apart_s) <= CLOCKS_MAY_DIFFER_S
    else:
        passed = newest is None or newest <= ours
        words = f"{ours.astimezone():%Y-%m-%d %H:%M:%S %z}"
        words += "" if passed else f", but something happened to a study at {newest:%Y-%m-%d %H:%M:%S} UTC"
    advice = "" if passed else "; set the clock (NTP): leases and retries go by it"
    return Check(subject="clock", passed=passed, words=words + advice)


def _deliveries(database: Database) -> Check:
    with database.transaction() as connection:
        failed = count_failed(connection)
    if not failed:
        return Check(subject="deliveries", passed=True, words="none ended without success")
    counted = "1 report was" if failed == 1 else f"{failed} reports were"
    words = f"{counted} not delivered; `ich-node studies send-again ID`"
    return Check(subject="deliveries", passed=False, words=words)


def _bundle(database: Database, settings: Settings) -> Check:
    try:
        bundle, predictor = _load(database, settings)
    except IchNodeError as error:
        return Check(subject="bundle", passed=False, words=str(error))
    words = f"{bundle.name}, {bundle.sha256[:12]}, reads on {predictor.device_name}"
    return Check(subject="bundle", passed=True, words=words)


def _load(database: Database, settings: Settings) -> tuple[ServingBundle, "Predictor"]:
    """Load the bundle as the worker would, torch with it; raises IchNodeError."""
    from ich_node.analysis.loaded import LoadedReader
    from model.errors import ModelError

    with database.transaction() as connection:
        bundle = serving(connection)
    device = None if settings.analysis.device == "auto" else settings.analysis.device
    try:
        return bundle, LoadedReader(device).take(bundle)
    except ModelError as error:
        raise UsageError(str(error)) from error


def _constancy(given: Given, settings: Settings, *, store: bool) -> Check:
    from ich_node.cli.constancy import check_constancy
    from model.errors import ModelFailure

    try:
        database = given.database()
        try:
            bundle, predictor = _load(database, settings)
        finally:
            database.dispose()
        return check_constancy(predictor, bundle.folder, store=store)
    except (IchNodeError, ModelFailure) as error:
        return Check(subject="constancy", passed=False, words=str(error))


def _senders(settings: Settings) -> Iterator[Check]:
    if not settings.senders:
        yield Check(
            subject="senders",
            passed=False,
            words="nobody may send; `ich-node senders allow AE_TITLE ADDRESS` lets a scanner or PACS in",
        )
    for sender in settings.senders:
        yield Check(subject="senders", passed=True, words=way_in(sender))


def _destinations(
    settings: Settings, only: str | None, *, test_study_uid: str | None = None
) -> Iterator[Check]:
    known = [destination.name for destination in settings.destinations]
    if only is not None and only not in known:
        raise UsageError(f"no destination is called {only}; the settings name: {', '.join(known) or 'none'}")
    if not known and settings.mode == "report":
        yield Check(subject="destinations", passed=False, words="none; add [[destinations]] with the PACS")
    for destination in settings.destinations:
        if only not in (None, destination.name):
            continue
        yield from examine_destination(destination, settings, test_study_uid=test_study_uid)


def check_sources(settings: Settings) -> Iterator[Check]:
    """Whether each PACS that may be asked answers, and may send to us."""
    for source in settings.sources:
        subject = f"source {source.name}"
        check = _answering(subject, source, settings)
        if check.passed and not may_send(source, settings.senders):
            words = f"what it sends would be refused; add {source.ae_title} at {source.host} to [[senders]]"
            check = Check(subject=subject, passed=False, words=words)
        yield check


def _answering(subject: str, remote: RemoteEntity, settings: Settings) -> Check:
    where = f"{remote.ae_title} at {remote.host}:{remote.port}"
    us = settings.receiver.ae_title
    credentials = credentials_of(settings.tls)
    trouble = echo_trouble(remote, calling_ae_title=us, timeout_s=5, credentials=credentials)
    words = (
        f"answers C-ECHO as {where}"
        if trouble is None
        else f"does not answer C-ECHO as {where} ({trouble}); check host, port and firewall, "
        f"and that it knows the AE title {us}"
    )
    return Check(subject=subject, passed=trouble is None, words=words)
