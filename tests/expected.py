"""What the node should make of each folder of the shared DICOM files: expected.tsv, and where we differ."""

import csv
from dataclasses import dataclass
from pathlib import Path

# in these two folders the Study or Series UID is absent or holds letters, so by our own rule nothing has an
# identity, whatever the folder was collected for
WITHOUT_IDENTITY = {"head-ct-other/dose-report-ge", "codecs/htj2k"}

Told = tuple[str, str]  # verdict and decisive code, "-" where there is none


@dataclass(frozen=True, kw_only=True)
class Expected:
    """One folder: whether it is a study or single files, and what may come of it."""

    folder: str
    judged: str
    accepted: frozenset[Told]


def expected_outcomes(data: Path) -> list[Expected]:
    """Read expected.tsv, one entry a folder, in its order."""
    with (data / "expected.tsv").open(newline="") as file:
        return [_expected(row) for row in csv.DictReader(file, delimiter="\t")]


def _expected(row: dict[str, str]) -> Expected:
    told = {(verdict, code) for verdict in row["verdicts"].split("|") for code in row["codes"].split("|")}
    if row["folder"] in WITHOUT_IDENTITY:
        told = {("unreadable", "NO_IDENTITY")}
    return Expected(folder=row["folder"], judged=row["judged"], accepted=frozenset(told))
