"""python -m ich_node.retraining.pictures PLAN --images FOLDER --out FOLDER: prepares a snapshot's slices.

A process of its own, because volumes are large. Reads received images; writes slices.csv and 16-bit PNG.
"""

import argparse
import csv
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset

from ich_node.core.candidates import parts_of
from ich_node.core.instances import InstanceFacts
from ich_node.dicom.headers import instance_facts
from ich_node.dicom.part10 import PARSE_ERRORS
from ich_node.dicom.volume import AssembledSeries, assemble_stack
from ich_node.errors import CannotJudge, UnreadableInstance
from ich_node.log import configure
from ich_node.retraining.snapshot import LabelledStudy

COLUMNS = ("path", "subject", "hemorrhage", "location", "other_finding", "split")
HU_OFFSET = 1024
KEY_SLICES = 5  # at most so many slices of a bleeding study are labelled; readers label studies, not slices
KEY_SHARE = 0.5  # and only those that score at least this share of the highest


@dataclass(frozen=True, kw_only=True)
class PreparedSlice:
    """One line of slices.csv; `hemorrhage` is None where nobody knows."""

    path: str
    study: LabelledStudy
    hemorrhage: bool | None

    @property
    def row(self) -> tuple[str, ...]:
        known = "" if self.hemorrhage is None else str(int(self.hemorrhage))
        location = (self.study.location or "") if self.hemorrhage else ""
        return (self.path, self.study.subject, known, location, "", self.study.split)


def write_pictures(studies: Sequence[LabelledStudy], images: Path, out: Path) -> Iterator[bool]:
    """Write the slices of all studies, slices.csv last; yields for each study whether it could be done."""
    rows: list[PreparedSlice] = []
    counts: Counter[str] = Counter()
    for study in studies:
        counts[study.subject] += 1
        name = f"images/{study.subject}/{counts[study.subject]:03d}"
        prepared = _prepare(study, images, out, name)
        rows += prepared
        yield bool(prepared)
    partial = out / "slices.csv.part"
    with partial.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(COLUMNS)
        table.writerows(one.row for one in rows)
    partial.replace(out / "slices.csv")


def key_slices(scores: Sequence[float | None]) -> frozenset[int]:
    """The slices that stand for a bleeding study: at most five, the highest and those half as high."""
    known = {place: score for place, score in enumerate(scores) if score is not None}
    highest = sorted(known, key=lambda place: (-known[place], place))[:KEY_SLICES]
    return frozenset(place for place in highest if known[place] >= KEY_SHARE * known[highest[0]])


def slice_labels(present: bool, scores: Sequence[float | None]) -> list[bool | None]:
    """What is known of each slice: none bleeds in a study without; in a study with, the key slices do."""
    keys = key_slices(scores) if present else frozenset()
    return [(True if place in keys else None) if present else False for place in range(len(scores))]


def _prepare(study: LabelledStudy, images: Path, out: Path, name: str) -> list[PreparedSlice]:
    try:
        series = _assembled(study, images)
    except (CannotJudge, UnreadableInstance, OSError, *PARSE_ERRORS):
        return []  # its images went or cannot be read any more: the others still teach
    scores = [study.scores.get(uid) for uid in series.sop_instance_uids]
    if all(score is None for score in scores):
        return []
    (out / name).mkdir(parents=True, exist_ok=True)
    rows = []
    for place, label in enumerate(slice_labels(study.present, scores)):
        path = f"{name}/{place:04d}.png"
        _write_png(series.volume.hu[place], out / path)
        rows.append(PreparedSlice(path=path, study=study, hemorrhage=label))
    return rows


def _assembled(study: LabelledStudy, images: Path) -> AssembledSeries:
    """The part of the series that was read, put together as it was for the reading."""
    paths = {}
    facts = []
    for file in study.files:
        fact = instance_facts(_read(images / file, pixels=False))
        paths[fact.sop_instance_uid] = images / file
        facts.append(fact)
    # judged when it was read; the checks of HU are not repeated
    return assemble_stack(
        _part_read(facts, study.scores), lambda uid: _read(paths[uid], pixels=True), trust_headers=True
    )


def _part_read(facts: Sequence[InstanceFacts], scores: Mapping[str, float]) -> Sequence[InstanceFacts]:
    """One series may hold several volumes: the one that was read holds the slices that were scored."""
    parts = [part.instances for part in parts_of(facts)]
    return max(parts, key=lambda part: sum(fact.sop_instance_uid in scores for fact in part), default=())


def _read(path: Path, *, pixels: bool) -> Dataset:
    return dcmread(path, stop_before_pixels=not pixels)


def _write_png(hu: NDArray[np.float32], file: Path) -> None:
    stored = np.clip(np.rint(hu) + HU_OFFSET, 0, 65535).astype(np.uint16)
    Image.fromarray(stored).save(file, compress_level=1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; exit status 1 where no study could be prepared."""
    parser = argparse.ArgumentParser(prog="ich_node.retraining.pictures", description=__doc__)
    parser.add_argument("plan", type=Path, help="JSON list of labelled studies")
    parser.add_argument("--images", type=Path, required=True, help="folder of the received images")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    chosen = parser.parse_args(arguments)
    studies = [LabelledStudy.from_json(kept) for kept in json.loads(chosen.plan.read_text(encoding="utf-8"))]
    chosen.out.mkdir(parents=True, exist_ok=True)
    prepared = sum(write_pictures(studies, chosen.images, chosen.out))
    sys.stderr.write(f"prepared {prepared} of {len(studies)} studies\n")
    return 0 if prepared else 1


if __name__ == "__main__":
    configure("pictures")  # warnings and errors may quote a header: no identity in the log
    raise SystemExit(main())
