"""Decodes in a process of its own, with bounded memory and time: a broken image ends that one, not ours.

What native decoders do with damaged or hostile pixel data nobody knows: crash, run for ever, fill memory.
"""

import multiprocessing
import resource
import signal
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Self

from ich_node.analysis.choose import LookAt, Looked, look_at
from ich_node.core.grounds import Rules
from ich_node.core.instances import InstanceFacts
from ich_node.core.selection import Look
from ich_node.log import logger
from ich_node.vocabulary import Reason

STARTS_WITHIN_S = 60.0
ENDS_WITHIN_S = 1.0
ATTEMPTS = 2  # the kernel may have killed the child for somebody else's memory


class DecodingChild:
    """Looks at candidates in a child process, which is started when needed and again after its death."""

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
        """Look as `choose.look_at` does; UNDECODABLE where that kills the child or takes too long."""
        own = {fact.sop_instance_uid: paths[fact.sop_instance_uid] for fact in members}
        for _ in range(ATTEMPTS):
            try:
                pipe = self._started()
                pipe.send((members, own, rules, trust_headers))
                if not pipe.poll(self._timeout_s):
                    logger().error("decoding.took_too_long", seconds=self._timeout_s)
                    break
                looked: Looked = pipe.recv()
            except (EOFError, OSError):
                code = self._end()
                logger().error("decoding.child_died", exit_code=code)
            else:
                return looked
        self._end()
        return Look(holds_brain=None, reasons=(Reason.UNDECODABLE,)), None

    def _started(self) -> Connection:
        """The pipe to a child that lives; raises EOFError where none comes up."""
        if self._pipe is not None and self._process is not None and self._process.is_alive():
            return self._pipe
        self._end()
        spawn = multiprocessing.get_context("spawn")  # a fork would take torch's threads along
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(
            target=_serve, args=(theirs, self._memory_mb, self._look), name="decoding", daemon=True
        )
        self._process.start()
        theirs.close()
        if not self._pipe.poll(STARTS_WITHIN_S):
            raise EOFError
        self._pipe.recv()
        return self._pipe

    def _end(self) -> int | None:
        """End the child, gently if it listens; returns its exit code where there was one."""
        process, pipe = self._process, self._pipe
        self._process = self._pipe = None
        if pipe is not None:
            pipe.close()  # it reads the end of the pipe as the end of its work
        if process is None:
            return None
        process.join(ENDS_WITHIN_S)
        if process.is_alive():  # it is busy with what took too long
            process.kill()
            process.join()
        return process.exitcode


def _serve(pipe: Connection, memory_mb: int, look: LookAt) -> None:
    """Look at what comes through the pipe until it ends. Signals are for the parent to hear."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    most = memory_mb * 1_000_000
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    pipe.send("ready")
    while True:
        try:
            members, paths, rules, trust_headers = pipe.recv()
        except EOFError:
            return
        try:
            looked = look(members, paths, rules, trust_headers=trust_headers)
        except MemoryError:
            looked = Look(holds_brain=None, reasons=(Reason.TOO_LARGE,)), None
        pipe.send(looked)
