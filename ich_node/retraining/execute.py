"""One retraining from labels to candidate: snapshot, training, both evaluations, the gate, the registry.

Each step leaves its result in the run's folder; a run that goes on skips what is there.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ich_node.core.gate import GateVerdict
from ich_node.core.states import RunState
from ich_node.errors import LeaseLost, RetrainingFailed
from ich_node.retraining.bundle_folders import bundles_folder, checked_manifest, identity_of, keep_bundle
from ich_node.retraining.child import Attendance, run_child
from ich_node.retraining.evidence import evidence_of, gate_json
from ich_node.retraining.folders import RunFolder
from ich_node.retraining.snapshot import snapshot
from ich_node.settings.tree import Settings
from ich_node.store.bundles import NewBundle, add_bundle, get_bundle
from ich_node.store.database import Database
from ich_node.store.files import Archive
from ich_node.store.runs import TrainingRun, finish_run


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run that is ours; `tell` says what is being done, in words."""

    database: Database
    settings: Settings
    run: TrainingRun
    folder: RunFolder
    attendance: Attendance
    tell: Callable[[str], None]


def execute(job: Job) -> None:
    """Take a run to its candidate; raises RetrainingFailed, Stopped or LeaseLost if it does not get there."""
    job.folder.path.mkdir(parents=True, exist_ok=True)
    champion = _champion(job)
    if not job.folder.slices.exists():
        job.tell("step 1 of 4: preparing the labelled studies")
        _take_snapshot(job)
    if not job.folder.trained.exists():
        job.tell("step 2 of 4: training")
        _train(job, champion)
    job.tell("step 3 of 4: evaluating the bundle that serves and the new one on the patients kept aside")
    _evaluate(job, champion, job.folder.champion)
    _evaluate(job, job.folder.training, job.folder.challenger)
    job.tell("step 4 of 4: comparing")
    compare = ("ich_node.retraining.compare", str(job.folder.path), "--champion", str(champion))
    run_child(compare, job.folder, job.attendance)
    register_candidate(job)
    job.folder.forget_pictures()


def _champion(job: Job) -> Path:
    with job.database.transaction() as connection:
        bundle = get_bundle(connection, job.run.parent_sha256 or "")
    if bundle is None:
        raise RetrainingFailed("the bundle to start from is no longer known; start a new retraining")
    return Path(bundle.folder)


def _take_snapshot(job: Job) -> None:
    studies = snapshot(job.database, now=datetime.now(UTC), alive=job.attendance.alive)
    job.folder.write(job.folder.plan, json.dumps([study.to_json() for study in studies]))
    images = Archive(job.settings.storage.folder, reserve_mb=0).path("")
    arguments = ("--images", str(images), "--out", str(job.folder.snapshot))
    run_child(("ich_node.retraining.pictures", str(job.folder.plan), *arguments), job.folder, job.attendance)


def _train(job: Job, champion: Path) -> None:
    wanted = job.settings.retraining
    arguments = {
        "--slices": str(job.folder.slices),
        "--out": str(job.folder.training),
        "--init": str(champion),
        "--name": f"retrained-{job.folder.path.name}",
        "--epochs": str(wanted.epochs),
        "--rate": str(wanted.learning_rate),
        **_device(job),
    }
    run_child(("model.train", *_flat(arguments)), job.folder, job.attendance)
    job.folder.trained.touch()


def _evaluate(job: Job, bundle: Path, out: Path) -> None:
    arguments = {
        "--bundle": str(bundle),
        "--slices": str(job.folder.slices),
        "--split": "test",
        "--out": str(out),
        **_device(job),
    }
    # the gate needs the predictions alone; audit and figures would cost a small machine minutes
    run_child(("model.evaluate", *_flat(arguments), "--no-audit", "--no-figures"), job.folder, job.attendance)


def _device(job: Job) -> dict[str, str]:
    device = job.settings.analysis.device
    return {} if device == "auto" else {"--device": device}


def _flat(arguments: dict[str, str]) -> list[str]:
    return [word for pair in arguments.items() for word in pair]


def register_candidate(job: Job) -> None:
    """Keep the new bundle as a candidate with its evidence, and end the run, in one transaction.

    Raises LeaseLost where the run was cancelled meanwhile; nothing of the bundle is kept then.
    """
    manifest = checked_manifest(job.folder.training)
    folder = bundles_folder(job.settings) / manifest.name
    keep_bundle(job.folder.training, folder)
    metrics = {
        "champion": _read(job.folder.champion / "summary.json"),
        "challenger": _read(job.folder.challenger / "summary.json"),
        "evidence": _read(job.folder.evidence),
    }
    evidence = evidence_of(metrics)
    assert evidence is not None
    verdict = evidence.verdict(job.settings.gate.minimum_patients)
    new = NewBundle(
        name=manifest.name,
        sha256=identity_of(folder),
        folder=folder,
        parent_sha256=job.run.parent_sha256,
        metrics=metrics,
        gate=gate_json(verdict),
    )
    try:
        _enter(job, new, message=_outcome(manifest.name, verdict))
    except LeaseLost:
        _forget_unless_registered(job, new)
        raise


def _enter(job: Job, new: NewBundle, *, message: str) -> None:
    now = datetime.now(UTC)
    with job.database.transaction() as connection:
        add_bundle(connection, new, now=now)
        finish_run(
            connection, job.run, state=RunState.DONE, message=message, bundle_sha256=new.sha256, now=now
        )


def _forget_unless_registered(job: Job, new: NewBundle) -> None:
    """Remove the folder of a run that was cancelled, unless whoever took the run over registered it."""
    with job.database.transaction() as connection:
        registered = get_bundle(connection, new.sha256)
    if registered is None:
        shutil.rmtree(new.folder)


def _read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def _outcome(name: str, verdict: GateVerdict) -> str:
    if verdict.allowed:
        return f"candidate {name}: the gate allows `ich-node bundles promote {name}`"
    return f"candidate {name}: the gate refuses it. {' '.join(verdict.reasons)}"
