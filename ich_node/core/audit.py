"""The chain that ties each line of the audit trail to the one before: what was changed or taken out shows."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

NO_LINE_BEFORE = "0" * 64


@dataclass(frozen=True, kw_only=True)
class AuditLine:
    """One audit message as it is kept; `sha256` is of the line and of the line before."""

    id: int
    at: datetime
    kind: str
    message: str
    previous_sha256: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Head:
    """The end of the chain; id 0 where there is no line yet."""

    id: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Break:
    """The first line at which the chain is broken, and how."""

    id: int
    words: str


def next_line(head: Head, *, at: datetime, kind: str, message: str) -> AuditLine:
    """The line that follows the head: numbers have no gaps."""
    number = head.id + 1
    return AuditLine(
        id=number,
        at=at,
        kind=kind,
        message=message,
        previous_sha256=head.sha256,
        sha256=_hash(number, at, kind, message, head.sha256),
    )


def first_break(lines: Iterable[AuditLine], head: Head) -> Break | None:
    """Walk along the chain, first line first, to the head; None where it holds."""
    before = Head(id=0, sha256=NO_LINE_BEFORE)
    for line in lines:
        if line.id != before.id + 1:
            return Break(id=before.id + 1, words="is missing")
        if line.previous_sha256 != before.sha256:
            return Break(id=line.id, words="does not follow from the line before it")
        if line.sha256 != _hash(line.id, line.at, line.kind, line.message, line.previous_sha256):
            return Break(id=line.id, words="was changed")
        before = Head(id=line.id, sha256=line.sha256)
    if before.id < head.id:
        return Break(id=before.id + 1, words="is missing")
    if before != head:
        return Break(id=before.id, words="is not the one that the end of the chain names")
    return None


def _hash(number: int, at: datetime, kind: str, message: str, previous: str) -> str:
    told = "\n".join((str(number), at.astimezone(UTC).isoformat(), kind, previous, message))
    return hashlib.sha256(told.encode("utf-8")).hexdigest()
