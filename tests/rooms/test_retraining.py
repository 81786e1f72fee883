"""From labels to a judged candidate with real processes; and what happens when they are stopped or killed."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from learning import NOW, label, received, settings_of, tiny_bundle
from rich.console import Console

from ich_node.core.consensus import Presence
from ich_node.core.states import BundleState, RunState
from ich_node.errors import LeaseLost, PromotionRefused, UsageError
from ich_node.retraining.child import Attendance
from ich_node.retraining.evidence import Evidence
from ich_node.retraining.execute import Job, register_candidate
from ich_node.retraining.folders import RunFolder
from ich_node.retraining.registry import gate, promote, register_first, rollback
from ich_node.retraining.run import RunStatus, TrainingProgress, cancel, resume, run_requested, start, status
from ich_node.retraining.watch import remaining, watch
from ich_node.settings.sections import GATE_MINIMUM_PATIENTS
from ich_node.settings.tree import Settings
from ich_node.store.bundles import list_bundles, serving
from ich_node.store.database import Database
from ich_node.store.files import Archive
from ich_node.store.runs import claim_run
from ich_node.vocabulary import Location
from model.manifest import read_manifest

PATIENTS = 10  # half of them bleed: two of each class are kept aside
LOCATIONS = tuple(Location)


@pytest.fixture
def settings(database: Database, tmp_path: Path) -> Settings:
    tiny_bundle(tmp_path / "tiny")
    made = settings_of(database, tmp_path)
    register_first(database, made, now=NOW)
    return made


@pytest.fixture
def labelled(database: Database, settings: Settings) -> Settings:
    """A node with a labelled study of each of ten patients."""
    archive = Archive(settings.storage.folder, reserve_mb=0)
    for seed in range(PATIENTS):
        bleed = seed % 2 == 1
        study = received(database, seed=seed, bleed=bleed, archive=archive)
        presence = Presence.PRESENT if bleed else Presence.ABSENT
        label(database, study, presence, location=LOCATIONS[seed % 3] if bleed else None)
    return settings


def now() -> datetime:
    return datetime.now(UTC)


def seen(database: Database) -> RunStatus:
    found = status(database)
    assert found is not None
    return found


def until(condition: Callable[[], bool], *, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


@contextmanager
def working(database: Database, settings: Settings) -> Iterator[threading.Event]:
    """The scheduler's turn of retraining in a thread; stopped at the end."""
    stop = threading.Event()
    thread = threading.Thread(target=run_requested, args=(database, settings, stop))
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join(60)
        assert not thread.is_alive()


