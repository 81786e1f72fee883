"""Decodes in a process of its own, with bounded memory and time: a broken image ends that one, not ours."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Self

from ich_node.analysis.child import Answer, Bounds, Child, ChildLost, End, Fault, Tell
from ich_node.analysis.choose import LookAt, Looked, look_at
from ich_node.core.grounds import Rules
from ich_node.core.instances import InstanceFacts
from ich_node.core.selection import Look
from ich_node.errors import AnalysisFailed
from ich_node.vocabulary import Reason

ATTEMPTS = 2  # the kernel may have killed the child for somebody else's memory
_Question = tuple[Sequence[InstanceFacts], dict[str, Path], Rules, bool]
_UNDECODABLE = Look(holds_brain=None, reasons=(Reason.UNDECODABLE,))
_TOO_LARGE = Look(holds_brain=None, reasons=(Reason.TOO_LARGE,))


class DecodingChild:
    """Looks at candidates in a child process.

    `memory_mb` is what decoding may take beside the program itself, whose share grows with the processors.
    """

    def __init__(self, *, memory_mb: int, timeout_s: float, look: LookAt = look_at) -> None:
        bounds = Bounds(answer_s=timeout_s, data_mb=memory_mb)
        self._child = Child[_Question, Looked]("decoding", partial(_answering, look), bounds)

    def __enter__(self) -> Self:
        self._child.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._child.end()

    def look_at(
        self, members: Sequence[InstanceFacts], paths: dict[str, Path], rules: Rules, *, trust_headers: bool
    ) -> Looked:
        """Look as `choose.look_at` does; UNDECODABLE where that kills the child or takes too long.

        Raises AnalysisFailed for what is our own fault: an error of the program, a child that does not start.
        """
        own = {fact.sop_instance_uid: paths[fact.sop_instance_uid] for fact in members}
        for _ in range(ATTEMPTS):
            try:
                answer = self._child.ask((members, own, rules, trust_headers))
            except ChildLost as lost:
                if lost.end is End.TOO_LATE:
                    break
                continue
            if not isinstance(answer, Fault):
                return answer
            if answer.kind == MemoryError.__name__:
                return _TOO_LARGE, None
            raise AnalysisFailed(f"decoding failed ({answer.kind})")
        return _UNDECODABLE, None


def _answering(look: LookAt) -> Answer[_Question, Looked]:
    def answer(question: _Question, _tell: Tell) -> Looked:
        members, paths, rules, trust_headers = question
        return look(members, paths, rules, trust_headers=trust_headers)

    return answer
