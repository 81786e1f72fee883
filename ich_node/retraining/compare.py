"""python -m ich_node.retraining.compare RUN --champion FOLDER: both bundles' predictions to evidence.

Reads the files of one run; writes its evidence.json. A process of its own, because it loads numpy.
"""

import argparse
import csv
import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ich_node.core.gate import Judgment, KeptAside
from ich_node.core.split import Split
from ich_node.retraining.evidence import Evidence
from ich_node.retraining.folders import RunFolder
from ich_node.retraining.snapshot import LabelledStudy
from ich_node.vocabulary import Location
from model.aggregate import study_location, study_score
from model.manifest import LOCATIONS, Manifest, bundle_sha256, read_manifest

NOTHING = Judgment(score=None)


def compare(run: RunFolder, champion: Path) -> Evidence:
    """Put both bundles' answers about each patient kept aside beside the readers' truth."""
    before, after = read_manifest(champion), read_manifest(run.training)
    first = _judgments(run.champion / "predictions.csv", before)
    second = _judgments(run.challenger / "predictions.csv", after)
    aside = _kept_aside(run)
    return Evidence(
        champion_sha256=bundle_sha256(champion),
        champion_low=before.study_thresholds.low,
        challenger_low=after.study_thresholds.low,
        patients=tuple(
            KeptAside(
                subject=study.subject,
                present=study.present,
                location=study.location,
                champion=first.get(study.subject, NOTHING),
                challenger=second.get(study.subject, NOTHING),
            )
            for study in aside
        ),
    )


def _kept_aside(run: RunFolder) -> list[LabelledStudy]:
    """The patients kept aside whose images could be prepared."""
    with run.slices.open(newline="", encoding="utf-8") as stream:
        prepared = {row["subject"] for row in csv.DictReader(stream)}
    planned = [LabelledStudy.from_json(kept) for kept in json.loads(run.plan.read_text(encoding="utf-8"))]
    return [one for one in planned if one.split is Split.TEST and one.subject in prepared]


def _judgments(predictions: Path, manifest: Manifest) -> dict[str, Judgment]:
    """What one bundle says of each patient: its slices, foot to head, by its own aggregation."""
    slices: dict[str, list[Mapping[str, str]]] = defaultdict(list)
    with predictions.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            slices[row["subject"]].append(row)
    return {subject: _judgment(rows, manifest) for subject, rows in slices.items()}


def _judgment(rows: Sequence[Mapping[str, str]], manifest: Manifest) -> Judgment:
    scores = np.array([float(row["hemorrhage_probability"]) for row in rows])
    places = np.array([[float(row[f"{place}_probability"]) for place in LOCATIONS] for row in rows])
    score = study_score(scores, manifest.aggregation)
    if not (math.isfinite(score) and np.isfinite(scores).all() and np.isfinite(places).all()):
        return NOTHING  # JSON knows no such number, and the gate refuses what is missing
    shares = study_location(places, scores, manifest.slice_thresholds.low)
    return Judgment(score=score, locations={Location(place): share for place, share in shares.items()})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="ich_node.retraining.compare", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("--champion", type=Path, required=True, help="folder of the bundle that serves")
    chosen = parser.parse_args(arguments)
    run = RunFolder(path=chosen.run)
    evidence = compare(run, chosen.champion)
    run.write(run.evidence, json.dumps(evidence.to_json(), allow_nan=False))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
