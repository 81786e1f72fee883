"""How fast images are received, and what it costs, against peers and limits measured in the same run."""

import shutil
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import psutil
from benchmarks.receivers import Running, durable_writes, ours, receivers
from builders import ct_series, write_files
from reception import SCANNER, associate

from ich_node.demo.node import running_node

CT = "1.2.840.10008.5.1.4.1.1.2"
IMPLICIT = "1.2.840.10008.1.2"
REFERENCE = "pynetdicom in memory"
LIMIT = "limit: write, sync, row"
Figures = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Sent:
    """One run: images stored, seconds from the first to the last answer, processor seconds, peak memory."""

    stored: int
    wall_s: float
    cpu_s: float
    peak_mb: float


def measure_reception(
    folder: Path, *, images: int = 256, side: int = 512, tries: int = 3, at_once: Sequence[int] = (1, 4, 16)
) -> dict[str, dict[str, Figures]]:
    """Return a table for each number of associations at once; each row is the median of the tries.

    `speed` and `cpu` are ratios to stock pynetdicom that keeps nothing, taken try by try; the tries of all
    receivers take turns.
    """
    files = _images(folder / "sent", images, side)
    tables = {}
    for associations in at_once:
        runs: dict[str, list[Sent]] = defaultdict(list)
        for _ in range(tries):
            for name, start in receivers().items():
                runs[name].append(_received(folder, start, files, associations))
            runs[LIMIT].append(_limit(folder, files))
        tables[f"reception, {associations} at once"] = _table(runs, len(files))
    return tables


def measure_idling(
    folder: Path, *, associations: int = 20, seconds: float = 10.0, node: bool = True
) -> dict[str, Figures]:
    """Return how much of a core is used where nothing happens: by receivers, and by the whole node."""
    found = {}
    for name, start in receivers().items():
        if name in (REFERENCE, "ours, SQLite"):
            with _in_folder(folder) as place, start(place) as running:
                found[f"{name}, alone"] = {"core_share": _share(running.cpu_s, seconds)}
                with ExitStack() as stack:
                    for _ in range(associations):
                        stack.enter_context(_idle(running))
                    found[f"{name}, {associations} idle"] = {"core_share": _share(running.cpu_s, seconds)}
    if node:
        with _in_folder(folder) as place, running_node(place / "node", pacs_port=9) as whole:
            serving = _serving(whole.port)
            time.sleep(seconds)  # what starting costs is not what idling costs
            found["whole node"] = {"core_share": _share(serving.cpu_s, seconds)}
    return found


def measure_hanging_up(folder: Path, *, idle_timeout_s: float = 60.0) -> dict[str, Figures]:
    """Return after how many seconds a silent association is ended, by the setting for it."""
    with (
        _in_folder(folder) as place,
        ours(place, f"sqlite:///{place / 'node.sqlite'}", idle_timeout_s=idle_timeout_s) as running,
        _idle(running) as association,
    ):
        started = time.monotonic()
        while association.is_established and time.monotonic() < started + 2 * idle_timeout_s:
            time.sleep(0.1)
        return {"silent association": {"setting_s": idle_timeout_s, "ended_s": time.monotonic() - started}}


def send(files: Sequence[Path], port: int, ae_title: str, associations: int) -> float:
    """Send the files over so many associations at once, by DCMTK's storescu; returns seconds."""
    # without it Nagle's algorithm and delayed acknowledgements hide every other difference
    environment = {"TCP_NODELAY": "1"}
    command = ["storescu", "-aet", SCANNER, "-aec", ae_title, "--max-send-pdu", "131072", "127.0.0.1"]
    started = time.perf_counter()
    senders = [
        subprocess.Popen([*command, str(port), *map(str, files[start::associations])], env=environment)
        for start in range(associations)
    ]
    for sender in senders:
        sender.wait(600)
    return time.perf_counter() - started


def _images(folder: Path, images: int, side: int) -> list[Path]:
    series = ct_series(slices=1, rows=side, columns=side, pixels="noise")[0]
    folder.mkdir(parents=True)
    files = []
    for number in range(images):
        series.SOPInstanceUID = f"2.25.77.{number}"
        series.InstanceNumber = number
        files += write_files([series], folder / f"{number:04}")
    return files


def _received(folder: Path, start: Callable[[Path], Any], files: Sequence[Path], associations: int) -> Sent:
    with _in_folder(folder) as place, start(place) as running:
        before = running.cpu_s()
        wall = send(files, running.port, running.ae_title, associations)
        spent, stored = running.cpu_s() - before, running.stored()
        return Sent(stored=stored, wall_s=wall, cpu_s=spent, peak_mb=running.peak_mb())


def _limit(folder: Path, files: Sequence[Path]) -> Sent:
    content = files[0].read_bytes()
    with _in_folder(folder) as place:
        wall, cpu = time.perf_counter(), time.process_time()
        durable_writes(place, content, len(files))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Sent(stored=len(files), wall_s=wall, cpu_s=cpu, peak_mb=0.0)


def _table(runs: Mapping[str, Sequence[Sent]], images: int) -> dict[str, Figures]:
    peers = runs[REFERENCE]
    return {
        name: {
            "stored": min(one.stored for one in tries),
            "files_per_s": median(images / one.wall_s for one in tries),
            "cpu_ms": median(1000 * one.cpu_s / images for one in tries),
            "speed": median(peer.wall_s / one.wall_s for one, peer in zip(tries, peers, strict=True)),
            "cpu": median(one.cpu_s / peer.cpu_s for one, peer in zip(tries, peers, strict=True)),
            "peak_mb": max(one.peak_mb for one in tries),
        }
        for name, tries in runs.items()
    }


@contextmanager
def _in_folder(folder: Path) -> Iterator[Path]:
    """A folder for one run: what is stored must not be there already, and not fill the disk."""
    with TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as place:
        yield Path(place)


@contextmanager
def _idle(running: Running) -> Iterator[Any]:
    association = associate(running.port, [(CT, [IMPLICIT])], called=running.ae_title)
    assert association.is_established
    association.network_timeout = None  # the silence is ended by the receiver, or by nobody
    try:
        yield association
    finally:
        association.abort()


def _share(cpu_s: Callable[[], float], seconds: float) -> float:
    before, started = cpu_s(), time.monotonic()
    time.sleep(seconds)
    return (cpu_s() - before) / (time.monotonic() - started)


def _serving(port: int) -> Running:
    """The whole node whose receiver listens there."""
    (listening,) = {
        one.pid for one in psutil.net_connections("tcp") if one.laddr.port == port and one.status == "LISTEN"
    }
    process = psutil.Process(listening).parent()
    assert process is not None
    return Running(port=port, ae_title="", process=process, stored=lambda: 0)


def storescu_is_there() -> bool:
    """Whether the sender of these measurements is installed."""
    return shutil.which("storescu") is not None
