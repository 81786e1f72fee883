"""Puts radiologists' verdicts onto received studies and gives them out again; reads and writes CSV files."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TextIO

from ich_node.core.consensus import Opinion
from ich_node.errors import UsageError
from ich_node.retraining.labels_csv import BadLine, LabelRow, Unusable, parse_labels, write_labels
from ich_node.store.database import Connection, Database
from ich_node.store.labels import add_label, all_labels, opinions_of, studies_named

LARGEST_MB = 64


@dataclass(frozen=True, kw_only=True)
class ImportResult:
    """What an import did: labels that are new, lines that were known already, lines that were refused."""

    added: int
    unchanged: int
    problems: tuple[BadLine, ...]


def import_labels(database: Database, file: Path, *, now: datetime) -> ImportResult:
    """Import every good line in one transaction and name the others; harmless to repeat.

    Raises UsageError where the file as a whole cannot be used.
    """
    rows, problems = parse_labels(_content(file), now=now)
    added = 0
    with database.transaction() as connection:
        for row in rows:
            try:
                added += _import_row(connection, row, now)
            except Unusable as reason:
                problems.append(BadLine(line=row.line, problem=str(reason)))
    refused = {problem.line for problem in problems}
    return ImportResult(
        added=added,
        unchanged=sum(row.line not in refused for row in rows) - added,
        problems=tuple(sorted(problems, key=lambda problem: problem.line)),
    )


def export_labels(database: Database, stream: TextIO) -> int:
    """Write every label, the oldest first, as it can be imported again; returns how many."""
    with database.transaction() as connection:
        labels = all_labels(connection)
    return write_labels(labels, stream)


def _content(file: Path) -> bytes:
    try:
        if file.stat().st_size > LARGEST_MB * 1_000_000:
            raise UsageError(f"{file}: larger than {LARGEST_MB} MB; is this a file of labels?")
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from error


def _import_row(connection: Connection, row: LabelRow, now: datetime) -> bool:
    """Add the label of a line; False where it is known already. Raises Unusable."""
    study_id = _study_of(connection, row)
    known = [one for one in opinions_of(connection, study_id) if one.reader == row.opinion.reader]
    if _is_known(row, known):
        return False
    if any(one.read_at == row.opinion.read_at for one in known):
        raise Unusable("this reader said otherwise about this study at the same time; give a later read_at")
    add_label(connection, study_id, row.opinion, now=now)
    return True


def _is_known(row: LabelRow, known: Sequence[Opinion]) -> bool:
    if row.timed:
        return row.opinion in known
    # without a time it is news only if the reader's last word was another
    last = max(known, key=lambda one: one.read_at, default=None)
    return last is not None and replace(row.opinion, read_at=last.read_at) == last


def _study_of(connection: Connection, row: LabelRow) -> int:
    """The one study that all given identifiers fit; one that the study lacks contradicts nothing."""
    found = studies_named(connection, **row.identifiers)
    if not found:
        raise Unusable("no received study is named so; check the identifier, or send the study first")
    fitting = [
        study
        for study in found
        if all(getattr(study, name) in ("", value) for name, value in row.identifiers.items())
    ]
    if not fitting:
        raise Unusable("its identifiers name different studies; leave only those that are right")
    if len(fitting) > 1:
        raise Unusable(f"it fits {len(fitting)} received studies; say by study_uid which one")
    return fitting[0].study_id
