"""Plays one round against the node: scanners send, processes die, and in the end everything must be there."""

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from chaos.databases import Place
from chaos.evidence import Digest, gather, pixels_in
from chaos.node import ALL, SECOND, SECOND_MACHINE, Node
from chaos.observer import Findings, SentStudy, count
from chaos.plan import Kill, Moment, Round, Target, Trick
from chaos.sender import Sender

from ich_node.core.completion import GONE_AFTER_S
from ich_node.demo.pacs import StandInPacs
from ich_node.store.database import HELD_AT_MOST_S

MOMENT_WITHIN_S = 8.0  # a moment that does not come by then is passed over, and the kill happens
FINAL_WITHIN_S = 120.0  # after the last kill
GAP_WITHIN_S, GAP_S = 6.0, 1.2  # for a file without a row; long enough for a second receiver to look
FREEZE_WITHIN_S = 30.0  # it may be loading its network for the first half of that
FROZEN_S = max(GONE_AFTER_S, HELD_AT_MOST_S) + 5  # past every lease
DOWN_S = 4.0  # of a database's server, of a disk
LOOK_S, SETTLE_EVERY_S = 0.03, 0.25
_STATES = "select state, lease_holder from studies where study_uid in %s"
_THROUGH = (
    "select a.id from associations a join instances i on i.association_id = a.id "
    "where a.closed_at is null and a.receiver in %s"
)
_REPORTS = "select r.id from reports r join studies s on s.id = r.study_id where s.study_uid in %s"


@dataclass(kw_only=True)
class Stage:
    """Who plays; `sent` is the log of all senders so far, `refused` counts what no patience could send."""

    node: Node
    place: Place
    pacs: StandInPacs
    sent: list[SentStudy] = field(default_factory=list)
    refused: int = 0

    @property
    def images(self) -> Path:
        return self.node.storage / "images"

    def look(self, sent: Sequence[SentStudy], digest: Digest = pixels_in) -> Findings:
        """Count what is wrong with these studies just now."""
        return count(gather(sent, self.place.rows, self.images, self.pacs, digest))


def play(stage: Stage, round_: Round) -> Findings:
    """Play a round until all is well, or two minutes after the last kill; what is wrong then."""
    stage.pacs.refuse(round_.refusals)
    stage.pacs.delay_s = round_.pacs_delay_s
    senders = [Sender(study, stage.node.ports) for study in round_.studies]
    with _tricked(stage, round_.trick, [sender.study_uid for sender in senders]) as after_start:
        receipts = len(stage.pacs.receipts())
        for sender in senders:
            sender.start()
        after_start()
        for kill in round_.kills:
            _await(lambda kill=kill: _has_come(stage, senders, receipts, kill.moment))
            _kill(stage.node, kill)
        for sender in senders:
            sender.join()
    last_kill_at = time.monotonic()
    sent = [sender.log() for sender in senders]
    stage.sent += sent
    stage.refused += sum(sender.left() for sender in senders)
    return _settled(stage, sent, last_kill_at + FINAL_WITHIN_S)


def _await(condition: Callable[[], bool], within_s: float = MOMENT_WITHIN_S) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(LOOK_S)
    return False


def _has_come(stage: Stage, senders: Sequence[Sender], receipts: int, moment: Moment) -> bool:
    """Whether some study of the round is where the kill shall happen."""
    uids = [sender.study_uid for sender in senders]
    match moment:
        case Moment.RECEIVING:
            return any(sender.log().acknowledged for sender in senders)
        case Moment.QUEUEING:
            states = stage.place.rows(_STATES, uids)
            return any(state == "ready" and holder is None for state, holder in states)
        case Moment.INFERRING:
            return any(holder is not None for _, holder in stage.place.rows(_STATES, uids))
        case Moment.REPORTING:
            return bool(stage.place.rows(_REPORTS, uids))
        case Moment.SENDING:
            return len(stage.pacs.receipts()) > receipts


def _kill(node: Node, kill: Kill) -> None:
    time.sleep(kill.after_s)
    names = node.kill(kill.target)
    time.sleep(kill.down_s)
    node.start(*names)


