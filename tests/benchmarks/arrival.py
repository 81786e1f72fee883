"""How soon a study is queued after its last slice, and what reaches the PACS, by the way of sending."""

import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median

from builders import phantom_study
from pydicom.dataset import Dataset

from ich_node.demo.follow import follow
from ich_node.demo.node import DemoNode, running_node
from ich_node.demo.pacs import stand_in_pacs
from ich_node.demo.scanner import associate, send, store
from ich_node.store.deliveries import deliveries_of
from ich_node.store.history import history_of
from ich_node.store.studies import find_study

HOST = "127.0.0.1"
QUIET_S = 10.0
PAUSE_S = 3.0  # between two halves
ENOUGH_S = 600.0
QUEUED = ("study.looks_whole", "study.completed")

Way = Callable[[list[Dataset], int], None]


def one_association(images: list[Dataset], port: int) -> None:
    send(images, HOST, port)


def one_per_image(images: list[Dataset], port: int) -> None:
    for image in images:
        send([image], HOST, port)


def two_halves(images: list[Dataset], port: int) -> None:
    middle = len(images) // 2
    send(images[:middle], HOST, port)
    time.sleep(PAUSE_S)
    send(images[middle:], HOST, port)


def shuffled(images: list[Dataset], port: int) -> None:
    send(random.Random(len(images)).sample(images, len(images)), HOST, port)


def aborted_and_resumed(images: list[Dataset], port: int) -> None:
    association = associate(images, HOST, port)
    for image in images[: len(images) // 2]:
        store(association, image)
    association.abort()
    send(images, HOST, port)


WAYS: dict[str, Way] = {
    "one association": one_association,
    "one per image": one_per_image,
    "two halves": two_halves,
    "shuffled": shuffled,
    "aborted and resumed": aborted_and_resumed,
}


@dataclass(frozen=True, kw_only=True)
class Arrived:
    """A study that has its outcome: seconds from its last slice to queue and report; objects at the PACS."""

    outcome: str
    to_queue_s: float
    to_report_s: float
    objects: int


def measure_arrival(folder: Path, *, studies: int, first_seed: int) -> dict[str, dict[str, float]]:
    """Send every way so many studies, bleeding and clean in turn, and wait for all; a row for each way."""
    arrived: dict[str, list[Arrived]] = defaultdict(list)
    with stand_in_pacs(folder / "pacs") as pacs:
        settings = {"completion.quiet_s": QUIET_S, "completion.deadline_s": 600}
        with running_node(folder / "node", pacs_port=pacs.port, settings=settings) as node:
            sent = list(_send_all(node, studies=studies, first_seed=first_seed))
            for way, uid, last_slice_at in sent:
                arrived[way].append(_arrived(node, uid, last_slice_at))
    return {way: _row(rows) for way, rows in arrived.items()}


def _send_all(node: DemoNode, *, studies: int, first_seed: int) -> Iterator[tuple[str, str, datetime]]:
    for number, (way, send_study) in enumerate(
        (name, way) for _ in range(studies) for name, way in WAYS.items()
    ):
        bleed = "deep" if number % 2 else None
        images = phantom_study(first_seed + number, bleed=bleed, size=256)
        send_study(images, node.port)
        uid = str(images[0].StudyInstanceUID)
        with node.database.transaction() as connection:
            study = find_study(connection, uid)
        assert study is not None
        yield way, uid, study.last_instance_at


def _arrived(node: DemoNode, uid: str, last_slice_at: datetime) -> Arrived:
    study = follow(node.database, [uid], within_s=ENOUGH_S, tell=lambda _uid, _stage: None)[uid].study
    with node.database.transaction() as connection:
        history = history_of(connection, study.id)
        deliveries = deliveries_of(connection, study.id)
    queued = min(line.at for line in history if line.event in QUEUED and line.at >= last_slice_at)
    sent = [one.sent_at for one in deliveries if one.sent_at is not None]
    return Arrived(
        outcome=str(study.outcome),
        to_queue_s=(queued - last_slice_at).total_seconds(),
        to_report_s=(min(sent) - last_slice_at).total_seconds(),
        objects=len(sent),
    )


def _row(rows: Sequence[Arrived]) -> dict[str, float]:
    queue = [one.to_queue_s for one in rows]
    positive = [one.to_report_s for one in rows if one.outcome == "positive"]
    return {
        "studies": len(rows),
        "queued, median": median(queue),
        "queued, worst": max(queue),
        "positives": len(positive),
        "pos. reported": median(positive) if positive else float("nan"),
        "objects, most": max(one.objects for one in rows),
        "objects, least": min(one.objects for one in rows),
    }
