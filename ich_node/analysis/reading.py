"""Reads in a process of its own, with bounded memory and time: a lost card ends that one, not the worker.

What the card could not do the CPU does; what neither can is a fault of ours, and another attempt follows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Self, TypeVar

from ich_node.analysis.child import Answer, Bounds, Child, Fault, Tell
from ich_node.analysis.reader import Reader
from ich_node.errors import AnalysisFailed
from ich_node.log import logger
from ich_node.store.bundles import ServingBundle
from model.errors import BundleError
from model.manifest import Manifest
from model.prediction import Prediction
from model.volume import Volume

CPU = "cpu"
CPU_FOR_S, CPU_AT_MOST_S = 600.0, 6 * 3600.0  # after a card failed, twice as long each time; then it is tried
Done = TypeVar("Done")
Load = Callable[[str | None], Reader]
"""Called in the child with the name of a device; None takes a card where there is one."""


@dataclass(frozen=True, kw_only=True)
class _Question:
    device: str | None
    bundle: ServingBundle
    volume: Volume | None = None  # None: make the bundle ready


@dataclass(frozen=True, kw_only=True)
class _Ready:
    """The bundle is loaded in the child, on this device."""

    manifest: Manifest
    device_name: str


@dataclass(frozen=True, kw_only=True)
class _Unusable:
    """The bundle cannot be loaded; our own words, and what to do."""

    words: str


_Reply = _Ready | _Unusable | Prediction


def load_here(device: str | None) -> Reader:
    """Hold the network in the process that calls; loads torch."""
    from ich_node.analysis.loaded import LoadedReader

    return LoadedReader(device)


class ReadingChild:
    """Reader, and the bundle that it serves, in a child process.

    `device`: None takes a card where there is one; `memory_mb` is what the child may hold beside the program;
    `timeout_s` is what loading a bundle, and what reading a volume, may take.
    """

    def __init__(
        self, device: str | None, *, memory_mb: int, timeout_s: float, load: Load = load_here
    ) -> None:
        self._wanted = device
        self._cpu_until, self._cpu_for_s = 0.0, CPU_FOR_S
        self._child = Child[_Question, _Reply](
            "reading", partial(_answering, load), Bounds(answer_s=timeout_s, resident_mb=memory_mb)
        )
        self._bundle: ServingBundle | None = None
        self._ready: _Ready | None = None
        self._asked_device: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.end()

    @property
    def manifest(self) -> Manifest:
        """The manifest of the bundle that was taken."""
        assert self._ready is not None
        return self._ready.manifest

    @property
    def device_name(self) -> str:
        """Where the last volume was read, or the next one will be."""
        assert self._ready is not None
        return self._ready.device_name

    def take(self, bundle: ServingBundle) -> "ReadingChild":
        """Make this bundle ready unless it is; raises BundleError, AnalysisFailed."""
        known = self._bundle is not None and self._bundle.sha256 == bundle.sha256
        if not (known and self._ready and self._child.lives and self._asked_device == self._device):
            self._bundle, self._ready = bundle, None  # nothing is ready until it is
            self._ready = self._despite_the_card(lambda: self._load(bundle))
            logger().info("bundle.loaded", bundle=bundle.sha256[:12], device=self._ready.device_name)
        return self

    def predict(self, volume: Volume, *, at: Tell) -> Prediction:
        """Score a volume; raises AnalysisFailed where the child hangs, grows, crashes or gives no score."""
        bundle = self._bundle
        assert bundle is not None
        prediction = self._despite_the_card(lambda: self._ask(bundle, volume, at))
        if not isinstance(prediction, Prediction):  # its folder went away after it was taken
            raise AnalysisFailed("the bundle cannot be loaded any more")
        self._ready = _Ready(manifest=self.manifest, device_name=prediction.device)
        return prediction

    @property
    def _device(self) -> str | None:
        return CPU if monotonic() < self._cpu_until else self._wanted

    def _load(self, bundle: ServingBundle) -> _Ready:
        answer = self._ask(bundle)
        if isinstance(answer, _Unusable):
            raise BundleError(answer.words)
        assert isinstance(answer, _Ready)
        return answer

    def _ask(self, bundle: ServingBundle, volume: Volume | None = None, at: Tell | None = None) -> _Reply:
        self._asked_device = self._device
        answer = self._child.ask(_Question(device=self._device, bundle=bundle, volume=volume), at)
        if isinstance(answer, Fault):
            self._child.end()  # after an error of its driver no process gets its card back
            raise AnalysisFailed(f"reading failed ({answer.kind})")
        return answer

    def _despite_the_card(self, work: Callable[[], Done]) -> Done:
        """Do it again on the CPU where it failed elsewhere: a card may be lost, or give what is no number."""
        try:
            return work()
        except AnalysisFailed as error:
            if self._device == CPU or (self._ready and self._ready.device_name.startswith(CPU)):
                raise
            logger().error("device.failed", device=self._wanted or "auto", error=str(error))
        self._cpu_until = monotonic() + self._cpu_for_s
        self._cpu_for_s = min(2 * self._cpu_for_s, CPU_AT_MOST_S)
        return work()


def _answering(load: Load) -> Answer[_Question, _Reply]:
    held: dict[str | None, Reader] = {}

    def answer(question: _Question, tell: Tell) -> _Reply:
        if question.device not in held:
            held.clear()
            held[question.device] = load(question.device)
        try:
            served = held[question.device].take(question.bundle)
        except BundleError as error:  # other errors are the device's: a fault
            return _Unusable(words=str(error))
        if question.volume is None:
            return _Ready(manifest=served.manifest, device_name=served.device_name)
        return served.predict(question.volume, at=tell)

    return answer
