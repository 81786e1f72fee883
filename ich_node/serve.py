"""Run every process of the node on one machine and start anew what dies. Starts processes, nothing else."""

import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from ich_node.log import logger
from ich_node.parent import end_with_parent
from ich_node.settings.tree import environment_for_children

PROCESSES = ("receive", "work", "deliver", "schedule", "web")
CALM_S = 60.0  # a process that lived this long starts again at once
LONGEST_PAUSE_S = 30.0
STOP_WITHIN_S = 30.0  # longer than the receiver drains


@dataclass(kw_only=True)
class _Child:
    command: str
    settings_file: Path | None
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    not_before: float = 0.0
    quick_deaths: int = 0

    def start(self) -> None:
        arguments = [sys.executable, "-m", "ich_node", self.command]
        environment = environment_for_children(self.settings_file)
        self.process = subprocess.Popen(arguments, env=environment, preexec_fn=_end_with_parent)
        self.started_at = monotonic()
        logger().info("process.started", job=self.command, pid=self.process.pid)

    def look(self) -> None:
        """Start the process if it is not there; one that keeps dying waits longer each time."""
        if self.process is None:
            if monotonic() >= self.not_before:
                self.start()
            return
        status = self.process.poll()
        if status is None:
            return
        self.quick_deaths = 0 if monotonic() - self.started_at > CALM_S else self.quick_deaths + 1
        pause_s = min(LONGEST_PAUSE_S, 0.5 * 2.0 ** min(self.quick_deaths, 10)) if self.quick_deaths else 0.0
        logger().error("process.died", job=self.command, exit_status=status, next_in_s=pause_s)
        self.process, self.not_before = None, monotonic() + pause_s

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float) -> None:
        if self.process is None:
            return
        try:
            self.process.wait(max(0.1, seconds))
        except subprocess.TimeoutExpired:
            # leases and durable writes make this safe: what was in work is taken up again
            self.process.kill()
            self.process.wait()


def _end_with_parent() -> None:
    """Let the kernel end a child whose supervisor was killed: a new one must find the port free."""
    end_with_parent(signal.SIGTERM)


def stop_on_signal() -> threading.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = threading.Event()
    told, tell = os.pipe()
    os.set_blocking(tell, False)

    def _await() -> None:
        number = os.read(told, 1)[0]
        stop.set()
        logger().info("process.stopping", signal=signal.Signals(number).name)

    # not in a handler: it runs in the midst of anything, and what it needs may be locked there
    signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda _number, _frame: None)
    threading.Thread(target=_await, name="signals", daemon=True).start()
    return stop


def run(settings_file: Path | None, stop: threading.Event) -> None:
    """Keep all processes running until `stop`; then let each finish what it holds, within 20 seconds."""
    children = [_Child(command=command, settings_file=settings_file) for command in PROCESSES]
    while not stop.is_set():
        for child in children:
            child.look()
        stop.wait(0.2)
    for child in children:
        child.stop()
    end = monotonic() + STOP_WITHIN_S
    for child in children:
        child.wait(end - monotonic())
