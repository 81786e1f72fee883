"""Runs a step of a retraining as a process of its own: low priority, own group, never left behind."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from ich_node.errors import RetrainingFailed
from ich_node.log import logger
from ich_node.retraining.folders import RunFolder

BEAT_S = 2.0
_ENDS_WITHIN_S = 10.0
_POLL_S = 0.2
_LONGEST_WORDS = 300


class Stopped(Exception):
    """We were asked to stop; the run goes on with the next start of this process."""


@dataclass(frozen=True, kw_only=True)
class Attendance:
    """How a step is attended: `alive` is called every two seconds and raises where the run is not ours."""

    alive: Callable[[], None]
    stop: threading.Event
    niceness: int


def run_child(arguments: Sequence[str], folder: RunFolder, attendance: Attendance) -> None:
    """Run `python -m ...` to its end; its words go to the run's log.

    Raises RetrainingFailed with its last words, Stopped, or what `alive` raises; the process has ended then.
    """
    command = [sys.executable, "-m", *arguments]
    with folder.log.open("ab") as log:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    # without root a process may step back only: where we ourselves stand further back, it stays there
    own = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PGRP, child.pid, max(own, attendance.niceness))
    _note(folder, child.pid)
    try:
        _attend(child, attendance)
    finally:
        if child.poll() is None:
            _end_group(child)
        folder.child.unlink(missing_ok=True)
    if child.returncode != 0:
        raise RetrainingFailed(f"{arguments[0]}: {_last_words(folder.log, child.returncode)}")


def end_left_behind(folder: RunFolder) -> None:
    """End the process that an earlier life of ours started for this run and could not end."""
    try:
        noted = json.loads(folder.child.read_text(encoding="utf-8"))
        process = psutil.Process(noted["pid"])
        # the number may belong to somebody else by now
        if abs(process.create_time() - noted["create_time"]) < 1.0:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(_ENDS_WITHIN_S)
            logger().warning("retraining.left_behind", pid=process.pid)
    except (FileNotFoundError, ProcessLookupError, psutil.Error):
        pass  # nothing was left behind
    folder.child.unlink(missing_ok=True)


def _attend(child: subprocess.Popen[bytes], attendance: Attendance) -> None:
    waited_s = 0.0
    while child.poll() is None:
        if attendance.stop.wait(_POLL_S):
            raise Stopped
        waited_s += _POLL_S
        if waited_s >= BEAT_S:
            waited_s = 0.0
            attendance.alive()


def _end_group(child: subprocess.Popen[bytes]) -> None:
    os.killpg(child.pid, signal.SIGTERM)
    try:
        child.wait(_ENDS_WITHIN_S)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _note(folder: RunFolder, pid: int) -> None:
    try:
        created = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return  # it has ended already
    folder.write(folder.child, json.dumps({"pid": pid, "create_time": created}))


def _last_words(log: Path, status: int) -> str:
    if status < 0:
        return f"ended by {signal.Signals(-status).name}; was the memory used up?"
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1][:_LONGEST_WORDS] if lines else f"exit status {status}"
