"""The demo: a real node, a scanner and a stand-in PACS; synthetic studies or a folder of DICOM files."""

import json
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from ich_node import vocabulary
from ich_node.demo.follow import Walked, follow, result_of
from ich_node.demo.node import DemoNode, running_node
from ich_node.demo.pacs import StandInPacs, stand_in_pacs
from ich_node.demo.phantom import FIRST_TRAINING_SEED, LOCATIONS, head_phantom
from ich_node.demo.scanner import scan, send
from ich_node.dicom.rendering import html
from ich_node.dicom.report_facts import read_back
from ich_node.errors import UsageError
from ich_node.vocabulary import Outcome

DONE, FAILED, NOTHING_TO_READ = 0, 1, 3
LONGEST_S = 600.0


@dataclass(frozen=True, kw_only=True)
class Act:
    """One study of the demo: what is sent, and what it is known to hold (None: not known)."""

    name: str
    images: tuple[Dataset | Path, ...]
    study_uid: str
    expected: Outcome | None = None
    truth: str = ""


def show_synthetic(*, seed: int | None, count: int, out: Path | None, keep: bool, console: Console) -> int:
    """Send synthetic head CTs with and without a bleed in turn; 0 where every answer is right, else 1."""
    first = secrets.randbelow(FIRST_TRAINING_SEED - count) if seed is None else seed
    console.print(f"Seed {first}: `ich-node demo --seed {first} --studies {count}` repeats this.")
    seeds = [(first + number) % FIRST_TRAINING_SEED for number in range(count)]
    with _stage(keep, console) as folder, ThreadPoolExecutor(1) as studio:
        acts = [
            studio.submit(_synthetic_act, one, bleeds=number % 2 == 0) for number, one in enumerate(seeds)
        ]
        with stand_in_pacs(folder / "pacs") as pacs, _node(folder, pacs, console) as node:
            shown = _perform(node, [act.result() for act in acts], console)
            right = [
                _tell(act, walked, pacs, (out or folder / "out") / act.name, console) == act.expected
                for act, walked in shown
            ]
    console.print(f"{sum(right)} of {len(right)} as the phantoms were made. {vocabulary.DISCLAIMER}")
    return DONE if all(right) else FAILED


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
    acts = _acts_in(folder)
    if not acts:
        console.print(f"{folder}: no file in it belongs to a study")
        _write_result(target, {"schema": 1, "study_uid": None, "outcome": None, "reason": "NOT_DICOM"})
        return NOTHING_TO_READ
    outcomes = []
    settings = {"analysis.trust_headers": trust_headers}
    with (
        _stage(keep, console) as stage,
        stand_in_pacs(stage / "pacs") as pacs,
        _node(stage, pacs, console, settings) as node,
    ):
        for act, walked in _perform(node, acts, console):
            place = target / act.study_uid if len(acts) > 1 else target
            outcomes.append(_tell(act, walked, pacs, place, console))
    if Outcome.FAILED in outcomes:
        return FAILED
    return NOTHING_TO_READ if all(outcome is Outcome.IGNORED for outcome in outcomes) else DONE


def _acts_in(folder: Path) -> list[Act]:
    studies: dict[str, list[Path]] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            header = dcmread(path, stop_before_pixels=True, specific_tags=["StudyInstanceUID"])
        except Exception:  # noqa: BLE001  a foreign file can break a parser in any way; it is then not sent
            continue
        if uid := str(header.get("StudyInstanceUID", "")):
            studies.setdefault(uid, []).append(path)
    return [Act(name=uid, images=tuple(paths), study_uid=uid) for uid, paths in studies.items()]


@contextmanager
def _stage(keep: bool, console: Console) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="ich-node-demo-"))
    try:
        yield folder
    except BaseException:
        console.print(f"Everything that was written so far is in {folder}")
        raise
    if keep:
        console.print(f"The node's folder is kept: {folder}")
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
        console.print(f"The node listens on port {node.port}, the stand-in PACS on port {pacs.port}.")
        yield node
    finally:
        running.__exit__(None, None, None)


def _perform(node: DemoNode, acts: Sequence[Act], console: Console) -> list[tuple[Act, Walked]]:
    """Send every study as a scanner would and wait until all have walked through."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        tasks = {act.study_uid: progress.add_task(f"{act.name}: waiting", total=None) for act in acts}
        names = {act.study_uid: act.name for act in acts}
        for act in acts:
            progress.update(
                tasks[act.study_uid], description=f"{act.name}: sending {len(act.images)} objects"
            )
            sent = send(act.images, "127.0.0.1", node.port)
            refused = sum(one.status != 0 for one in sent)
            if refused:
                console.print(f"{act.name}: {refused} of {len(sent)} objects were not taken")
        ended = follow(
            node.database,
            [act.study_uid for act in acts],
            within_s=LONGEST_S,
            tell=lambda uid, stage: progress.update(tasks[uid], description=f"{names[uid]}: {stage}"),
        )
    return [(act, ended[act.study_uid]) for act in acts]


def _tell(act: Act, walked: Walked, pacs: StandInPacs, place: Path, console: Console) -> Outcome:
    """Print what came back for one study and leave it as files; returns the outcome."""
    result = result_of(walked)
    _write_result(place, result)
    outcome = Outcome(result["outcome"])
    console.print(f"\n[bold]{act.name}[/bold]" + (f" (made with: {act.truth})" if act.truth else ""))
    console.print(
        f"  outcome   {outcome}" + (f" {result['reason']}" if result["reason"] else ""), highlight=False
    )
    for report in walked.reports:
        received = dcmread(pacs.folder / f"{report.sop_instance_uid}.dcm")
        if report.kind == "SR":
            _leave_report(received, place, console)
        else:
            Image.fromarray(received.pixel_array).save(place / "key-slice.png")
    if result["location"]:
        console.print(f"  location  {result['location']}")
    seconds = "  ".join(f"{stage} {value:.2f}" for stage, value in result["seconds"].items())
    console.print(f"  seconds   {seconds}", highlight=False)
    console.print(f"  files     {place}", highlight=False)
    return outcome


def _leave_report(report: Dataset, place: Path, console: Console) -> None:
    buffer = BytesIO()
    report.save_as(buffer, enforce_file_format=True)
    (place / "report.dcm").write_bytes(buffer.getvalue())
    (place / "report.html").write_text(html(report), encoding="utf-8")
    console.print(f"  report    {read_back(report).conclusion}", highlight=False)


def _write_result(place: Path, result: dict[str, object]) -> None:
    place.mkdir(parents=True, exist_ok=True)
    (place / "result.json").write_text(json.dumps(result, indent=2), encoding="utf-8")
