"""Compares outcomes with what was expected: expected.tsv for the data, their own list for built studies."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from expected import Told, expected_outcomes
from sweep.built import Built
from sweep.offers import Offer
from sweep.records import Outcome, Sent

from ich_node.dicom.part10 import DEFLATED_TRANSFER_SYNTAXES

DIRECTORY = "1.2.840.10008.1.3.10"
CONFLICT: Told = ("declined", "CONFLICT")


def compare_sent(outcomes: Sequence[Outcome], sent: Sequence[Sent], data: Path) -> list[Outcome]:
    """Compare what became of the files; of those that share a study any one's expectation will do.

    Where files of several folders claim one study, or several one UID, a conflict is right too. A context may
    be refused only for what no node should take: deflated data sets and directories of media.
    """
    expected = {one.folder: one.accepted for one in expected_outcomes(data)}
    folders: dict[str, set[str]] = defaultdict(set)
    uids: dict[str, list[str]] = defaultdict(list)
    for one in sent:
        folders[one.offer.study_uid].add(one.offer.folder)
        uids[one.offer.study_uid].append(one.offer.message.sop_instance_uid)
    compared = []
    for outcome, one in zip(outcomes, sent, strict=True):
        study = one.offer.study_uid
        theirs = folders[study] if one.answer.status == 0 else {one.offer.folder}
        accepted = {told for folder in theirs for told in expected.get(folder, ())}
        if len(folders[study]) > 1 or len(set(uids[study])) < len(uids[study]):
            accepted.add(CONFLICT)
        rightly = one.answer.refused_context and _no_node_takes(one.offer)
        compared.append(outcome if rightly else _judged(outcome, accepted))
    return compared


def _no_node_takes(offer: Offer) -> bool:
    message = offer.message
    return message.transfer_syntax_uid in DEFLATED_TRANSFER_SYNTAXES or message.sop_class_uid == DIRECTORY


def compare_alone(outcomes: Iterable[Outcome], data: Path) -> list[Outcome]:
    """Compare what `explain` says of single files."""
    expected = {one.folder: one.accepted for one in expected_outcomes(data)}
    return [_judged(one, expected.get(str(Path(one.name).parent), frozenset())) for one in outcomes]


def compare_built(outcomes: Iterable[Outcome], study: Built) -> list[Outcome]:
    """Compare what became of a built study with what it may end as."""
    compared = []
    for one in outcomes:
        wrong = not one.fault and one.said not in study.accepted
        compared.append(replace(one, fault=f"expected {' or '.join(study.accepted)}") if wrong else one)
    return compared


def _judged(outcome: Outcome, accepted: Iterable[Told]) -> Outcome:
    told = set(accepted)
    if outcome.fault or outcome.told in told:
        return outcome
    words = sorted(" ".join(one) for one in told)
    return replace(outcome, fault=f"expected {' or '.join(words) or 'nothing of this folder'}")