def child_of(run: RunStatus) -> int | None:
    """The process that works for a run, if there is one."""
    try:
        return int(json.loads((run.run.folder / "child.json").read_text())["pid"])
    except FileNotFoundError:
        return None


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_labels_become_a_judged_candidate_even_where_training_was_killed_and_resumed(
    database, labelled, tmp_path
):
    asked = start(database, labelled, now=now())
    assert (asked.state, seen(database).run.state) == (RunState.REQUESTED, RunState.REQUESTED)
    with working(database, labelled):
        until(lambda: "step 2" in seen(database).run.message and child_of(seen(database)) is not None)
        os.kill(child_of(seen(database)), signal.SIGKILL)
        until(lambda: seen(database).run.state is RunState.FAILED)
    assert "SIGKILL" in seen(database).run.message
    prepared = (asked.folder / "snapshot" / "slices.csv").stat().st_mtime_ns

    assert resume(database).id == asked.id
    assert run_requested(database, labelled, threading.Event())

    assert (asked.folder / "snapshot" / "slices.csv").stat().st_mtime_ns == prepared
    run = seen(database).run
    assert run.state is RunState.DONE, run.message
    with database.transaction() as connection:
        found = {bundle.name: bundle for bundle in list_bundles(connection)}
    (name,) = found.keys() - {"tiny"}
    candidate = found[name]
    assert candidate.state is BundleState.CANDIDATE
    assert candidate.sha256 == run.bundle_sha256
    assert candidate.parent_sha256 == found["tiny"].sha256 == read_manifest(Path(candidate.folder)).parent
    assert Path(candidate.folder) == labelled.storage.folder.absolute() / "bundles" / name
    verdict = gate(database, name, minimum_patients=GATE_MINIMUM_PATIENTS)
    assert (verdict.patients, verdict.positives, verdict.negatives) == (4, 2, 2)
    # the evaluation's own figures are those that the gate computes from the patients
    subject = candidate.metrics["challenger"]["subject"]
    assert subject["auc"] == pytest.approx(verdict.challenger.auc)
    assert subject["sensitivity"] == pytest.approx(verdict.challenger.sensitivity)
    assert candidate.metrics["champion"]["bundle_sha256"] == found["tiny"].sha256
    # patients' pictures went with the run, and no identity stayed
    assert not list(run.folder.rglob("*.png"))
    kept = " ".join(
        path.read_text() for path in run.folder.rglob("*") if path.suffix in (".csv", ".json", ".txt")
    )
    assert "patient 1" not in kept
    with pytest.raises(PromotionRefused, match="too thin"):
        promote(database, name, minimum_patients=GATE_MINIMUM_PATIENTS, now=now())

    if gate(database, name, minimum_patients=4).allowed:
        assert promote(database, name, minimum_patients=4, now=now()).gate_lowered
        rollback(database, now=now())
    with database.transaction() as connection:
        assert serving(connection).name == "tiny"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_cancelled_run_ends_its_process_and_can_be_resumed(database, labelled):
    start(database, labelled, now=now())
    with working(database, labelled):
        until(lambda: child_of(seen(database)) is not None)
        pid = child_of(seen(database))

        cancelled = cancel(database, now=now())

        assert cancelled.state is RunState.CANCELLED
        until(lambda: is_gone(pid))
    assert seen(database).run.state is RunState.CANCELLED
    assert resume(database).id == cancelled.id
    assert seen(database).run.state is RunState.REQUESTED


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_stopped_scheduler_takes_its_process_along_and_the_run_waits_for_the_next(database, labelled):
    start(database, labelled, now=now())
    with working(database, labelled) as stop:
        until(lambda: child_of(seen(database)) is not None)
        pid = child_of(seen(database))
        assert psutil.Process(pid).nice() == labelled.retraining.niceness
        assert os.getpgid(pid) == pid

        stop.set()

    assert is_gone(pid)
    assert seen(database).run.state is RunState.REQUESTED


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_process_that_was_left_behind_is_ended_and_its_run_can_be_resumed(database, labelled):
    begun = start(database, labelled, now=now())
    begun.folder.mkdir(parents=True)
    orphan = subprocess.Popen(["sleep", "600"], start_new_session=True)
    told = {"pid": orphan.pid, "create_time": psutil.Process(orphan.pid).create_time()}
    (begun.folder / "child.json").write_text(json.dumps(told))
    with database.transaction() as connection:
        claim_run(connection, holder="dead", lease_s=1, now=now() - timedelta(minutes=5))

    done = run_requested(database, labelled, threading.Event())

    assert not done
    assert is_gone(orphan.pid)
    orphan.wait(10)
    run = seen(database).run
    assert run.state is RunState.FAILED
    assert "retrain resume" in run.message
    assert resume(database).state is RunState.REQUESTED


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_stranger_with_the_number_of_an_old_process_is_left_alone(database, labelled):
    begun = start(database, labelled, now=now())
    begun.folder.mkdir(parents=True)
    stranger = psutil.Popen(["sleep", "600"], start_new_session=True)
    told = {"pid": stranger.pid, "create_time": stranger.create_time() - 3600}
    (begun.folder / "child.json").write_text(json.dumps(told))
    with database.transaction() as connection:
        claim_run(connection, holder="dead", lease_s=1, now=now() - timedelta(minutes=5))

    run_requested(database, labelled, threading.Event())

    assert stranger.is_running()
    stranger.kill()
    stranger.wait()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_run_cancelled_at_its_very_end_leaves_no_bundle_behind(database, settings, tmp_path):
    label(database, received(database, seed=1), Presence.ABSENT)
    start(database, settings, now=NOW)
    with database.transaction() as connection:
        run = claim_run(connection, holder="trainer", lease_s=60, now=NOW)
    job = _ready_to_register(database, settings, run)

    cancel(database, now=NOW)
    with pytest.raises(LeaseLost):
        register_candidate(job)

    assert [path.name for path in (settings.storage.folder / "bundles").iterdir()] == ["tiny"]
    with database.transaction() as connection:
        assert [bundle.name for bundle in list_bundles(connection)] == ["tiny"]


def _ready_to_register(database, settings, run):
    """A run whose bundle is trained, evaluated and compared: only the registry does not know it yet."""
    folder = RunFolder(path=run.folder)
    tiny_bundle(folder.training, low=0.4)
    for summary in (folder.champion, folder.challenger):
        summary.mkdir()
        (summary / "summary.json").write_text("{}")
    evidence = Evidence(champion_sha256=run.parent_sha256, champion_low=0.5, challenger_low=0.5, patients=())
    folder.write(folder.evidence, json.dumps(evidence.to_json()))
    attendance = Attendance(alive=lambda: None, stop=threading.Event(), niceness=0)
    return Job(
        database=database, settings=settings, run=run, folder=folder, attendance=attendance, tell=print
    )


