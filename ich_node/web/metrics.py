"""The metrics of the node for Prometheus: all read from the rows when they are asked for, none counted here.

No patient, no UID and no address is in a label.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from statistics import quantiles

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ich_node.core.rooms import judge
from ich_node.core.states import DeliveryState, StudyState
from ich_node.errors import Collision, DatabaseAway, UsageError
from ich_node.settings.tree import Settings
from ich_node.store import (
    alarms,
    audit,
    canaries,
    outages,
    reconciliation,
    refusals,
    rooms,
    standing,
    tallies,
)
from ich_node.store.database import Connection, Database
from ich_node.store.files import Archive
from ich_node.vocabulary import CutOff, Outcome, Reason

RECENT = timedelta(days=1)
WINDOWS = {"1d": timedelta(days=1), "28d": timedelta(days=28)}
SHARES = (0.5, 0.95)
STATUSES = ("A700", "A900", "C000", "0110")  # PS3.4 B.2.3, and a failure of ours (PS3.7 C)

Part = Callable[[Connection, Settings, datetime], Iterator[Metric]]


class NodeMetrics(Collector):
    """Reads the whole state of the node in one snapshot of the database."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database, self._settings = database, settings

    def collect(self) -> Iterable[Metric]:
        """Yield every metric; of a database that is away only that it is."""
        yield from _disk(self._settings)
        now = datetime.now(UTC)
        yield from _certificates(self._settings, now)
        try:
            with self._database.reading() as connection:
                found = [metric for part in _PARTS for metric in part(connection, self._settings, now)]
        except (Collision, DatabaseAway):
            found, up = [], 0
        else:
            up = 1
        yield _gauge("ich_node_database_up", "1 where the database answers", up)
        yield from found


def _disk(settings: Settings) -> Iterator[Metric]:
    free_mb = Archive(settings.storage.folder, reserve_mb=0).free_mb()
    yield _gauge("ich_node_disk_free_bytes", "space left for images", free_mb * 1e6)
    yield _gauge(
        "ich_node_disk_reserve_bytes",
        "free space below which images are refused",
        settings.storage.reserve_mb * 1e6,
    )


def _certificates(settings: Settings, now: datetime) -> Iterator[Metric]:
    if not settings.tls.certificate:
        return
    from ich_node.certificates import certificates_in, days_left

    left = GaugeMetricFamily(
        "ich_node_certificate_days_left", "days until the first certificate of a file ends", labels=("which",)
    )
    days: dict[str, float] = {}
    try:
        for one in certificates_in(settings.tls):
            days[one.key] = min(days_left(one, now=now), days.get(one.key, math.inf))
    except UsageError:
        days = {"certificate": 0}  # a file that cannot be read is no better than one that has ended
    for key, count in days.items():
        left.add_metric((key,), count)
    yield left


def _studies(connection: Connection, _settings: Settings, now: datetime) -> Iterator[Metric]:
    ended = GaugeMetricFamily(
        "ich_node_studies",
        "studies by their outcome; one that is read again moves",
        labels=("outcome", "reason"),
    )
    for one in standing.ended_studies(connection):
        ended.add_metric((one.outcome, one.reason), one.count)
    yield ended
    states = GaugeMetricFamily("ich_node_studies_in_state", "studies by state", labels=("state",))
    for state, count in standing.count_by_state(connection).items():
        states.add_metric((state,), count)
    yield states
    age = GaugeMetricFamily(
        "ich_node_oldest_waiting_seconds", "age of the oldest study in a state", labels=("state",)
    )
    since = standing.oldest_waiting(connection)
    for waiting in (StudyState.RECEIVING, StudyState.READY):
        age.add_metric((waiting,), _age(since.get(waiting), now))
    yield age
    recent = GaugeMetricFamily(
        "ich_node_studies_recent", "studies that ended lately, by outcome", labels=("outcome", "window")
    )
    for window, length in WINDOWS.items():
        found = standing.outcomes_since(connection, now - length)
        for outcome in Outcome:  # the zeros too: a share of nothing must be a number
            recent.add_metric((outcome, window), found.get(outcome, 0))
    yield recent


