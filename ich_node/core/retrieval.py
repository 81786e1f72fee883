"""What is asked of a PACS, how far it is with sending, and what is missing in the end. Pure."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from ich_node.errors import UsageError

# UIDs of series, and the SOP Instance UIDs that we hold of each
Held = Mapping[str, AbstractSet[str]]


def asked_accession(words: str) -> str:
    """The accession number as it is asked for; raises UsageError where it would match others too."""
    asked = words.strip()
    if not asked:
        raise UsageError("the accession number is empty: a C-FIND without it would match every study")
    if set(asked) & set("*?"):
        raise UsageError(f"{asked}: * and ? are wildcards of a C-FIND; write one accession number, whole")
    if not (asked.isascii() and asked.isprintable()) or "\\" in asked:
        raise UsageError("an accession number has printable ASCII characters and no backslash (VR SH)")
    return asked


@dataclass(frozen=True, kw_only=True)
class StudyThere:
    """A study as the PACS describes it, without the patient; None where it does not count."""

    study_uid: str
    accession_number: str
    study_date: str
    modalities: tuple[str, ...]
    series: int | None
    images: int | None


@dataclass(frozen=True, kw_only=True)
class SeriesThere:
    """A series as the PACS lists it; `images` are SOP Instance UIDs, none where it lists no images."""

    series_uid: str
    number: str
    images: frozenset[str]
    counted: int

    @property
    def expected(self) -> int:
        """How many images there are: those listed, else the number that the PACS gives."""
        return len(self.images) or self.counted


@dataclass(frozen=True, kw_only=True)
class SubOperations:
    """How far a C-MOVE is: one sub-operation is one image sent to us (PS3.4 C.4.2.1)."""

    remaining: int = 0
    completed: int = 0
    failed: int = 0
    warning: int = 0

    @property
    def sent(self) -> int:
        return self.completed + self.warning

    @property
    def total(self) -> int:
        return self.remaining + self.sent + self.failed


@dataclass(frozen=True, kw_only=True)
class Gap:
    """Images of a series that the PACS has and we have not."""

    series: SeriesThere
    missing: int


def gaps_between(there: Sequence[SeriesThere], here: Held) -> list[Gap]:
    """The series of which something is missing here."""
    gaps = [
        Gap(series=series, missing=_missing(series, here.get(series.series_uid, set()))) for series in there
    ]
    return [gap for gap in gaps if gap.missing]


def _missing(series: SeriesThere, held: AbstractSet[str]) -> int:
    if series.images:
        return len(series.images - held)
    return max(0, series.counted - len(held))


def count_missing(gaps: Sequence[Gap]) -> int:
    return sum(gap.missing for gap in gaps)


def count_held(here: Held) -> int:
    return sum(len(images) for images in here.values())


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """How one study came: the PACS's own counts, then what it has and what we have.

    `trouble` says why the request did not end well. `there` is 0 where the PACS listed nothing to compare.
    """

    study: StudyThere
    counts: SubOperations
    trouble: str | None
    here: int
    there: int
    gaps: tuple[Gap, ...]

    @property
    def whole(self) -> bool:
        """Whether the PACS did what it was asked, and nothing that it has is missing here."""
        return self.trouble is None and self.there > 0 and not self.gaps