def test_a_child_never_asks_for_a_better_place_than_ours(tmp_path):
    code = (
        "import os, sys, threading, pathlib\n"
        "from ich_node.retraining.child import Attendance, run_child\n"
        "from ich_node.retraining.folders import RunFolder\n"
        "os.nice(7)\n"
        "attendance = Attendance(alive=lambda: None, stop=threading.Event(), niceness=3)\n"
        "told = 'import os, time; time.sleep(0.5); print(os.nice(0), flush=True)'\n"
        "run_child(['timeit', '-n1', '-r1', told], RunFolder(path=pathlib.Path(sys.argv[1])), attendance)\n"
    )
    own = os.nice(0)

    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)

    assert (tmp_path / "log.txt").read_text().splitlines()[0] == str(min(own + 7, 19))


def test_only_one_run_is_active_and_the_second_is_told_what_to_do(database, settings):
    label(database, received(database, seed=1), Presence.ABSENT)
    start(database, settings, now=NOW)

    with pytest.raises(UsageError, match="retrain cancel"):
        start(database, settings, now=NOW)

    cancel(database, now=NOW)
    assert start(database, settings, now=NOW).active


def test_two_commands_at_once_start_one_run(database, settings):
    label(database, received(database, seed=1), Presence.ABSENT)
    answers: list[str] = []

    def _ask() -> None:
        try:
            answers.append(start(database, settings, now=NOW).state)
        except UsageError:
            answers.append("refused")

    threads = [threading.Thread(target=_ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert sorted(answers) == ["refused", "refused", "refused", "requested"]


def test_at_most_one_process_gets_a_run(database, settings):
    label(database, received(database, seed=1), Presence.ABSENT)
    start(database, settings, now=NOW)
    taken: list[object] = []

    def _claim(holder: str) -> None:
        with database.transaction() as connection:
            taken.append(claim_run(connection, holder=holder, lease_s=60, now=NOW))

    threads = [threading.Thread(target=_claim, args=(f"holder {number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len(taken) == 4
    assert sum(one is not None for one in taken) == 1


def test_without_labels_or_a_run_commands_say_what_comes_first(database, settings):
    with pytest.raises(UsageError, match="labels import"):
        start(database, settings, now=NOW)
    with pytest.raises(UsageError, match="no retraining"):
        cancel(database, now=NOW)
    with pytest.raises(UsageError, match="retrain start"):
        resume(database)
    with pytest.raises(UsageError, match="retrain start"):
        watch(database, Console(file=io.StringIO()), threading.Event())
    assert status(database) is None
    assert not run_requested(database, settings, threading.Event())


def test_too_few_patients_end_the_run_with_their_numbers(database, settings):
    for seed in range(3):
        label(
            database,
            received(database, seed=seed, bleed=seed == 0),
            (Presence.PRESENT, Presence.ABSENT)[seed > 0],
        )
    start(database, settings, now=NOW)

    run_requested(database, settings, threading.Event())

    run = seen(database).run
    assert run.state is RunState.FAILED
    assert "1 with a hemorrhage and 2 without" in run.message


def test_a_watcher_sees_how_it_ended(database, settings):
    label(database, received(database, seed=1), Presence.ABSENT)
    start(database, settings, now=NOW)
    run_requested(database, settings, threading.Event())
    shown = io.StringIO()

    run = watch(database, Console(file=shown, width=200), threading.Event())

    assert run.state is RunState.FAILED
    assert "failed: too few labelled patients" in shown.getvalue()


def test_on_a_terminal_the_time_that_is_left_is_told_with_what_it_covers():
    progress = TrainingProgress(epoch=2, epochs=10, step=12, steps=60, loss=0.5, left_s=301.0)

    assert remaining(progress) == "epoch 2/10, about 5 min of training left, then evaluation"
    assert remaining(None) == ""


def test_a_watcher_on_a_terminal_sees_the_steps_of_the_training(database, settings):
    label(database, received(database, seed=1), Presence.ABSENT)
    asked = start(database, settings, now=NOW)
    with database.transaction() as connection:
        claim_run(connection, holder="trainer", lease_s=60, now=NOW)
    (asked.folder / "training").mkdir(parents=True)
    told = {"epoch": 1, "epochs": 2, "step": 3, "steps": 8, "loss": 0.7, "eta_s": 20.0}
    (asked.folder / "training" / "progress.json").write_text(json.dumps(told))
    shown, stop = io.StringIO(), threading.Event()
    stop.set()

    run = watch(database, Console(file=shown, width=200, force_terminal=True), stop)

    assert run.state is RunState.RUNNING
    assert "epoch 1/2, less than a minute of training left" in shown.getvalue()
