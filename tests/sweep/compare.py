"""Compares outcomes with what was expected: expected.tsv for the data, their own list for built studies."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from expected import Told, expected_outcomes
from sweep.built import Built
from sweep.records import DOES_NOT_MATCH, Outcome, Sent

CONFLICT: Told = ("declined", "CONFLICT")


def compare_sent(outcomes: Sequence[Outcome], sent: Sequence[Sent], data: Path) -> list[Outcome]:
    """Compare what became of the files; of those that share a study any one's expectation will do.

    Where files of several folders claim one study, or one UID with two contents, a conflict is right too.
    """
    expected = {one.folder: one.accepted for one in expected_outcomes(data)}
    folders: dict[str, set[str]] = defaultdict(set)
    files: dict[str, int] = defaultdict(int)
    for one in sent:
        folders[one.offer.study_uid].add(one.offer.folder)
        files[one.offer.study_uid] += 1
    compared = []
    for outcome, one in zip(outcomes, sent, strict=True):
        study = one.offer.study_uid
        theirs = folders[study] if one.answer.status == 0 else {one.offer.folder}
        accepted = {told for folder in theirs for told in expected.get(folder, ())}
        if files[study] > 1:
            accepted.add(CONFLICT)
        says_nothing = one.answer.refused_context or one.answer.status == DOES_NOT_MATCH
        compared.append(outcome if says_nothing else _judged(outcome, accepted))
    return compared


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
