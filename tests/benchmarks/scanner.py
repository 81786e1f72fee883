"""A scanner in a process of its own, which sends whole studies at a scanner's pace and notes when."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

from benchmarks.studies import HEAD_SERIES, Plan, drawn, images_of

from ich_node.demo.scanner import associate, store

HOST = "127.0.0.1"
MOST_BROKEN = 5  # associations of one study


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A study that was sent: seconds since 1970 of its first image, its head's last answer and its last.

    `refused`: the statuses other than success; None where no answer came. `broken`: how
    often its association ended before its time, and another one took over, as scanners do.
    """

    plan: Plan
    objects: int
    broken: int
    refused: tuple[int | None, ...]
    began: float
    head_answered: float
    answered: float


@contextmanager
def scanner() -> Iterator[ProcessPoolExecutor]:
    """A process to send from, so that neither the node nor who measures shares its time."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        yield process


def send_studies(plans: Sequence[Plan], port: int, per_s: float) -> list[Sent]:
    """Send all studies at once, each over an association of its own with `per_s` images a second at most."""
    for plan in plans:
        drawn(plan.head)
    with ThreadPoolExecutor(len(plans)) as threads:
        return list(threads.map(partial(_send, port=port, per_s=per_s), plans))


def _send(plan: Plan, *, port: int, per_s: float) -> Sent:
    images = list(images_of(plan))
    association = associate([images[0], images[-1]], HOST, port)
    began = head_answered = time.time()
    statuses: list[int | None] = []
    broken = 0
    for number, image in enumerate(images):
        time.sleep(max(0.0, began + number / per_s - time.time()))
        while (status := store(association, image).status) is None and broken < MOST_BROKEN:
            broken += 1
            association = associate([images[0], images[-1]], HOST, port)
        statuses.append(status)
        if image.SeriesNumber == HEAD_SERIES:
            head_answered = time.time()
    answered = time.time()
    association.release()
    return Sent(
        plan=plan,
        objects=len(images),
        broken=broken,
        refused=tuple(status for status in statuses if status != 0),
        began=began,
        head_answered=head_answered,
        answered=answered,
    )
