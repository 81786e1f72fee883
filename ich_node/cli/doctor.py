"""Examines an installation: settings, disk, database, bundle, device, destinations; says what to do."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass

from ich_node.cli.context import Given
from ich_node.errors import IchNodeError, UsageError
from ich_node.network import echo
from ich_node.settings import Settings
from ich_node.store.database import Database, require_current


@dataclass(frozen=True, kw_only=True)
class Check:
    """What was looked at, whether it is well, and in words what was seen or what to do."""

    subject: str
    passed: bool
    words: str


def examine(given: Given, destination: str | None = None) -> list[Check]:
    """Look at everything, or at one destination; wrong settings raise SettingsError before anything else."""
    settings = given.settings()
    if destination is not None:
        return list(_destinations(settings, destination))
    return [
        Check(subject="mode", passed=True, words=_MODES[settings.mode]),
        _disk(settings),
        *_database_and_bundle(settings),
        *_senders(settings),
        *_destinations(settings, None),
    ]


_MODES = {
    "quiet": 'quiet: studies are read and kept, nothing is sent (set mode = "report" to send)',
    "report": "report: reports are sent to every destination",
}


def _disk(settings: Settings) -> Check:
    folder = settings.storage.folder
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free_mb = shutil.disk_usage(existing).free // 2**20
    enough = free_mb > settings.storage.reserve_mb
    advice = "" if enough else "; free space or lower storage.reserve_mb: new images are refused now"
    return Check(
        subject="disk",
        passed=enough,
        words=f"{free_mb} MB free at {folder}, reserve {settings.storage.reserve_mb} MB{advice}",
    )


def _database_and_bundle(settings: Settings) -> Iterator[Check]:
    database = Database(settings.database_url)
    engine = settings.database_url.partition(":")[0]
    try:
        require_current(database)
    except IchNodeError as error:
        yield Check(subject="database", passed=False, words=f"{engine}: {error}")
        return
    yield Check(subject="database", passed=True, words=f"{engine}, schema up to date")
    yield _bundle(database, settings)
    database.dispose()


def _bundle(database: Database, settings: Settings) -> Check:
    """Load the bundle as the worker would; loads torch."""
    from ich_node.analysis.reader import Reader
    from ich_node.retraining.registry import serving
    from model.errors import ModelError

    try:
        with database.transaction() as connection:
            bundle = serving(connection)
        device = None if settings.analysis.device == "auto" else settings.analysis.device
        predictor = Reader(device).take(bundle)
    except (IchNodeError, ModelError) as error:
        return Check(subject="bundle", passed=False, words=str(error))
    words = f"{bundle.name}, {bundle.sha256[:12]}, reads on {predictor.device_name}"
    return Check(subject="bundle", passed=True, words=words)


def _senders(settings: Settings) -> Iterator[Check]:
    if not settings.senders:
        yield Check(
            subject="senders",
            passed=False,
            words="nobody may send; add [[senders]] with the ae_title and address of the scanner or PACS",
        )
    for sender in settings.senders:
        yield Check(subject="senders", passed=True, words=f"{sender.ae_title} from {sender.address}")


def _destinations(settings: Settings, only: str | None) -> Iterator[Check]:
    known = [destination.name for destination in settings.destinations]
    if only is not None and only not in known:
        raise UsageError(f"no destination is called {only}; the settings name: {', '.join(known) or 'none'}")
    if not known and settings.mode == "report":
        yield Check(subject="destinations", passed=False, words="none; add [[destinations]] with the PACS")
    for destination in settings.destinations:
        if only not in (None, destination.name):
            continue
        where = f"{destination.ae_title} at {destination.host}:{destination.port}"
        answers = echo(destination, calling_ae_title=settings.receiver.ae_title, timeout_s=5)
        advice = (
            f"answers C-ECHO as {where}"
            if answers
            else f"does not answer C-ECHO as {where}; check host, port and firewall, "
            f"and that it knows the AE title {settings.receiver.ae_title}"
        )
        yield Check(subject=f"destination {destination.name}", passed=answers, words=advice)
