"""What became of each offer, by the node's own records: refused, kept apart, or how its study ended."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from expected import Told
from sweep.offers import Offer
from sweep.senders import Answer, Sender

from ich_node.core.states import DeliveryState, StudyState
from ich_node.demo.node import DemoNode
from ich_node.store.deliveries import deliveries_of
from ich_node.store.files import Archive
from ich_node.store.quarantine import Quarantined, list_quarantined
from ich_node.store.studies import StoredInstance, Study, find_instances, list_studies

EVERYTHING = 1_000_000
DOES_NOT_MATCH = 0xA900  # its UIDs are not those of the command
READ = ("positive", "negative", "indeterminate")


@dataclass(frozen=True, kw_only=True)
class Sent:
    """One offer, its answer, and the rows that the node has for it; `is_new` where it got one of its own."""

    offer: Offer
    answer: Answer
    rows: tuple[StoredInstance, ...]
    is_new: bool
    quarantined: Quarantined | None


def send_and_look(node: DemoNode, sender: Sender, offer: Offer) -> Sent:
    """Send one offer, and look what the node wrote down of it."""
    before, newest = _rows(node, offer), _newest_quarantined(node)
    answer = sender.send(offer)
    rows, quarantined = _rows(node, offer), _newest_quarantined(node)
    return Sent(
        offer=offer,
        answer=answer,
        rows=rows,
        is_new=len(rows) > len(before),
        quarantined=quarantined if quarantined != newest else None,
    )


def _rows(node: DemoNode, offer: Offer) -> tuple[StoredInstance, ...]:
    with node.database.transaction() as connection:
        return tuple(find_instances(connection, offer.message.sop_instance_uid))


def _newest_quarantined(node: DemoNode) -> Quarantined | None:
    with node.database.transaction() as connection:
        return next(iter(list_quarantined(connection, limit=1)), None)


def await_ends(node: DemoNode, *, patience_s: float) -> list[Study]:
    """Wait until every study has its outcome and its reports are out, as long as anything still moves."""
    seen: object = None
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        studies, pending = _standing(node)
        if not pending and all(study.state is StudyState.FINISHED for study in studies):
            return studies
        now = (pending, [(study.id, study.state, study.revision, study.attempts) for study in studies])
        if now != seen:
            seen, end = now, time.monotonic() + patience_s
        time.sleep(0.5)
    return _standing(node)[0]


def _standing(node: DemoNode) -> tuple[list[Study], int]:
    with node.database.transaction() as connection:
        studies = list_studies(connection, limit=EVERYTHING)
        deliveries = [one for study in studies for one in deliveries_of(connection, study.id)]
    return studies, sum(one.state is DeliveryState.PENDING for one in deliveries)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one offer ended, in words; `fault` says what is wrong with that."""

    name: str
    sender: str
    said: str
    fault: str = ""

    @property
    def told(self) -> Told:
        """Verdict and code as expected.tsv has them; nothing where a sender's context was refused."""
        *_, verdict, code = ("", *self.said.removeprefix("explained: ").split())
        if self.said.startswith("refused:"):
            return "unreadable", code.strip("()")
        return (verdict, code) if verdict else ("read" if code in READ else code, "-")


def outcome_of(sent: Sent, studies: Sequence[Study], archive: Archive) -> Outcome:
    """Account for one offer."""
    answer = sent.answer
    said, fault = _refusal(sent) if answer.status != 0 else _end(sent, studies)
    if not fault and answer.status == 0:
        fault = _unaccounted(sent, archive)
    return Outcome(name=sent.offer.name, sender=answer.sender, said=said, fault=fault)


def _refusal(sent: Sent) -> tuple[str, str]:
    status = sent.answer.status
    if sent.answer.refused_context:
        return "refused: context", ""
    if status is None:
        return "no answer", "no answer came"
    if status < 0xC000:
        return (
            f"refused: status 0x{status:04X}",
            "" if status == 0xA900 else "refused for no fault of its own",
        )
    if sent.quarantined is None:
        return f"refused: status 0x{status:04X}", "refused as unreadable and not kept in quarantine"
    return f"refused: status 0x{status:04X} ({sent.quarantined.reason})", ""


def _end(sent: Sent, studies: Sequence[Study]) -> tuple[str, str]:
    ids = {row.study_id for row in sent.rows}
    own = [study for study in studies if study.id in ids]
    if sent.offer.study_uid:
        own = [study for study in own if study.study_uid == sent.offer.study_uid] or own
    if not own:
        return "acknowledged", "acknowledged, and no study knows it"
    if own[-1].outcome is None or own[-1].state is not StudyState.FINISHED:
        return "acknowledged", f"acknowledged, and study {own[-1].id} has no outcome"
    words = " ".join(word for word in (own[-1].outcome, own[-1].reason) if word)
    return words, "a fault of ours" if own[-1].outcome == "failed" else ""


def _unaccounted(sent: Sent, archive: Archive) -> str:
    """Say what is missing of an acknowledged instance: its row, its file, or its transfer syntax."""
    if not sent.rows:
        return "acknowledged, and no row was written"
    if not all(archive.exists(row.file) for row in sent.rows):
        return "acknowledged, and its file is not there"
    if sent.offer.message.transfer_syntax_uid not in {row.transfer_syntax_uid for row in sent.rows}:
        return "stored in another transfer syntax than it was sent in"
    return ""
