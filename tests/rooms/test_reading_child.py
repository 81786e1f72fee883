"""Whatever reading does to the process that reads, a study ends visibly and the next one is read."""

import multiprocessing
import os
import signal
import time
from dataclasses import replace
from functools import partial

import numpy as np
import psutil
import pytest
from bench import Room, scan
from model_builders import drawn_volume, tiny_bundle

from ich_node.analysis import reading
from ich_node.analysis.loaded import LoadedReader
from ich_node.analysis.reading import CPU, ReadingChild
from ich_node.core.states import StudyState
from ich_node.errors import AnalysisFailed
from ich_node.store.bundles import ServingBundle
from ich_node.worker import Stopping
from model.errors import BundleError, ModelFailure
from model.manifest import Thresholds, bundle_sha256

ALWAYS_NEGATIVE = Thresholds(low=1.0, high=1.0)
CARD = "cuda: a card"
NEXT = "1.2.3.51"


def _crash():
    os.kill(os.getpid(), signal.SIGSEGV)


def _hang():
    while True:
        time.sleep(1)


def _grow():
    hoard = []
    while True:
        hoard.append(np.ones(10_000_000, dtype=np.uint8))
        time.sleep(0.01)


def _lose_the_card():
    raise RuntimeError("CUDA error: DOE^JOHN")


def _give_no_number():
    raise ModelFailure("the network gave a score that is no number")


TROUBLES = [_crash, _hang, _grow, _lose_the_card, _give_no_number]
either = pytest.mark.parametrize("trouble", TROUBLES, ids=lambda one: one.__name__.strip("_"))


class Troubled:
    """Reads as usual on the CPU; elsewhere, or once a file is there, trouble comes first."""

    def __init__(self, device, trouble, *, also_on_cpu, mark):
        self._reader, self._on_cpu = LoadedReader(CPU), device == CPU
        self._trouble, self._also_on_cpu, self._mark = trouble, also_on_cpu, mark

    def take(self, bundle):
        self._served = self._reader.take(bundle)
        return self

    @property
    def manifest(self):
        return self._served.manifest

    @property
    def device_name(self):
        return self._served.device_name if self._on_cpu else CARD

    def predict(self, volume, *, at):
        at("predict")
        if self._mark is not None and not self._mark.exists():
            return replace(self._served.predict(volume), device=self.device_name)
        if not self._on_cpu or self._also_on_cpu:
            self._trouble()
        return self._served.predict(volume)


def troubled(device, *, trouble, also_on_cpu=False, mark=None):
    return Troubled(device, trouble, also_on_cpu=also_on_cpu, mark=mark)


def child_with(load=reading.load_here, device=CPU, *, timeout_s=60.0, memory_mb=3000):
    return ReadingChild(device, memory_mb=memory_mb, timeout_s=timeout_s, load=load)


def bounds_for(trouble):
    """Limits that the trouble at hand runs into soon."""
    return {_hang: {"timeout_s": 8.0}, _grow: {"memory_mb": 300}}.get(trouble, {})


@pytest.fixture
def bundle(tmp_path):
    folder = tiny_bundle(tmp_path / "bundle", heat_map=True)
    return ServingBundle(
        name="tiny", sha256=bundle_sha256(folder), folder=folder, gate_lowered=False, gate_minimum=None
    )


def test_a_child_reads_as_its_parent_would(bundle):
    volume, stages = drawn_volume(12), []
    with child_with() as child:
        found = child.take(bundle).predict(volume, at=stages.append)

        here = LoadedReader(CPU).take(bundle)
        assert (child.manifest, child.device_name) == (here.manifest, here.device_name)
    expected = here.predict(volume)
    assert stages == ["brace", "predict"]
    assert (found.score, found.key_slices) == (expected.score, expected.key_slices)
    assert np.array_equal(found.slice_scores, expected.slice_scores)
    assert np.array_equal(found.evidence, expected.evidence)


