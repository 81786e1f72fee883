"""A process of ours that may hang, grow or crash and takes nothing along; started when it is needed.

What native code does with damaged or hostile pixels, and a driver with a card that is lost, nobody knows.
"""

import multiprocessing
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Generic, TypeVar

import psutil

from ich_node.errors import AnalysisFailed
from ich_node.log import configure, logger
from ich_node.parent import end_with_parent

STARTS_WITHIN_S = 60.0
ENDS_WITHIN_S, KILLED_WITHIN_S = 1.0, 10.0
LOOK_S = 0.2

Question = TypeVar("Question")
Reply = TypeVar("Reply")
Tell = Callable[[str], None]
Answer = Callable[[Question, Tell], Reply]
"""Called in the child with (question, tell); `tell` names a stage as it begins."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """An error in the child; its kind alone, since its words may hold what a header says."""

    kind: str


@dataclass(frozen=True, kw_only=True)
class _Stage:
    name: str


class End(StrEnum):
    """Why a child is there no more."""

    DIED = "child_died"
    TOO_LATE = "child_took_too_long"
    TOO_LARGE = "child_grew"


class ChildLost(AnalysisFailed):
    """The process that was asked is there no more."""

    def __init__(self, end: End) -> None:
        self.end = end
        super().__init__()


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What the child may take: seconds for an answer; MB that it may ask for, or hold, beside the program.

    Asking for more than `data_mb` is a MemoryError in the child; holding more than `resident_mb` ends it,
    which suits programs that reserve far more than they use, as torch and CUDA do.
    """

    answer_s: float
    data_mb: int | None = None
    resident_mb: int | None = None


class Child(Generic[Question, Reply]):
    """Answers questions one after another in a process of its own, which is started again after its death.

    `make` is called in the child and gives what answers there.
    """

    def __init__(self, name: str, make: Callable[[], Answer[Question, Reply]], bounds: Bounds) -> None:
        self._name, self._make, self._bounds = name, make, bounds
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None

    @property
    def lives(self) -> bool:
        """Whether the process that was started last is there to be asked."""
        return self._process is not None and self._process.is_alive()

    def ask(self, question: Question, hear: Tell | None = None) -> Reply | Fault:
        """Return the child's answer, or a Fault of its; `hear` is called here with each stage that it names.

        Raises ChildLost where the child ended over it, AnalysisFailed where none comes up.
        """
        pipe = self._started()
        assert self._process is not None
        ended: list[End] = []
        try:
            with _watched(self._process, self._bounds, ended):
                pipe.send(question)
                while isinstance(answer := pipe.recv(), _Stage):
                    if hear:
                        hear(answer.name)
            reply: Reply | Fault = answer
            return reply
        except (EOFError, OSError):
            why = ended[0] if ended else End.DIED
            logger().error(f"{self._name}.{why}", exit_status=self.end())
            raise ChildLost(why) from None
        except BaseException:
            self.end()  # half an answer may be left in the pipe
            raise

    def start(self) -> None:
        """Have the process there before it is asked; the first question would wait for it otherwise."""
        with suppress(AnalysisFailed):  # who asks hears of it
            self._started()

    def end(self) -> int | None:
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
            process.join(KILLED_WITHIN_S)  # a driver may keep it: then it is left behind
        return process.exitcode

    def _started(self) -> Connection:
        """The pipe to a child that lives; raises AnalysisFailed where none comes up."""
        if self._pipe is not None and self.lives:
            return self._pipe
        self.end()
        spawn = multiprocessing.get_context("spawn")  # a fork would take threads and their locks along
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(
            target=_serve, args=(theirs, self._make, self._bounds.data_mb), name=self._name, daemon=True
        )
        try:
            self._process.start()
            theirs.close()
            if self._pipe.poll(STARTS_WITHIN_S) and self._pipe.recv() == "ready":
                return self._pipe
        except (EOFError, OSError):
            pass
        self.end()
        raise AnalysisFailed(f"the process for {self._name} does not start")


@contextmanager
def _watched(process: BaseProcess, bounds: Bounds, ended: list[End]) -> Iterator[None]:
    """Kill the process where it takes too long or grows too large, and say which in `ended`."""
    done = threading.Event()
    step_s = min(LOOK_S, bounds.answer_s)
    most = None if bounds.resident_mb is None else _resident(process) + bounds.resident_mb * 1_000_000

    def _look() -> None:
        left_s = bounds.answer_s  # in steps of ours: while all of us stand still nothing is late
        while not done.wait(step_s):
            left_s -= step_s
            if left_s <= 0:
                ended.append(End.TOO_LATE)
            elif most is not None and _resident(process) > most:
                ended.append(End.TOO_LARGE)
            else:
                continue
            process.kill()
            return

    watcher = threading.Thread(target=_look, name="watch child", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _resident(process: BaseProcess) -> int:
    try:
        return int(psutil.Process(process.pid).memory_info().rss)
    except psutil.Error:
        return 0  # it has died: reading its answer says so


def _serve(pipe: Connection, make: Callable[[], Answer[Question, Reply]], data_mb: int | None) -> None:
    """Answer what comes through the pipe until it ends. Signals are for the parent to hear."""
    end_with_parent(signal.SIGKILL)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    configure(multiprocessing.current_process().name)  # what libraries print may quote a header
    answer = make()
    if data_mb is not None:
        # the numerical libraries alone take 40 MB for each processor, most of it never touched
        most = int(psutil.Process().memory_info().data) + data_mb * 1_000_000
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    with suppress(BrokenPipeError, ConnectionResetError):  # the parent was killed: nobody is left to tell
        pipe.send("ready")
        while True:
            try:
                question = pipe.recv()
            except EOFError:
                return
            _answer(pipe, answer, question)


def _answer(pipe: Connection, answer: Answer[Question, Reply], question: Question) -> None:
    """Send the reply, or a fault: also where memory is short for packing the reply, which happens before."""
    try:
        pipe.send(answer(question, lambda name: pipe.send(_Stage(name=name))))
    except (BrokenPipeError, ConnectionResetError):
        raise
    except Exception as error:  # noqa: BLE001  printed by nobody: its words may name a patient
        pipe.send(Fault(kind=type(error).__name__))
