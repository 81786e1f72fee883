"""Examines who watches over the node, for the doctor: rooms, what does not add up, canaries."""

from collections.abc import Iterator
from datetime import datetime

from ich_node.cli.check import Check
from ich_node.core.rooms import Health, judge
from ich_node.settings.tree import Settings
from ich_node.store.canaries import newest_canary
from ich_node.store.database import Database
from ich_node.store.reconciliation import count_discrepancies, list_discrepancies
from ich_node.store.refusals import list_refusals
from ich_node.store.rooms import list_signs

MOST_NAMED = 10


def examine_watch(database: Database, settings: Settings, *, now: datetime) -> Iterator[Check]:
    """Say which rooms are silent and since when, what does not add up, how the last canary ended."""
    yield from _rooms(database, settings, now)
    yield from _books(database)
    yield from _refusals(database)
    yield _canary(database, settings)


def _rooms(database: Database, settings: Settings, now: datetime) -> Iterator[Check]:
    with database.reading() as connection:
        signs = list_signs(connection)
    if not signs:
        words = "nothing runs; `ich-node serve` starts all of it"
        # a node that is being set up is quiet; from one that reports, reports are awaited
        yield Check(subject="rooms", passed=settings.mode == "quiet", words=words)
        return
    for health in judge(signs, now=now):
        yield _room(health)


def _room(health: Health) -> Check:
    subject = f"room {health.room}"
    since = "never seen" if health.since is None else f"since {_moment(health.since)}"
    if health.well:
        return Check(subject=subject, passed=True, words=f"alive {since}")
    advice = f"look at the log of `ich-node {health.room}` and start it anew"
    return Check(subject=subject, passed=False, words=f"{health.why}, {since}; {advice}")


def _books(database: Database) -> Iterator[Check]:
    with database.reading() as connection:
        counts = count_discrepancies(connection)
        named = list_discrepancies(connection, limit=MOST_NAMED)
    if not named:
        yield Check(subject="books", passed=True, words="everything received is open or has its end")
    for kind, study_id in named:
        yield Check(subject="books", passed=False, words=f"study {study_id} {kind.sentence}")
    if (more := sum(counts.values()) - len(named)) > 0:
        yield Check(subject="books", passed=False, words=f"{more} more do not add up")


def _refusals(database: Database) -> Iterator[Check]:
    with database.reading() as connection:
        refused = list_refusals(connection)
    for one in refused:
        what, how = ("association", "cut off:") if one.is_cut_off else ("instance", "refused with status")
        counted = f"1 {what} was" if one.count == 1 else f"{one.count} {what}s were"
        words = f"{counted} {how} {one.status}, last counted {_moment(one.last_at)}"
        yield Check(subject="refusals", passed=True, words=words)


def _canary(database: Database, settings: Settings) -> Check:
    with database.reading() as connection:
        last = newest_canary(connection, ended=True)
    if settings.canary.every_s == 0:
        return Check(subject="canary", passed=True, words="off (canary.every_s = 0)")
    if not settings.canaries_every_s:
        words = "none flies where receiver.port is 0: they come in clear text, from this machine to itself"
        return Check(subject="canary", passed=True, words=words)
    if last is None or last.ended_at is None:
        return Check(subject="canary", passed=True, words="none has ended yet")
    when = _moment(last.ended_at)
    if last.trouble is None:
        return Check(subject="canary", passed=True, words=f"came through at {when} as {last.outcome}")
    words = (
        f"the last one failed at {when}: {last.trouble}; a study that comes now may not be read. See that "
        "receiver, scheduler and worker run, and their logs"
    )
    return Check(subject="canary", passed=False, words=words)


def _moment(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}"
