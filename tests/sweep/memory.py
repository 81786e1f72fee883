"""Peak memory of every process of a node, by its kind; which processes came and went. Linux: reads /proc."""

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

EVERY_S = 0.05
JOBS = ("receive", "work", "deliver", "schedule")
DECODING = "decoding child"


class Watch:
    """Samples the processes below `serve` until it is stopped; a peak is the kernel's own (VmHWM)."""

    def __init__(self, serve: int) -> None:
        self._serve = serve
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)
        self.peaks_mb: dict[str, float] = defaultdict(float)
        self.processes: dict[str, set[int]] = defaultdict(set)
        self._thread.start()

    def stop(self) -> None:
        """Look a last time and end."""
        self._stop.set()
        self._thread.join()

    def troubles(self) -> list[str]:
        """Say which of the node's own processes died or were started again."""
        found = []
        for job in JOBS:
            numbers = self.processes[job]
            if len(numbers) != 1:
                found.append(f"{job}: {len(numbers)} processes instead of one")
            elif not psutil.pid_exists(next(iter(numbers))):
                found.append(f"{job}: its process died")
        return found

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            self._sample(self._serve, "serve")

    def _sample(self, number: int, kind: str) -> None:
        try:
            status = Path(f"/proc/{number}/status").read_text()
            children = list(_children(number))
        except (FileNotFoundError, ProcessLookupError):
            return  # it ended meanwhile
        peak = next((line for line in status.splitlines() if line.startswith("VmHWM")), None)
        if peak is not None:
            self.processes[kind].add(number)
            self.peaks_mb[kind] = max(self.peaks_mb[kind], int(peak.split()[1]) * 1024 / 1e6)
        for child in children:
            name = _kind(child)
            if name and name != kind:  # a fork looks like its parent until it is another program
                self._sample(child, name)


def _children(number: int) -> Iterator[int]:
    for task in Path(f"/proc/{number}/task").iterdir():
        try:
            yield from map(int, (task / "children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue


def _kind(number: int) -> str:
    try:
        words = Path(f"/proc/{number}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    line = " ".join(words)
    if "multiprocessing.spawn" in line:
        return DECODING
    if "resource_tracker" in line:
        return "resource tracker"
    return next((word for word in words if word in (*JOBS, "serve")), "")


@contextmanager
def watching(serve: int) -> Iterator[Watch]:
    """Watch a node's processes; what was seen stays readable after the end."""
    watch = Watch(serve)
    try:
        yield watch
    finally:
        watch.stop()


def serve_of_this_process() -> int:
    """The `ich-node serve` that this process has started."""
    children = psutil.Process().children()
    return next(child.pid for child in children if child.cmdline()[-1] == "serve")