@contextmanager
def _tricked(stage: Stage, trick: Trick, uids: Sequence[str]) -> Iterator[Callable[[], None]]:
    """What a trick does before and after; gives what it does once the scanners send."""
    match trick:
        case Trick.NONE:
            yield lambda: None
        case Trick.OLDER_DATABASE:
            with _older_database(stage):
                yield lambda: None
        case Trick.SECOND_RECEIVER | Trick.ORPHANS:
            yield lambda: _start_second_in_the_gap(stage, dies=trick is Trick.ORPHANS)
            stage.node.stop(SECOND)
        case Trick.LOST_RECEIVER:
            stage.node.start(SECOND)
            stage.node.await_receiver(SECOND)
            yield lambda: _lose_second(stage)
        case Trick.DISK_FULL:
            yield lambda: _fill_the_disk(stage, uids)
        case Trick.DATABASE_DOWN:
            yield lambda: _stop_database(stage, uids)
        case Trick.FROZEN_MACHINE:
            stage.node.start(*SECOND_MACHINE)
            stage.node.await_receiver(SECOND)
            yield lambda: _freeze_first(stage, uids)
            stage.node.stop(*SECOND_MACHINE)


def _fill_the_disk(stage: Stage, uids: Sequence[str]) -> None:
    """Take every byte that is left, while studies are half received, and give it back after a while."""
    _await(lambda: bool(stage.place.rows(_STATES, uids)))
    filler = stage.node.storage / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    time.sleep(DOWN_S)
    filler.unlink()


def _stop_database(stage: Stage, uids: Sequence[str]) -> None:
    """Stop the server, without waiting for anybody, while studies are half received."""
    _await(lambda: bool(stage.place.rows(_STATES, uids)))
    stage.place.stop_for(DOWN_S)


def _freeze_first(stage: Stage, uids: Sequence[str]) -> None:
    """Let one machine stand still while it reads a study, until all that it held has passed on."""
    worker = f"~{stage.node.pid_of('work')}~"

    def _is_caught() -> bool:
        if not _reads(stage, worker, uids):
            return False
        stage.node.freeze(*ALL)
        if caught := _reads(stage, worker, uids):
            time.sleep(FROZEN_S)
        stage.node.thaw(*ALL)
        return caught

    _await(_is_caught, within_s=FREEZE_WITHIN_S)


def _reads(stage: Stage, worker: str, uids: Sequence[str]) -> bool:
    return any(holder and worker in holder for _, holder in stage.place.rows(_STATES, uids))


def _lose_second(stage: Stage) -> None:
    """Kill the second receiver with studies half received, for good: as a host that burns."""
    receiver = f"{socket.gethostname()}:{stage.node.port_of(SECOND)}"
    _await(lambda: bool(stage.place.rows(_THROUGH, [receiver])))
    stage.node.lose(SECOND)


@contextmanager
def _older_database(stage: Stage) -> Iterator[None]:
    """Put back, at the end, the database as it was at the begin: files are there that no row names.

    Nothing is delivered between: a node that forgot what it said would say it again, at another time.
    """
    node = stage.node
    node.stop()
    stage.place.copy()
    node.hold_back("deliver")
    node.start(*ALL)
    node.await_receiver()
    yield
    node.kill(Target.ALL)
    stage.place.restore()
    node.release("deliver")
    node.start(*ALL)


def _start_second_in_the_gap(stage: Stage, *, dies: bool) -> None:
    """Start a second receiver while the first has a file in place and its row not committed."""
    node = stage.node
    with stage.place.held():
        before = _files(stage)  # from here on no file gets its row
        _await(lambda: bool(_files(stage) - before), within_s=GAP_WITHIN_S)
        if dies:
            node.start(*node.kill(Target.RECEIVER))
        node.start(SECOND)
        time.sleep(GAP_S)
    node.await_receiver(SECOND)


def _files(stage: Stage) -> set[Path]:
    return set(stage.images.rglob("*.dcm"))


def _settled(stage: Stage, sent: Sequence[SentStudy], end: float) -> Findings:
    """Wait until nothing is wrong; what still is in the end."""
    seen: dict[tuple[Path, str], str] = {}

    def digest(path: Path, uid: str) -> str | None:
        # a file once seen whole is not read again before the very end of all rounds
        key = (path, uid)
        if key not in seen or not path.exists():
            found = pixels_in(path, uid)
            if found is None:
                return None
            seen[key] = found
        return seen[key]

    while (found := stage.look(sent, digest)) and time.monotonic() < end:
        stage.node.revive()
        time.sleep(SETTLE_EVERY_S)
    return found