def _books(connection: Connection, _settings: Settings, _now: datetime) -> Iterator[Metric]:
    balance = standing.balance(connection)
    yield _counter("ich_node_studies_received", "studies that were received", balance.received)
    yield _gauge(
        "ich_node_studies_unaccounted", "studies received, neither open nor ended", balance.unaccounted
    )
    kinds = GaugeMetricFamily(
        "ich_node_discrepancies", "studies that do not add up, by kind", labels=("kind",)
    )
    for kind, count in reconciliation.count_discrepancies(connection).items():
        kinds.add_metric((kind.value.replace(" ", "_"),), count)
    yield kinds


def _reception(connection: Connection, _settings: Settings, _now: datetime) -> Iterator[Metric]:
    tally = tallies.count_instances(connection)
    yield _counter("ich_node_instances_received", "instances received", tally.count)
    yield _counter("ich_node_received_bytes", "bytes of the data sets received", tally.bytes)
    if (at := standing.last_instance_at(connection)) is not None:
        yield _gauge(
            "ich_node_last_instance_timestamp_seconds", "when the newest instance came", at.timestamp()
        )
    kept_apart = CounterMetricFamily(
        "ich_node_quarantined", "data sets that belong to no study", labels=("reason",)
    )
    lying = standing.count_quarantined(connection)
    for reason in sorted({Reason.NOT_DICOM, Reason.NO_IDENTITY, *lying}):
        kept_apart.add_metric((reason,), lying.get(reason, 0))
    yield kept_apart
    callers = standing.count_refused_callers(connection)
    # no counter: whoever is let in is taken off the list
    yield _gauge("ich_node_refused_calls", "calls of those whom nobody knows yet", callers)


def _refusals(connection: Connection, _settings: Settings, _now: datetime) -> Iterator[Metric]:
    found = {one.status: one for one in refusals.list_refusals(connection)}
    statuses = sorted({*STATUSES, *found} - {*CutOff})
    words = "instances refused, by the status of the answer"
    yield from _refused("ich_node_refused_instances", words, "status", statuses, found)
    words = "associations aborted or turned away"
    yield from _refused("ich_node_cut_off_associations", words, "reason", tuple(CutOff), found)


def _refused(
    name: str, words: str, label: str, codes: Sequence[str], found: Mapping[str, refusals.Refused]
) -> Iterator[Metric]:
    count = CounterMetricFamily(name, words, labels=(label,))
    last = GaugeMetricFamily(f"{name}_last_timestamp_seconds", "when they were last counted", labels=(label,))
    for code in codes:
        count.add_metric((code,), found[code].count if code in found else 0)
        if code in found:
            last.add_metric((code,), found[code].last_at.timestamp())
    yield count
    yield last


def _delivery(connection: Connection, settings: Settings, now: datetime) -> Iterator[Metric]:
    names = [destination.name for destination in settings.destinations]
    counted = GaugeMetricFamily(
        "ich_node_deliveries", "deliveries by destination and state", labels=("destination", "state")
    )
    # the zeros too: what was never there before cannot be seen to grow
    found = standing.count_deliveries(connection)
    seen = {*names, *(name for name, _ in found)}
    there = {(name, str(state)): 0 for name in sorted(seen) for state in DeliveryState}
    for labels, count in (there | found).items():
        counted.add_metric(labels, count)
    yield counted
    oldest = {one.destination: one.oldest for one in alarms.waiting(connection)}
    age = GaugeMetricFamily(
        "ich_node_oldest_pending_delivery_seconds",
        "age of the oldest report to send",
        labels=("destination",),
    )
    for name in sorted({*names, *oldest}):
        age.add_metric((name,), _age(oldest.get(name), now))
    yield age
    away = GaugeMetricFamily(
        "ich_node_destination_away_seconds",
        "how long a destination is away; 0: it answers",
        labels=("destination",),
    )
    since = {one.destination: one.since for one in outages.list_outages(connection)}
    for name in names:
        away.add_metric((name,), _age(since.get(name), now))
    yield away
    unproven = alarms.count_unproven(connection, settings.proving, now=now)
    yield _gauge("ich_node_deliveries_unproven", "reports taken and not proven in time", unproven)


