"""The demo: a real node, a scanner and a stand-in PACS; synthetic studies or a folder of DICOM files."""

import secrets
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

from pydicom.dataset import Dataset
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

from ich_node import vocabulary
from ich_node.analysis.files import FoundInstance, UnreadableFile, read_headers
from ich_node.demo.follow import Walked, follow
from ich_node.demo.node import DemoNode, running_node
from ich_node.demo.pacs import StandInPacs, stand_in_pacs
from ich_node.demo.phantom import FIRST_TRAINING_SEED, LOCATIONS, head_phantom
from ich_node.demo.result import leave_reports, result_of, result_without_outcome, write_result
from ich_node.demo.scanner import Sent, scan, send
from ich_node.errors import UsageError
from ich_node.store.quarantine import list_quarantined
from ich_node.vocabulary import Outcome, Reason

DONE, FAILED, NOTHING_TO_READ = 0, 1, 3
LONGEST_S, LONGEST_EACH_S = 600.0, 30.0
_MADE_AHEAD = 2  # synthetic studies; one is made in seconds and takes 20 MB
_SUCCESS = 0x0000
_NOT_UNDERSTOOD = range(0xC000, 0xD000)  # PS3.4 B.2.3: the node keeps what came in quarantine


@dataclass(frozen=True, kw_only=True)
class Act:
    """One study of the demo: what is sent, and what it is known to hold (None: not known)."""

    name: str
    images: tuple[Dataset | Path, ...]
    study_uid: str
    expected: Outcome | None = None
    truth: str = ""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What became of an act: it walked through the node, or nothing of it was taken (why, where known)."""

    act: Act
    walked: Walked | None
    reason: Reason | None = None


def show_synthetic(*, seed: int | None, count: int, out: Path | None, keep: bool, console: Console) -> int:
    """Send synthetic head CTs with and without a bleed in turn; 0 where every answer is right, else 1."""
    first = secrets.randbelow(FIRST_TRAINING_SEED - count) if seed is None else seed
    _say(console, f"Seed {first}: `ich-node demo --seed {first} --studies {count}` repeats this.")
    seeds = [(first + number) % FIRST_TRAINING_SEED for number in range(count)]
    makers = [partial(_synthetic_act, one, bleeds=number % 2 == 0) for number, one in enumerate(seeds)]
    with _stage(keep, console) as folder, ThreadPoolExecutor(1) as studio:
        acts = made_ahead(makers, studio)
        with stand_in_pacs(folder / "pacs") as pacs, _node(folder, pacs, console) as node:
            right = [
                _tell(one, pacs, (out or folder / "out") / one.act.name, console) == one.act.expected
                for one in _perform(node, acts, console)
            ]
    _say(console, f"\n{sum(right)} of {len(right)} as the phantoms were made. {vocabulary.DISCLAIMER}")
    return DONE if all(right) else FAILED


def made_ahead(makers: Iterable[Callable[[], Act]], studio: Executor) -> Iterator[Act]:
    """Begin with the first acts at once, then make another for each that is taken away."""
    waiting = iter(makers)
    begun = deque(studio.submit(make) for make in islice(waiting, _MADE_AHEAD))

    def finished() -> Iterator[Act]:
        while begun:
            act = begun.popleft().result()
            begun.extend(studio.submit(make) for make in islice(waiting, 1))
            yield act

    return finished()


def _synthetic_act(seed: int, *, bleeds: bool) -> Act:
    location = LOCATIONS[seed % len(LOCATIONS)] if bleeds else None
    phantom = head_phantom(seed, location)
    images = scan(phantom)
    if location is None:
        truth = "no bleed"
    else:
        truth = f"{vocabulary.LOCATION_WORDS[location]} bleed of {phantom.truth.volume_ml:.0f} ml"
    return Act(
        name=f"study-{seed}",
        images=tuple(images),
        study_uid=str(images[0].StudyInstanceUID),
        expected=Outcome.POSITIVE if bleeds else Outcome.NEGATIVE,
        truth=truth,
    )


def show_folder(folder: Path, *, out: Path | None, trust_headers: bool, keep: bool, console: Console) -> int:
    """Send a folder of DICOM files through the node; 0 read or declined, 3 nothing to read, 1 failed."""
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    target = out or Path("out")
    headers = read_headers(path for path in folder.rglob("*") if path.is_file())
    acts = _acts_of(headers.instances)
    _tell_unreadable(headers.unreadable, console)
    if not acts:
        _say(console, f"{folder}: no file in it belongs to a study")
        reason = min((one.reason for one in headers.unreadable), key=lambda code: code.rank, default=None)
        write_result(target, result_without_outcome(None, reason))
        return NOTHING_TO_READ
    places = {act.study_uid: target / act.study_uid if len(acts) > 1 else target for act in acts}
    for uid, place in places.items():
        write_result(place, result_without_outcome(uid))  # whatever happens: nothing of an earlier run stays
    settings = {"analysis.trust_headers": trust_headers}
    with (
        _stage(keep, console) as stage,
        stand_in_pacs(stage / "pacs") as pacs,
        _node(stage, pacs, console, settings) as node,
    ):
        outcomes = [
            _tell(one, pacs, places[one.act.study_uid], console) for one in _perform(node, acts, console)
        ]
    _say(console, f"\n{vocabulary.DISCLAIMER}")
    if None in outcomes or Outcome.FAILED in outcomes:
        return FAILED
    return NOTHING_TO_READ if all(outcome is Outcome.IGNORED for outcome in outcomes) else DONE


def _acts_of(instances: Sequence[FoundInstance]) -> list[Act]:
    studies: dict[str, list[Path]] = {}
    for found in instances:
        studies.setdefault(found.facts.study_uid, []).append(found.path)
    return [Act(name=uid, images=tuple(paths), study_uid=uid) for uid, paths in studies.items()]


def _tell_unreadable(unreadable: Sequence[UnreadableFile], console: Console) -> None:
    for reason in sorted({one.reason for one in unreadable}, key=lambda code: code.rank):
        count = sum(one.reason is reason for one in unreadable)
        _say(console, f"Not sent, {reason}, {count} file{'' if count == 1 else 's'}: {reason.sentence}")


@contextmanager
def _stage(keep: bool, console: Console) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="ich-node-demo-"))
    try:
        yield folder
    except BaseException:
        _say(console, f"Everything that was written so far is in {folder}")
        raise
    if keep:
        _say(console, f"The node's folder is kept: {folder}")
        return
    for part in ("node", "pacs"):
        shutil.rmtree(folder / part)
    if not any(folder.iterdir()):
        folder.rmdir()


@contextmanager
def _node(
    folder: Path, pacs: StandInPacs, console: Console, settings: Mapping[str, object] | None = None
) -> Iterator[DemoNode]:
    with console.status("Starting the node: receiver, worker, deliverer, scheduler ..."):
        running = running_node(folder / "node", pacs_port=pacs.port, settings=settings)
        node = running.__enter__()
    try:
        _say(console, f"The node listens on port {node.port}, the stand-in PACS on port {pacs.port}.")
        yield node
    finally:
        running.__exit__(None, None, None)


def _perform(node: DemoNode, acts: Iterable[Act], console: Console) -> list[Shown]:
    """Send every study as a scanner would and wait until all that was taken has walked through."""
    taken, refused = [], []
    with _board(console) as tell:
        for act in acts:
            tell(act.study_uid, act.name, f"sending {len(act.images)} objects")
            sent = send(act.images, "127.0.0.1", node.port)
            missing = sum(one.status != _SUCCESS for one in sent)
            if missing:
                _say(console, f"{act.name}: {missing} of {len(sent)} objects were not taken")
            performed = replace(act, images=())  # its pixels are no longer needed
            if missing < len(sent):
                taken.append(performed)
            else:
                tell(act.study_uid, act.name, "nothing was taken")
                refused.append(Shown(act=performed, walked=None, reason=_why_refused(node, sent)))
        names = {act.study_uid: act.name for act in taken}
        ended = follow(
            node.database,
            list(names),
            within_s=LONGEST_S + LONGEST_EACH_S * len(names),
            tell=lambda uid, stage: tell(uid, names[uid], stage),
        )
    return [*(Shown(act=act, walked=ended[act.study_uid]) for act in taken), *refused]


def _why_refused(node: DemoNode, sent: Sequence[Sent]) -> Reason | None:
    """The code for a study of which nothing was taken; None where the node gave none (no space left)."""
    if any(one.status in _NOT_UNDERSTOOD for one in sent):
        with node.database.transaction() as connection:
            return Reason(list_quarantined(connection, limit=1)[0].reason)
    # no transfer syntax in common: the node could not decode it
    return Reason.UNDECODABLE if all(one.status is None for one in sent) else None


@contextmanager
def _board(console: Console) -> Iterator[Callable[[str, str, str], None]]:
    """Yield what shows (study UID, name, stage): a living line each on a terminal, else a line a change."""
    if not console.is_terminal:
        stages: dict[str, str] = {}

        def note(uid: str, name: str, stage: str) -> None:
            if stages.get(uid) != stage:
                stages[uid] = stage
                _say(console, f"{name}: {stage}")

        yield note
        return
    words = TextColumn("{task.description}", table_column=Column())  # a column of its own: it may wrap
    columns = (SpinnerColumn(), TimeElapsedColumn(), words)
    with Progress(*columns, console=console) as progress:
        tasks: dict[str, TaskID] = {}

        def show(uid: str, name: str, stage: str) -> None:
            if uid not in tasks:
                tasks[uid] = progress.add_task("", total=None)
            progress.update(tasks[uid], description=escape(f"{name}: {stage}"))

        yield show


def _tell(shown: Shown, pacs: StandInPacs, place: Path, console: Console) -> Outcome | None:
    """Print what came back for one study and leave it as files; returns the outcome."""
    act, walked = shown.act, shown.walked
    result = result_of(walked) if walked else result_without_outcome(act.study_uid, shown.reason)
    write_result(place, result)
    said = leave_reports(walked, pacs.folder, place) if walked else None
    _say(console, "")
    _say(console, act.name + (f" (made with: {act.truth})" if act.truth else ""), style="bold")
    lines = {"outcome": str(result["outcome"] or "none: the node took nothing of it")}
    if result["reason"]:
        lines["reason"] = f"{result['reason']}: {Reason(result['reason']).sentence}"
    if said:
        lines["report"] = said.conclusion
    if result["location"]:
        lines["location"] = result["location"]
    if walked:
        lines["seconds"] = "  ".join(f"{stage} {value:.2f}" for stage, value in result["seconds"].items())
    lines["files"] = str(place)
    _say_lines(console, lines)
    return Outcome(result["outcome"]) if result["outcome"] else None


def _say(console: Console, words: str, style: str = "") -> None:
    """Print words as they are; in a log a line stays one line, whoever reads it may search it."""
    console.print(Text(words, style), soft_wrap=not console.is_terminal)


def _say_lines(console: Console, lines: Mapping[str, str]) -> None:
    """Print names with what they name; on a terminal long words wrap beside the name, not below it."""
    if not console.is_terminal:
        for name, words in lines.items():
            _say(console, f"  {name:<9} {words}")
        return
    table = Table.grid(padding=(0, 1))
    table.add_column(min_width=11)
    table.add_column(overflow="fold")
    for name, words in lines.items():
        table.add_row(Text(f"  {name}"), Text(words))
    console.print(table)
