"""Explains what would be chosen of a folder of files, and why not the rest; reads files, needs no node."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ich_node.analysis.choose import LookAt, choose_series
from ich_node.analysis.files import FoundInstance, UnreadableFile, read_headers
from ich_node.core.geometry import Geometry
from ich_node.core.grounds import Rules
from ich_node.core.selection import Candidate, Selection
from ich_node.vocabulary import DISCLAIMER, Reason

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What was found in a folder: a selection for each study, and the files that belong to none."""

    folder: Path
    studies: tuple[Selection, ...]
    unreadable: tuple[UnreadableFile, ...]

    def to_json(self) -> str:
        """Write the explanation as outside programs read it."""
        return json.dumps(self.as_dict(), indent=2)

    def as_dict(self) -> dict[str, Any]:
        """Build the structure of `to_json`."""
        return {
            "schema": SCHEMA,
            "studies": [_study(selection) for selection in self.studies],
            "unreadable": [
                {"file": str(one.path.relative_to(self.folder)), "reason": one.reason.value}
                for one in self.unreadable
            ],
        }

    def render(self, console: Console) -> None:
        """Print the explanation for a person."""
        for selection in self.studies:
            decisive = f" ({selection.reason.value}: {selection.reason.sentence})" if selection.reason else ""
            console.print(f"Study {selection.study_uid}: [bold]{selection.verdict}[/bold]{escape(decisive)}")
            console.print(_table(selection))
        for one in self.unreadable:
            name = escape(str(one.path.relative_to(self.folder)))
            console.print(f"{name}: {one.reason.value}. {one.reason.sentence}")
        if not self.studies and not self.unreadable:
            console.print("Nothing to read: the folder holds no file.")
        console.print(DISCLAIMER)


def explain_folder(
    folder: Path, rules: Rules | None = None, *, trust_headers: bool = False, look: LookAt | None = None
) -> Explanation:
    """Explain every file below a folder, study by study; order of files never matters.

    `look` decodes (as `choose_series`).
    """
    headers = read_headers((path for path in folder.rglob("*") if path.is_file()), lenient=True)
    by_study: dict[str, list[FoundInstance]] = {}
    for found in headers.instances:
        by_study.setdefault(found.facts.study_uid, []).append(found)
    return Explanation(
        folder=folder,
        studies=tuple(
            choose_series(by_study[uid], rules, trust_headers=trust_headers, look=look).selection
            for uid in sorted(by_study)
        ),
        unreadable=headers.unreadable,
    )


def _study(selection: Selection) -> dict[str, Any]:
    return {
        "study_uid": selection.study_uid,
        "verdict": selection.verdict,
        "reason": _code(selection.reason),
        "chosen": [candidate.key for candidate in selection.chosen],
        "candidates": [_candidate(candidate) for candidate in selection.candidates],
    }


def _code(reason: Reason | None) -> str | None:
    return reason.value if reason else None


def _candidate(candidate: Candidate) -> dict[str, Any]:
    return {
        "key": candidate.key,
        "series_uid": candidate.series_uid,
        "series_number": candidate.series_number,
        "description": candidate.description,
        "modality": candidate.modality,
        "instances": len(candidate.instances),
        "chosen": candidate.chosen,
        "reasons": [reason.value for reason in candidate.reasons],
        "geometry": _geometry(candidate.geometry) if candidate.geometry else None,
    }


def _geometry(geometry: Geometry) -> dict[str, Any]:
    return {
        "slices": geometry.slices,
        "rows": geometry.rows,
        "columns": geometry.columns,
        "pixel_spacing_mm": list(geometry.pixel_spacing_mm) if geometry.pixel_spacing_mm else None,
        "slice_spacing_mm": geometry.slice_spacing_mm,
        "tilt_deg": geometry.tilt_deg,
        "orientation": geometry.orientation,
        "gaps": geometry.gaps,
        "duplicates": geometry.duplicates,
        "order": list(geometry.order),
    }


def _table(selection: Selection) -> Table:
    table = Table("series", "description", "images", "plane", "step", "tilt", "read", "why not")
    for candidate in selection.candidates:
        geometry = candidate.geometry
        step = geometry.slice_spacing_mm if geometry else None
        no_step = "varies" if geometry and geometry.slices > 1 else ""
        table.add_row(
            "" if candidate.series_number is None else str(candidate.series_number),
            escape(candidate.description),
            str(len(candidate.instances)),
            (geometry.orientation or "") if geometry else "",
            f"{step:.2f} mm" if step is not None else no_step,
            f"{geometry.tilt_deg:.1f}°" if geometry else "",
            "yes" if candidate.chosen else "",
            " ".join(reason.value for reason in candidate.reasons),
        )
    return table