def _times(connection: Connection, _settings: Settings, now: datetime) -> Iterator[Metric]:
    stages: dict[str, list[float]] = {}
    for seconds in standing.seconds_of_readings(connection, since=now - RECENT):
        for stage, value in seconds.items():
            stages.setdefault(stage, []).append(float(value))
    metric = GaugeMetricFamily(
        "ich_node_stage_seconds",
        "how long stages of a reading took in the last day",
        labels=("stage", "quantile"),
    )
    for stage, values in sorted(stages.items()):
        for share in SHARES:
            metric.add_metric((stage, str(share)), _quantile(values, share))
    yield metric
    whole = standing.seconds_to_outcome(connection, since=now - RECENT)
    metric = GaugeMetricFamily(
        "ich_node_outcome_seconds", "first instance to outcome in the last day", labels=("quantile",)
    )
    for share in SHARES if whole else ():
        metric.add_metric((str(share),), _quantile(whole, share))
    yield metric


def _life(connection: Connection, _settings: Settings, now: datetime) -> Iterator[Metric]:
    signs = rooms.list_signs(connection)
    up = GaugeMetricFamily(
        "ich_node_room_up", "1 where every process of a room speaks and can work", labels=("room",)
    )
    seen = GaugeMetricFamily(
        "ich_node_room_seen_timestamp_seconds", "the last sign of life of a room", labels=("room",)
    )
    for health in judge(signs, now=now):
        up.add_metric((health.room,), health.well)
        if times := [sign.seen_at for sign in signs if sign.room == health.room]:
            seen.add_metric((health.room,), max(times).timestamp())
    yield up
    yield seen


def _canary(connection: Connection, settings: Settings, _now: datetime) -> Iterator[Metric]:
    every_s = settings.canaries_every_s
    yield _gauge("ich_node_canary_interval_seconds", "how often a canary is sent; 0: never", every_s)
    if not every_s:
        return
    if (at := canaries.last_success_at(connection)) is not None:
        yield _gauge(
            "ich_node_canary_last_success_timestamp_seconds", "when a canary last got through", at.timestamp()
        )
    if (last := canaries.newest_canary(connection, ended=True)) is not None:
        yield _gauge(
            "ich_node_canary_failed", "1 where the last canary did not get through", last.trouble is not None
        )


def _audit(connection: Connection, settings: Settings, now: datetime) -> Iterator[Metric]:
    if not settings.audit.host:
        return
    yield _gauge(
        "ich_node_audit_unsent",
        "audit messages that their receiver does not have yet",
        audit.count_unsent(connection),
    )
    oldest = audit.oldest_unsent_at(connection)
    yield _gauge("ich_node_audit_oldest_unsent_seconds", "age of the oldest of them", _age(oldest, now))


_PARTS: tuple[Part, ...] = (
    _life,
    _studies,
    _books,
    _reception,
    _refusals,
    _delivery,
    _times,
    _canary,
    _audit,
)


def _gauge(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(name, words, value=value)


def _counter(name: str, words: str, value: float) -> Metric:
    return CounterMetricFamily(name, words, value=value)


def _age(since: datetime | None, now: datetime) -> float:
    return 0.0 if since is None else max(0.0, (now - since).total_seconds())


def _quantile(values: list[float], share: float) -> float:
    return (
        values[0]
        if len(values) == 1
        else quantiles(values, n=100, method="inclusive")[round(share * 100) - 1]
    )