@either
def test_what_a_card_cannot_do_the_cpu_does(bundle, trouble, capfd):
    load = partial(troubled, trouble=trouble)
    with child_with(load, None, **bounds_for(trouble)) as child:
        served = child.take(bundle)
        assert served.device_name == CARD
        found = served.predict(drawn_volume(9), at=lambda _: None)

        assert found.device == served.device_name != CARD
        assert found.score == LoadedReader(CPU).take(bundle).predict(drawn_volume(9)).score
        # and the next study does not wait for the card again
        assert child.take(bundle).device_name.startswith(CPU)
    assert "DOE" not in "".join(capfd.readouterr())


def test_after_a_while_the_card_is_tried_again(bundle, monkeypatch):
    now_s = [1000.0]
    monkeypatch.setattr(reading, "monotonic", lambda: now_s[0])
    with child_with(partial(troubled, trouble=_lose_the_card), None) as child:
        child.take(bundle).predict(drawn_volume(9), at=lambda _: None)
        assert child.take(bundle).device_name.startswith(CPU)

        now_s[0] += reading.CPU_FOR_S
        assert child.take(bundle).device_name == CARD


@pytest.mark.parametrize(
    "trouble", [_crash, _hang, _grow, _give_no_number], ids=lambda one: one.__name__.strip("_")
)
def test_what_the_cpu_cannot_do_is_our_fault_and_the_next_volume_is_read(bundle, trouble, tmp_path):
    mark = tmp_path / "trouble"
    load = partial(troubled, trouble=trouble, also_on_cpu=True, mark=mark)
    with child_with(load, **bounds_for(trouble)) as child:
        mark.touch()
        with pytest.raises(AnalysisFailed):
            child.take(bundle).predict(drawn_volume(9), at=lambda _: None)
        mark.unlink()

        assert 0 <= child.take(bundle).predict(drawn_volume(9), at=lambda _: None).score <= 1


def test_a_bundle_that_cannot_be_loaded_is_refused_in_words_until_it_can(bundle, tmp_path):
    other = tiny_bundle(tmp_path / "other", study_thresholds=ALWAYS_NEGATIVE)
    second = replace(bundle, sha256=bundle_sha256(other), folder=other)
    manifest = (other / "manifest.json").read_bytes()
    (other / "manifest.json").write_text("{}")
    with child_with() as child:
        child.take(bundle)
        for _ in range(2):  # what was ready before does not stand in for it
            with pytest.raises(BundleError, match="manifest"):
                child.take(second)

        (other / "manifest.json").write_bytes(manifest)

        assert child.take(second).manifest.study_thresholds == ALWAYS_NEGATIVE
        assert child.predict(drawn_volume(9), at=lambda _: None).device.startswith(CPU)


def test_a_card_that_is_asked_for_and_is_not_there_leaves_the_cpu(bundle):
    with child_with(device="cuda:7") as child:
        assert child.take(bundle).device_name.startswith(CPU)


def test_a_study_that_breaks_the_reading_process_ends_as_failed_and_the_next_is_read(tmp_path, database):
    there = Room(tmp_path, database, ALWAYS_NEGATIVE, analysis={"attempts": 2, "retry_s": 0.001}).register()
    there.receive(scan())
    mark = tmp_path / "trouble"
    mark.touch()
    load = partial(troubled, trouble=_crash, also_on_cpu=True, mark=mark)
    with child_with(load) as child:
        first, *_ = there.work(reader=child)
        study, _, reports, _ = there.work(reader=child)
        mark.unlink()
        there.receive(scan(study_uid=NEXT))
        following, *_ = there.work(NEXT, reader=child)

    assert first.state is StudyState.READY
    assert (study.outcome, study.reason) == ("failed", "MODEL_FAILED")
    assert len(reports) == 2
    assert following.outcome == "negative"


def test_who_is_told_to_stop_does_not_wait_for_the_reading(bundle):
    def _stop(stage):
        raise Stopping

    with child_with(partial(troubled, trouble=_hang), None) as child:
        child.take(bundle)
        (process,) = [psutil.Process(one.pid) for one in multiprocessing.active_children()]
        with pytest.raises(Stopping):
            child.predict(drawn_volume(9), at=_stop)

        assert not process.is_running()
