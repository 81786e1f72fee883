"""How long after its last slice a study is reported, by outcome: one study at a time, and twenty at once.

A positive counts from the answer to the last slice of the head that shows it, all others from the moment when
their study is proven whole: nobody sends, and `QUIET_S` passed without an image. Both until the PACS has the
last object of the report; an ignored study has none and counts until it is finished.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
from benchmarks.scanner import Sent, scanner, send_studies
from benchmarks.studies import HEAD_SERIES, Head, Kind, Plan, drawn
from benchmarks.timing import best_of
from builders import write_files

from ich_node.analysis.choose import choose_series
from ich_node.analysis.files import read_headers
from ich_node.demo.follow import follow
from ich_node.demo.node import DemoNode, running_node
from ich_node.demo.pacs import StandInPacs, stand_in_pacs
from ich_node.demo.scanner import scan
from ich_node.store.history import history_of
from ich_node.store.readings import readings_of, reports_of
from ich_node.store.studies import Study
from ich_node.vocabulary import Location, Outcome
from model.predict import Predictor
from model.prediction import Prediction

PER_S = 60.0  # images a second of one scanner: a fast reconstruction; a slower one leaves the node more time
QUIET_S = 5.0  # as soon as a source would be asked; what the setting waits longer is no cost of ours
ENOUGH_S = 900.0
READING_STAGES = ("decode", "brace", "predict", "report")
FIRST_SEED, FIRST_NUMBER = 930_000, 700_000
HALVINGS = 10
Figures = dict[str, float]
Table = dict[str, Figures]


@dataclass(frozen=True, kw_only=True)
class Heads:
    """Heads that the bundle calls positive, negative and indeterminate; seconds that one costs by itself."""

    bleeding: tuple[Head, ...]
    clean: tuple[Head, ...]
    doubtful: Head | None
    alone_s: float


@dataclass(frozen=True, kw_only=True)
class Story:
    """A study from its first image to its report: seconds, and what each stage took of them."""

    outcome: str
    latency_s: float
    stages: Figures
    broken: int
    began: float
    reported: float


@dataclass(frozen=True, kw_only=True)
class Site:
    """A node that runs, the PACS it reports to, the process of the scanners, and how fast they are."""

    node: DemoNode
    pacs: StandInPacs
    scanner: ProcessPoolExecutor
    per_s: float
    quiet_s: float


@contextmanager
def running_site(
    folder: Path, *, per_s: float = PER_S, quiet_s: float = QUIET_S, database_url: str | None = None
) -> Iterator[Site]:
    """Run a whole node as it is installed, with its own bundle, between scanners and a PACS."""
    settings: dict[str, object] = {"completion.quiet_s": quiet_s, "completion.deadline_s": 600}
    if database_url:
        settings["database.url"] = database_url
    with (
        stand_in_pacs(folder / "pacs") as pacs,
        running_node(folder / "node", pacs_port=pacs.port, settings=settings) as node,
        scanner() as process,
    ):
        yield Site(node=node, pacs=pacs, scanner=process, per_s=per_s, quiet_s=quiet_s)


def find_heads(bundle: Path, folder: Path, *, each: int, size: int = 512, doubtful: bool = True) -> Heads:
    """Draw heads until the bundle calls so many positive and negative; halve a bleed until it doubts."""
    predictor = Predictor.load(bundle, "cpu")
    points = predictor.manifest.study_thresholds

    def score(head: Head) -> float:
        with TemporaryDirectory(dir=folder) as place:
            return float(_read_alone(predictor, _head_files(head, Path(place))).score)

    places = tuple(Location)
    seeds = range(FIRST_SEED, FIRST_SEED + 10 * each)
    bleeding = (Head(seed=seed, bleed=places[seed % len(places)], size=size) for seed in seeds)
    clean = (Head(seed=seed, size=size) for seed in seeds)
    positive = _first(bleeding, lambda head: score(head) >= points.high, each)
    negative = _first(clean, lambda head: score(head) < points.low, each)
    files = _head_files(positive[0], folder / "alone")
    alone_s = best_of(2, lambda: _read_alone(predictor, files)).wall
    return Heads(
        bleeding=positive,
        clean=negative,
        doubtful=_halved(positive[0], score, points.low, points.high) if doubtful else None,
        alone_s=alone_s,
    )


def measure_alone(site: Site, heads: Heads, *, each: int, few: int, objects: int) -> tuple[Table, Table]:
    """Send one study at a time, `few` of each rarer outcome; return latencies and stages by outcome."""
    wanted: list[tuple[Head, Kind]] = []
    for turn in range(each):
        wanted.append((heads.bleeding[turn % len(heads.bleeding)], "head"))
        wanted.append((heads.clean[turn % len(heads.clean)], "head"))
        if turn < few:
            wanted += _rare(heads)
    numbers = count(FIRST_NUMBER)
    stories = []
    for head, kind in wanted:
        number = next(numbers)
        plan = Plan(number=number, head=head, kind=kind, objects=objects, thin_first=number % 4 >= 2)
        stories += _told(site, [plan])
    return _latencies(stories, heads.alone_s), _stages(stories)


def measure_at_once(site: Site, heads: Heads, *, studies: int, objects: int) -> tuple[Table, Table, Table]:
    """Send so many studies at the same time; return latencies, stages by outcome, and the throughput."""
    rare = _rare(heads)[: studies // 4]
    heads_sent = (
        [(head, kind) for head, kind in rare]
        + [(heads.bleeding[n % len(heads.bleeding)], "head") for n in range((studies - len(rare)) // 2)]
        + [(heads.clean[n % len(heads.clean)], "head") for n in range((studies - len(rare) + 1) // 2)]
    )
    plans = [
        Plan(number=FIRST_NUMBER + 10_000 + n, head=head, kind=kind, objects=objects, thin_first=n % 2 == 1)
        for n, (head, kind) in enumerate(heads_sent)
    ]
    stories = _told(site, plans)
    minutes = (max(one.reported for one in stories) - min(one.began for one in stories)) / 60
    sending = median(one.stages["receive"] for one in stories)
    throughput = {
        "studies": len(stories),
        "studies_per_min": len(stories) / minutes,
        "alone_per_min": 60 / heads.alone_s,
        "share_of_alone": len(stories) / minutes * heads.alone_s / 60,
        "receive_s": sending,
        "broken_off": sum(one.broken for one in stories),
    }
    return _latencies(stories, heads.alone_s), _stages(stories), {"all": throughput}


def _rare(heads: Heads) -> list[tuple[Head, Kind]]:
    rare: list[tuple[Head, Kind]] = [(heads.bleeding[0], "contrast"), (heads.clean[0], "no head")]
    return rare if heads.doubtful is None else [*rare, (heads.doubtful, "head")]


def _first(heads: Iterator[Head], suits: Callable[[Head], bool], each: int) -> tuple[Head, ...]:
    found: list[Head] = []
    for head in heads:
        if suits(head):
            found.append(head)
        if len(found) == each:
            break
    assert found, "the bundle calls none of the heads so"
    return tuple(found)


def _halved(head: Head, score: Callable[[Head], float], low: float, high: float) -> Head | None:
    """The head with a bleed so faint that the score lies between the thresholds; None where none does."""
    weakest, strongest = 0.0, 1.0
    for _ in range(HALVINGS):
        faint = replace(head, strength=(weakest + strongest) / 2)
        found = score(faint)
        if low <= found < high:
            return faint
        weakest, strongest = (faint.strength, strongest) if found < low else (weakest, faint.strength)
    return None


def _head_files(head: Head, folder: Path) -> list[Path]:
    return write_files((one for one in scan(drawn(head)) if one.SeriesNumber == HEAD_SERIES), folder)


def _read_alone(predictor: Predictor, files: Sequence[Path]) -> Prediction:
    """Read a head as the node does, in this process: choose, decode, predict."""
    choice = choose_series(read_headers(files).instances)
    (chosen,) = choice.series.values()
    return predictor.predict(chosen.volume)


def _told(site: Site, plans: Sequence[Plan]) -> list[Story]:
    """Send the studies at once and wait until all have been reported."""
    sent = site.scanner.submit(send_studies, plans, site.node.port, site.per_s).result()
    assert not any(one.refused for one in sent), [(len(one.refused), set(one.refused)) for one in sent]
    uids = [one.plan.study_uid for one in sent]
    walked = follow(site.node.database, uids, within_s=ENOUGH_S, tell=lambda _uid, _stage: None)
    arrivals = {one.sop_instance_uid: datetime.fromisoformat(one.at) for one in site.pacs.receipts()}
    return [_story(site, one, walked[one.plan.study_uid].study, arrivals) for one in sent]


def _story(site: Site, sent: Sent, study: Study, arrivals: dict[str, datetime]) -> Story:
    with site.node.database.reading() as connection:
        history = history_of(connection, study.id)
        readings = [one for one in readings_of(connection, study.id) if one.leading]
        reports = reports_of(connection, study.id)
    early = [line.at for line in history if line.event == "study.concluded_early"]
    concluded = min(early or [line.at for line in history if line.event == "study.finished"]).timestamp()
    asking = "study.looks_whole" if early else "study.completed"
    asked = max(
        line.at.timestamp() for line in history if line.event == asking and line.at.timestamp() <= concluded
    )
    first = min((one.revision for one in reports), default=0)
    arrived = [arrivals[one.sop_instance_uid].timestamp() for one in reports if one.revision == first]
    reported = max(arrived, default=concluded)
    outcome = readings[0].outcome if readings else str(study.outcome)
    proven = study.last_instance_at.timestamp() + site.quiet_s
    start = sent.head_answered if outcome == Outcome.POSITIVE else proven
    seconds = readings[0].result["seconds"] if readings else {}
    read = {stage: float(seconds.get(stage) or 0.0) for stage in READING_STAGES}
    stages = {
        "receive": (sent.head_answered if outcome == Outcome.POSITIVE else sent.answered) - sent.began,
        "notice": asked - start,
        "claim": concluded - asked - sum(read.values()),
        **read,
        "deliver": reported - concluded,
    }
    return Story(
        outcome=outcome,
        latency_s=reported - start,
        stages=stages,
        broken=sent.broken,
        began=sent.began,
        reported=reported,
    )


def _by_outcome(stories: Sequence[Story]) -> dict[str, list[Story]]:
    found: dict[str, list[Story]] = defaultdict(list)
    for story in stories:
        found[story.outcome].append(story)
    return {str(outcome): found[outcome] for outcome in Outcome if outcome in found}


def _latencies(stories: Sequence[Story], alone_s: float) -> Table:
    table = {}
    for outcome, those in _by_outcome(stories).items():
        seconds = [one.latency_s for one in those]
        p50, p95 = (float(value) for value in np.percentile(seconds, (50, 95)))
        table[outcome] = {
            "studies": len(those),
            "p50_s": p50,
            "p95_s": p95,
            "worst_s": max(seconds),
            "p50_to_alone": p50 / alone_s,
            "p95_to_alone": p95 / alone_s,
        }
    return table


def _stages(stories: Sequence[Story]) -> Table:
    """Return the median seconds of each stage by outcome."""
    return {
        outcome: {stage: median(one.stages[stage] for one in those) for stage in those[0].stages}
        for outcome, those in _by_outcome(stories).items()
    }
