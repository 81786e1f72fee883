"""The grammar of labels.csv: bytes to rows and back. Pure but for the machine's time zone.

A line that cannot be believed whole becomes a named problem. No message repeats what stands in the file,
because that may be somebody's identity.
"""

import codecs
import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TextIO

from ich_node.core.consensus import Opinion, Presence
from ich_node.errors import UsageError
from ich_node.store.labels import Label
from ich_node.vocabulary import Location

IDENTIFIERS = ("study_uid", "accession_number", "patient_id")
COLUMNS = (*IDENTIFIERS, "hemorrhage", "location", "reader", "read_at", "saw_result", "confidence")
REQUIRED = ("hemorrhage", "reader")
LONGEST_READER = 64
EARLIEST_YEAR = 1970
_CLOCK_SLACK = timedelta(days=1)  # a workstation's clock or time zone may be off
_SEPARATORS = (",", ";", "\t")  # Excel writes what the country's settings say
_YES_NO = {"": None, "yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
_NUMBER = re.compile(r"[0-9]*[.,]?[0-9]+([eE][-+]?[0-9]{1,3})?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_FORMULA = re.compile(r"'*[=+\-@]")  # a spreadsheet would run a text that begins like this


@dataclass(frozen=True, kw_only=True)
class BadLine:
    """A line that was not imported: its number in the file, and what is wrong and to be done."""

    line: int
    problem: str


class Unusable(Exception):
    """A line cannot be imported; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class LabelRow:
    """A line that is well formed; `timed`: the file says when the study was read."""

    line: int
    study_uid: str
    accession_number: str
    patient_id: str
    opinion: Opinion
    timed: bool

    @property
    def identifiers(self) -> Mapping[str, str]:
        """The identifiers that are given."""
        named = {name: getattr(self, name) for name in IDENTIFIERS}
        return {name: value for name, value in named.items() if value}


def parse_labels(content: bytes, *, now: datetime) -> tuple[list[LabelRow], list[BadLine]]:
    """Read the bytes of a file; a label without a time counts as read now.

    Raises UsageError where the file as a whole cannot be used: encoding or columns.
    """
    lines = [(number, line) for number, line in enumerate(_lines(content), start=1) if line.strip()]
    if lines and lines[0][1].lower().startswith("sep="):
        del lines[0]  # Excel's own hint
    if not lines:
        raise UsageError(f"the file is empty; its first line must name the columns: {','.join(COLUMNS)}")
    separator, columns = _header(lines[0][1])
    rows, problems = [], []
    for number, line in lines[1:]:
        try:
            fields = _fields(line, separator, columns)
            if any(fields.values()):
                rows.append(_row(number, fields, now))
        except Unusable as reason:
            problems.append(BadLine(line=number, problem=str(reason)))
    return rows, problems


def write_labels(labels: Iterable[Label], stream: TextIO) -> int:
    """Write labels as they can be imported again; returns how many."""
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(COLUMNS)
    count = 0
    for label in labels:
        identity, opinion = label.identity, label.opinion
        saw = {None: "", True: "yes", False: "no"}[opinion.saw_result]
        texts = (identity.study_uid, identity.accession_number, identity.patient_id, opinion.hemorrhage)
        read = (opinion.location or "", opinion.reader, opinion.read_at.isoformat(), saw)
        sure = "" if opinion.confidence is None else repr(opinion.confidence)
        table.writerow([*(_harmless(text) for text in (*texts, *read)), sure])
        count += 1
    return count


def _lines(content: bytes) -> list[str]:
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError('the file is not UTF-8; in Excel save it as "CSV UTF-8"') from None
    return re.split(r"\r\n|\r|\n", text)  # not splitlines: that would also part at odd characters


def _header(line: str) -> tuple[str, list[str]]:
    """The separator and the names of the columns."""
    named = {
        separator: [name.strip().strip('"').casefold() for name in line.split(separator)]
        for separator in _SEPARATORS
    }
    separator = max(_SEPARATORS, key=lambda one: sum(name in COLUMNS for name in named[one]))
    columns = named[separator]
    problems = [f"column {name} is missing" for name in REQUIRED if name not in columns]
    if not any(name in columns for name in IDENTIFIERS):
        problems.append(f"one of {', '.join(IDENTIFIERS)} is needed")
    # an unknown column may be a misspelt one, whose content would be lost in silence
    unknown = [place for place, name in enumerate(columns, start=1) if name not in COLUMNS]
    problems += [f"column {place} has no name that is known; remove or rename it" for place in unknown]
    problems += [f"column {name} stands there twice" for name in COLUMNS if columns.count(name) > 1]
    if problems:
        raise UsageError(f"{'; '.join(problems)}. Expected: {','.join(COLUMNS)}")
    return separator, columns


def _fields(line: str, separator: str, columns: Sequence[str]) -> dict[str, str]:
    """The fields of one physical line: none of ours holds a line break, so a stray quote spoils one line."""
    try:
        values = next(csv.reader([line], delimiter=separator, strict=True))
    except csv.Error:
        raise Unusable("its quotes do not match; write each entry on one line, within one pair") from None
    if len(values) != len(columns):
        raise Unusable(f"it has {len(values)} entries where {len(columns)} belong; quote the separator")
    return {name: _plain(value.strip()) for name, value in zip(columns, values, strict=True)}


def _row(line: int, fields: Mapping[str, str], now: datetime) -> LabelRow:
    if any(_CONTROL.search(value) for value in fields.values()):
        raise Unusable("it holds a control character; remove it")
    identifiers = {name: fields.get(name, "") for name in IDENTIFIERS}
    if not any(identifiers.values()):
        raise Unusable(f"it names no study; give one of {', '.join(IDENTIFIERS)}")
    read_at = fields.get("read_at", "")
    opinion = Opinion(
        hemorrhage=_presence(fields["hemorrhage"]),
        location=_location(fields.get("location", "")),
        reader=_reader(fields["reader"]),
        read_at=_time(read_at, now) if read_at else now,
        saw_result=_saw_result(fields.get("saw_result", "")),
        confidence=_confidence(fields.get("confidence", "")),
    )
    if opinion.location is not None and opinion.hemorrhage is not Presence.PRESENT:
        raise Unusable("location is given though hemorrhage is not present; correct one of them")
    return LabelRow(line=line, **identifiers, opinion=opinion, timed=bool(read_at))


def _presence(text: str) -> Presence:
    try:
        return Presence(text.casefold())
    except ValueError:
        raise Unusable(f"hemorrhage: write {', '.join(Presence)}") from None


def _location(text: str) -> Location | None:
    try:
        return Location(text.casefold()) if text else None
    except ValueError:
        raise Unusable(f"location: write {', '.join(Location)}, or nothing") from None


def _reader(text: str) -> str:
    if not 1 <= len(text) <= LONGEST_READER:
        raise Unusable(f"reader: say in 1 to {LONGEST_READER} characters who read the study")
    return text


def _time(text: str, now: datetime) -> datetime:
    """An aware time; one without an offset is of this machine's time zone."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise Unusable("read_at: write it as 2026-11-24T10:30:00+01:00, or leave it empty") from None
    # the year first: at the ends of the calendar a change of time zone overflows
    if not EARLIEST_YEAR < time.year <= now.year + 1:
        raise Unusable(f"read_at: the year lies before {EARLIEST_YEAR + 1} or in the future; correct it")
    aware = time.astimezone() if time.tzinfo is None else time
    if aware > now + _CLOCK_SLACK:
        raise Unusable("read_at: the time lies in the future; correct it")
    return aware


def _saw_result(text: str) -> bool | None:
    try:
        return _YES_NO[text.casefold()]
    except KeyError:
        raise Unusable("saw_result: write yes or no, or nothing where it is not known") from None


def _confidence(text: str) -> float | None:
    if not text:
        return None
    number = float(text.replace(",", ".")) if _NUMBER.fullmatch(text) else -1.0
    if not 0 <= number <= 1:
        raise Unusable("confidence: write a number from 0 to 1, or nothing")
    return number


def _harmless(text: str) -> str:
    """Mark a text that a spreadsheet would take for a formula, as spreadsheets do it themselves."""
    return f"'{text}" if _FORMULA.match(text) else text


def _plain(text: str) -> str:
    return text[1:] if text.startswith("'") and _FORMULA.match(text[1:]) else text
