"""Decodes in a process of its own, with bounded memory and time: a broken image ends that one, not ours.

What native decoders do with damaged or hostile pixel data nobody knows: crash, run for ever, fill memory.
"""

import ctypes
import multiprocessing
import resource
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Self

import psutil

from ich_node.analysis.choose import LookAt, Looked, look_at
from ich_node.core.grounds import Rules
from ich_node.core.instances import InstanceFacts
from ich_node.core.selection import Look
from ich_node.errors import AnalysisFailed
from ich_node.log import logger
from ich_node.vocabulary import Reason

STARTS_WITHIN_S = 60.0
ENDS_WITHIN_S = 1.0
ATTEMPTS = 2  # the kernel may have killed the child for somebody else's memory
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_UNDECODABLE = Look(holds_brain=None, reasons=(Reason.UNDECODABLE,))
_TOO_LARGE = Look(holds_brain=None, reasons=(Reason.TOO_LARGE,))


@dataclass(frozen=True, kw_only=True)
class _Fault:
    """An error of ours in the child; its kind alone, since its words may hold what a header says."""

    kind: str


class DecodingChild:
    """Looks at candidates in a child process, which is started when needed and again after its death.

    `memory_mb` is what decoding may take beside the program itself, whose share grows with the processors.
    """

    def __init__(self, *, memory_mb: int, timeout_s: float, look: LookAt = look_at) -> None:
        self._memory_mb, self._timeout_s, self._look = memory_mb, timeout_s, look
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def look_at(
        self, members: Sequence[InstanceFacts], paths: dict[str, Path], rules: Rules, *, trust_headers: bool
    ) -> Looked:
        """Look as `choose.look_at` does; UNDECODABLE where that kills the child or takes too long.

        Raises AnalysisFailed for what is our own fault: an error of the program, a child that does not start.
        """
        own = {fact.sop_instance_uid: paths[fact.sop_instance_uid] for fact in members}
        for _ in range(ATTEMPTS):
            pipe = self._started()
            try:
                answer = self._ask(pipe, (members, own, rules, trust_headers))
            except (EOFError, OSError):
                logger().error("decoding.child_died", exit_status=self._end())
                continue
            except BaseException:
                self._end()  # half an answer may be left in the pipe
                raise
            if isinstance(answer, _Fault):
                raise AnalysisFailed(f"decoding failed ({answer.kind})")
            return answer
        return _UNDECODABLE, None

    def _ask(self, pipe: Connection, question: object) -> Looked | _Fault:
        pipe.send(question)
        if not pipe.poll(self._timeout_s):
            logger().error("decoding.took_too_long", seconds=self._timeout_s)
            self._end()
            return _UNDECODABLE, None
        answer: Looked | _Fault = pipe.recv()
        return answer

    def _started(self) -> Connection:
        """The pipe to a child that lives; raises AnalysisFailed where none comes up."""
        if self._pipe is not None and self._process is not None and self._process.is_alive():
            return self._pipe
        self._end()
        spawn = multiprocessing.get_context("spawn")  # a fork would take torch's threads along
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(
            target=_serve, args=(theirs, self._memory_mb, self._look), name="decoding", daemon=True
        )
        try:
            self._process.start()
            theirs.close()
            if self._pipe.poll(STARTS_WITHIN_S) and self._pipe.recv() == "ready":
                return self._pipe
        except (EOFError, OSError):
            pass
        self._end()
        raise AnalysisFailed("the process that decodes does not start")

    def _end(self) -> int | None:
        """End the child, gently if it listens; returns its exit code where there was one."""
        process, pipe = self._process, self._pipe
        self._process = self._pipe = None
        if pipe is not None:
            pipe.close()  # it reads the end of the pipe as the end of its work
        if process is None or process.pid is None:
            return None
        process.join(ENDS_WITHIN_S)
        if process.is_alive():  # it is busy with what took too long
            process.kill()
            process.join()
        return process.exitcode


def _serve(pipe: Connection, memory_mb: int, look: LookAt) -> None:
    """Look at what comes through the pipe until it ends. Signals are for the parent to hear."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # no decoder outlives its parent
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    # the numerical libraries alone take 40 MB for each processor, most of it never touched
    own = int(psutil.Process().memory_info().data)
    most = own + memory_mb * 1_000_000
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    with suppress(BrokenPipeError, ConnectionResetError):  # the parent was killed: nobody is left to tell
        pipe.send("ready")
        _answer(pipe, look)


def _answer(pipe: Connection, look: LookAt) -> None:
    while True:
        try:
            members, paths, rules, trust_headers = pipe.recv()
        except EOFError:
            return
        answer: Looked | _Fault
        try:
            answer = look(members, paths, rules, trust_headers=trust_headers)
            pipe.send(answer)
        except MemoryError:
            pipe.send((_TOO_LARGE, None))
        except (BrokenPipeError, ConnectionResetError):
            raise
        except Exception as error:  # noqa: BLE001  printed by nobody: its words may name a patient
            pipe.send(_Fault(kind=type(error).__name__))
