"""Claims complete studies, has them read, and records outcome, reports and outbox in one transaction."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ich_node.analysis.analyse import Analysis, analyse, give_up
from ich_node.analysis.choose import LookAt, Looked
from ich_node.analysis.decoding import DecodingChild
from ich_node.analysis.order import Order
from ich_node.analysis.reader import Reader
from ich_node.analysis.reading import ReadingChild
from ich_node.analysis.record import reading_rows, says_the_same
from ich_node.analysis.stopwatch import Stopwatch, nowhere
from ich_node.core.grounds import Rules
from ich_node.core.instances import InstanceFacts
from ich_node.core.retry import RetryPolicy, next_attempt_at
from ich_node.errors import Collision, DatabaseAway, LeaseLost, UsageError
from ich_node.log import logger
from ich_node.settings.tree import Settings
from ich_node.store.bundles import serving
from ich_node.store.claims import (
    Claim,
    claim_early,
    claim_study,
    conclude_early,
    early_is_due_first,
    extend_lease,
    finish_study,
    postpone_study,
    release_early,
    release_study,
    study_waits,
    withhold_early,
)
from ich_node.store.database import Connection, Database, await_current, installation_uid
from ich_node.store.deliveries import add_deliveries, has_delivery_everywhere
from ich_node.store.files import Archive
from ich_node.store.hints import Hints, Topic
from ich_node.store.history import append
from ich_node.store.leases import free_leases_of_the_dead
from ich_node.store.pulse import Pulse
from ich_node.store.readings import add_readings, add_report, readings_of, reports_of
from ich_node.store.studies import Study, get_study, instances_of
from ich_node.store.writer import this_process
from ich_node.vocabulary import Outcome, Reason
from model.errors import BundleError

IDLE_S = 0.5  # where no hint comes
TROUBLE_S = 5.0
BESIDE_CHILDREN_S = 60.0  # what a step may take that no child does
LONGEST_RETRY_S = 600.0


COMMIT = "commit"  # told within a transaction: on SQLite no other one may begin in this thread


class Stopping(BaseException):
    """The process ends: what is in work goes back. No Exception, so that nothing takes it for a fault."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """All that a worker holds; `at` hears the name of each stage as it begins."""

    settings: Settings
    database: Database
    archive: Archive
    reader: Reader
    holder: str
    stop: threading.Event
    at: Callable[[str], None] = nowhere
    look: LookAt | None = None  # who decodes; None: this process
    hangs: Callable[[], bool] = lambda: False


def run(settings: Settings, stop: threading.Event, at: Callable[[str], None] = nowhere) -> None:
    """Work until `stop`, through every trouble: a database that is away, a bundle that does not load."""
    database = Database(settings.database_url)
    if not await_current(database, stop):
        return
    decoding = DecodingChild(
        memory_mb=settings.analysis.decode_memory_mb, timeout_s=settings.analysis.decode_timeout_s
    )
    reading = ReadingChild(
        None if settings.analysis.device == "auto" else settings.analysis.device,
        memory_mb=settings.analysis.read_memory_mb,
        timeout_s=settings.analysis.read_timeout_s,
    )
    pulse = Pulse(database, "work")
    # a step ends with what its child may take, twice: after a crash, or on the CPU after a card
    own = settings.analysis
    within_s = BESIDE_CHILDREN_S + 2 * max(own.decode_timeout_s, own.read_timeout_s)

    def tell(stage: str) -> None:
        if stage != COMMIT:
            pulse.beat(stage, within_s=within_s)
        at(stage)

    def look(members: Sequence[InstanceFacts], paths: dict[str, Path], rules: Rules, **how: bool) -> Looked:
        pulse.beat("decode", within_s=within_s)
        return decoding.look_at(members, paths, rules, **how)

    bench = Bench(
        settings=settings,
        database=database,
        archive=Archive(settings.storage.folder, reserve_mb=settings.storage.reserve_mb),
        reader=reading,
        holder=this_process().holder("work"),
        stop=stop,
        at=tell,
        look=look,
        hangs=pulse.is_late,
    )
    logger().info("worker.started")
    free_leases_of_the_dead(database, now=_now())
    pulse.beat("starts", within_s=within_s)
    with decoding, reading:
        _work(bench, pulse, within_s)
    pulse.end()
    database.dispose()
    logger().info("worker.stopped")


def _work(bench: Bench, pulse: Pulse, within_s: float) -> None:
    stop, hints = bench.stop, Hints(bench.database, Topic.STUDIES)
    while not stop.is_set():
        trouble = None
        try:
            pause_s = 0.0 if work_once(bench) else IDLE_S
        except Stopping:
            break
        except Collision:
            pause_s = IDLE_S
        except DatabaseAway as error:
            logger().error("database.away", error=str(error))
            pause_s = TROUBLE_S
        except (BundleError, UsageError) as error:  # our own words, and what to do
            logger().error("bundle.not_loaded", error=str(error))
            pause_s, trouble = TROUBLE_S, "the bundle does not load"
        except Exception as error:  # noqa: BLE001  the loop must outlive a fault; the study's lease ends
            logger().error("work.failed", error=type(error).__name__)
            pause_s, trouble = TROUBLE_S, type(error).__name__
        pulse.beat("waits for a study", within_s=within_s, trouble=trouble)
        if pause_s == IDLE_S:
            hints.wait(stop, pause_s)
        else:
            stop.wait(pause_s)
    hints.close()


def work_once(bench: Bench) -> bool:
    """Take one study to its outcome, or back into the queue; returns whether there was one.

    Raises where no bundle serves or loads: no study is claimed then, and none loses an attempt for it.
    """
    with bench.database.reading() as connection:
        bundle, is_waiting = serving(connection), study_waits(connection, now=_now())
    bench.reader.take(bundle)
    if not is_waiting:
        return False
    lease_s = bench.settings.analysis.lease_s
    with bench.database.transaction() as connection:
        early = None
        if early_is_due_first(connection, now=_now()):
            early = claim_early(connection, holder=bench.holder, lease_s=lease_s, now=_now())
        claim = early or claim_study(connection, holder=bench.holder, lease_s=lease_s, now=_now())
    if claim is None:
        return False
    try:
        _tell(bench, "claimed")
        with _kept_alive(bench, claim):
            order = _order(bench, claim)
            analysis = _early_analysis(bench, order) if early else _analysis(bench, claim, order)
            if analysis is not None:
                (_record_early if early else _record)(bench, claim, order, analysis)
    except LeaseLost:
        # another instance came, or somebody else holds the study now: what we have is about something else
        logger().warning("study.lease_lost", study=claim.study.id)
    except Stopping:
        _release(bench, claim, early=early is not None)
        raise
    return True


def _release(bench: Bench, claim: Claim, *, early: bool) -> None:
    try:
        with bench.database.transaction() as connection:
            (release_early if early else release_study)(connection, claim, now=_now())
    except LeaseLost:
        logger().warning("study.lease_lost", study=claim.study.id)


def _tell(bench: Bench, stage: str) -> None:
    """Say that a stage begins; the moment to go if the process is to end."""
    bench.at(stage)
    if bench.stop.is_set():
        raise Stopping


def _analysis(bench: Bench, claim: Claim, order: Order) -> Analysis | None:
    """Analyze; None where the study went back into the queue for another attempt."""
    attempts = bench.settings.analysis.attempts
    if claim.study.attempts > attempts + 1 and not _is_positive(claim.study):
        # even the report of the failure could not be recorded: the outcome alone
        return Analysis(outcome=Outcome.FAILED, reason=Reason.MODEL_FAILED)
    if claim.study.attempts > attempts:
        # every earlier attempt took its process along
        return _give_up(order)
    try:
        watch = Stopwatch(at=lambda stage: _tell(bench, stage))
        found = analyse(order, bench.reader, watch, _site_time, bench.look)
        return _give_up(order) if found.outcome is Outcome.FAILED and _is_positive(claim.study) else found
    except Exception as error:  # noqa: BLE001  whatever went wrong, the study ends visibly, never as negative
        logger().error(
            "study.analysis_failed",
            study=claim.study.id,
            attempt=claim.study.attempts,
            error=type(error).__name__,
        )
    retry_s = bench.settings.analysis.retry_s
    policy = RetryPolicy(attempts=attempts, first_s=retry_s, longest_s=LONGEST_RETRY_S)
    again = next_attempt_at(policy, attempts_made=claim.study.attempts, now=_now())
    if again is None:
        return _give_up(order)
    with bench.database.transaction() as connection:
        postpone_study(connection, claim, until=again, now=_now())
    return None


def _is_positive(study: Study) -> bool:
    return study.outcome == Outcome.POSITIVE


def _give_up(order: Order) -> Analysis:
    """End a study that cannot be read; what was reported as positive stays so, and nothing takes it back."""
    study = order.study
    if _is_positive(study):
        logger().error("study.positive_stands", study=study.id)
        return Analysis(outcome=Outcome.POSITIVE, reason=None)
    return give_up(order, at=_site_time())


def _early_analysis(bench: Bench, order: Order) -> Analysis:
    """Analyze what is there so far; a fault of ours is left to the reading of the whole."""
    try:
        watch = Stopwatch(at=lambda stage: _tell(bench, stage))
        return analyse(order, bench.reader, watch, _site_time, bench.look)
    except Exception as error:  # noqa: BLE001  as for a whole study, but nothing is said of it
        logger().warning("study.early_reading_failed", study=order.study.id, error=type(error).__name__)
        return Analysis(outcome=Outcome.FAILED, reason=Reason.MODEL_FAILED)


def _order(bench: Bench, claim: Claim) -> Order:
    study = claim.study
    with bench.database.transaction() as connection:
        instances = instances_of(connection, study.id)
        bundle = serving(connection)
        earlier = reports_of(connection, study.id)
        installation = installation_uid(connection)
    present = [one for one in instances if bench.archive.exists(one.file)]
    # images that retention took, or that somebody deleted: what is left is no whole
    barriers = {Reason.CONFLICT: study.conflict, Reason.INCOMPLETE: len(present) < len(instances)}
    return Order(
        study=study,
        instances=tuple(instances),
        files=tuple(bench.archive.path(one.file) for one in present),
        barriers=tuple(reason for reason, holds in barriers.items() if holds),
        last_attempt=study.attempts >= bench.settings.analysis.attempts,
        bundle=bundle,
        installation_uid=installation,
        predecessor=next((report for report in earlier if report.kind == "SR"), None),
        settings=bench.settings,
    )


def _record(bench: Bench, claim: Claim, order: Order, analysis: Analysis) -> None:
    """Write the outcome with everything that follows from it, all or nothing."""
    study, now = claim.study, _now()
    _tell(bench, "built")
    with bench.database.transaction() as connection:
        _tell_selection(connection, analysis, study.id, now)
        finish_study(connection, claim, outcome=analysis.outcome, reason=analysis.reason, now=now)
        if analysis.outcome is Outcome.POSITIVE and not analysis.readings:
            append(connection, study.id, "study.positive_stands", now=now)
        _keep(bench, connection, analysis, order, now)
        bench.at(COMMIT)
    _log("study.finished", study, analysis)


def _record_early(bench: Bench, claim: Claim, order: Order, analysis: Analysis) -> None:
    """Write a positive before its study is whole; nothing else is kept."""
    study, now = claim.study, _now()
    _tell(bench, "built")
    with bench.database.transaction() as connection:
        if analysis.outcome is not Outcome.POSITIVE or _is_another_patient(connection, study):
            withhold_early(connection, claim, now=now)
            return
        conclude_early(connection, claim, outcome=analysis.outcome, reason=analysis.reason, now=now)
        _keep(bench, connection, analysis, order, now)
        bench.at(COMMIT)
    _log("study.concluded_early", study, analysis)


def _keep(bench: Bench, connection: Connection, analysis: Analysis, order: Order, now: datetime) -> None:
    """Add readings, and reports with their deliveries unless a reader would learn nothing new from them."""
    study_id = order.study.id
    destinations = bench.settings.receiving(canary=order.study.canary)
    rows = reading_rows(analysis, order, now=now)
    before = [reading for reading in readings_of(connection, study_id) if reading.leading]
    known = bool(before) and says_the_same(before[-1], rows)
    add_readings(connection, rows)
    if not (known and has_delivery_everywhere(connection, study_id, destinations)):
        for report in analysis.reports:
            add_deliveries(connection, add_report(connection, report), destinations, now=now)


def _is_another_patient(connection: Connection, study: Study) -> bool:
    """Whether what came during the reading says another patient, or has mended who it is."""
    now = get_study(connection, study.id, lock=True)
    same = ("conflict", "patient_id", "accession_number")
    return now is None or any(getattr(now, name) != getattr(study, name) for name in same)


def _log(event: str, study: Study, analysis: Analysis) -> None:
    logger().info(
        event, study=study.id, revision=study.revision, outcome=analysis.outcome, reason=analysis.reason
    )


def _tell_selection(connection: Connection, analysis: Analysis, study_id: int, now: datetime) -> None:
    """Keep in the history why each series was read or not."""
    for candidate in analysis.selection.candidates if analysis.selection else ():
        append(
            connection,
            study_id,
            "series.chosen" if candidate.chosen else "series.not_chosen",
            now=now,
            series=candidate.series_uid,
            instances=len(candidate.instances),
            reasons=[reason.value for reason in candidate.reasons],
        )


@contextmanager
def _kept_alive(bench: Bench, claim: Claim) -> Iterator[None]:
    """Extend the lease while the work goes on; a lost lease is noticed when the result is recorded.

    Of work that hangs it ends: another machine takes the study up.
    """
    done = threading.Event()
    lease_s = bench.settings.analysis.lease_s

    def _beat() -> None:
        while not done.wait(lease_s / 3):
            if bench.hangs():
                logger().error("work.hangs", study=claim.study.id)
                return
            try:
                with bench.database.transaction() as connection:
                    extend_lease(connection, claim, lease_s=lease_s, now=_now())
            except LeaseLost:
                return
            except (Collision, DatabaseAway):
                continue

    heart = threading.Thread(target=_beat, name="heartbeat", daemon=True)
    heart.start()
    try:
        yield
    finally:
        done.set()
        heart.join()


def _now() -> datetime:
    return datetime.now(UTC)


def _site_time() -> datetime:
    return _now().astimezone()
