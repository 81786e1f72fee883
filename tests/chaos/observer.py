"""Counts what went wrong, from what was seen outside the node. Pure.

Nothing here trusts a word of the node but its rows: what it acknowledged is what the sender noted, what it
said is what the PACS got.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

FINISHED = "finished"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
KINDS = ("SR", "SC")


@dataclass(frozen=True, kw_only=True)
class SentStudy:
    """What a sender knows of a study: its number, and each SOP Instance UID that was answered with 0x0000
    with the SHA-256 of its pixels. `reported`: it claims to be a head, and so a report must come."""

    number: int
    study_uid: str
    reported: bool
    acknowledged: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class StudyRow:
    """What the database says of a study; `reports` maps the SOP Instance UID of each to its revision."""

    state: str
    outcome: str | None
    reports: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Received:
    """An object that the PACS took."""

    study_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    sha256: str

    @property
    def kind(self) -> str:
        return "SC" if self.sop_class_uid == SECONDARY_CAPTURE else "SR"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that was seen. `stored` maps SOP Instance UIDs that have a row in use, and in the file that it
    names the image itself, to the SHA-256 of that file's pixels; `rows` are by Study Instance UID."""

    sent: tuple[SentStudy, ...]
    stored: Mapping[str, str]
    rows: Mapping[str, StudyRow]
    received: tuple[Received, ...]


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What is wrong, each with the number of its study, so that nothing is counted twice."""

    lost_instances: frozenset[tuple[int, str]] = frozenset()
    lost_reports: frozenset[tuple[int, str]] = frozenset()
    doubled_reports: frozenset[tuple[int, str]] = frozenset()
    stuck_studies: frozenset[tuple[int, str]] = frozenset()

    def __or__(self, other: "Findings") -> "Findings":
        return Findings(**{name: mine | vars(other)[name] for name, mine in vars(self).items()})

    def __bool__(self) -> bool:
        return any(vars(self).values())

    def counts(self) -> dict[str, int]:
        """How many of each."""
        return {name: len(found) for name, found in vars(self).items()}

    def words(self) -> list[str]:
        """A line for each kind of finding that there is, with the numbers of the studies."""
        return [
            f"{name.replace('_', ' ')}: study {', '.join(map(str, sorted({number for number, _ in found})))}"
            for name, found in vars(self).items()
            if found
        ]


def count(evidence: Evidence) -> Findings:
    """Find what is lost, doubled or stuck at the moment at which the evidence was taken."""
    of_study: dict[str, list[Received]] = defaultdict(list)
    for one in evidence.received:
        of_study[one.study_uid].append(one)
    found = Findings()
    for study in evidence.sent:
        row, received = evidence.rows.get(study.study_uid), of_study[study.study_uid]
        found |= Findings(
            lost_instances=_numbered(study, _lost_instances(study, evidence.stored)),
            lost_reports=_numbered(study, _lost_reports(study, row, received)),
            doubled_reports=_numbered(study, _doubled_reports(row, received)),
            stuck_studies=_numbered(study, ["stuck"] if _is_stuck(study, row) else []),
        )
    return found


def _numbered(study: SentStudy, found: Iterable[str]) -> frozenset[tuple[int, str]]:
    return frozenset((study.number, one) for one in found)


def _lost_instances(study: SentStudy, stored: Mapping[str, str]) -> list[str]:
    return [uid for uid, pixels in study.acknowledged.items() if stored.get(uid) != pixels]


def _is_finished(row: StudyRow | None) -> bool:
    return row is not None and row.state == FINISHED and row.outcome is not None


def _is_stuck(study: SentStudy, row: StudyRow | None) -> bool:
    """What nobody acknowledged the node need not know; what it knows must come to an end."""
    return not _is_finished(row) if study.acknowledged else row is not None and not _is_finished(row)


def _lost_reports(study: SentStudy, row: StudyRow | None, received: Iterable[Received]) -> list[str]:
    """Each report that was made and never came; and the kind of which none came though one must."""
    if row is None or not _is_finished(row):
        return []
    came = {one.sop_instance_uid: one.kind for one in received}
    never = [uid for uid in row.reports if uid not in came]
    if study.reported and not never:
        never = [kind for kind in KINDS if kind not in came.values()]
    return never


def _doubled_reports(row: StudyRow | None, received: Iterable[Received]) -> list[str]:
    """Revisions of which two objects of a kind came, by UID or by content.

    An object that no row knows was said by a node that forgot it: it stands beside every revision.
    """
    revisions = row.reports if row else {}
    contents: dict[str, dict[int | None, set[tuple[str, str]]]] = {kind: defaultdict(set) for kind in KINDS}
    for one in received:
        contents[one.kind][revisions.get(one.sop_instance_uid)].add((one.sop_instance_uid, one.sha256))
    doubled = []
    for kind, by_revision in contents.items():
        forgotten = by_revision.pop(None, set())
        known = by_revision or {0: set()}
        doubled += [f"{kind} {number}" for number, of_it in known.items() if len(of_it | forgotten) > 1]
    return doubled
