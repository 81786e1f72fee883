"""Whatever an image does to the process that decodes it, the one that asked goes on and has an answer."""

import multiprocessing
import os
import signal
import time
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
from builders import ct_series, write_files

from ich_node.analysis.child import _serve
from ich_node.analysis.choose import choose_series, look_at
from ich_node.analysis.decoding import DecodingChild, _answering
from ich_node.analysis.files import read_headers
from ich_node.core.grounds import Rules
from ich_node.core.selection import Look
from ich_node.errors import AnalysisFailed
from ich_node.vocabulary import Reason

UNDECODABLE = (Look(holds_brain=None, reasons=(Reason.UNDECODABLE,)), None)


def _crash(members, paths, rules, *, trust_headers):
    os.abort()


def _crash_once(members, paths, rules, *, trust_headers):
    mark = next(iter(paths.values())).with_suffix(".crashed")
    if not mark.exists():
        mark.touch()
        os.abort()
    return look_at(members, paths, rules, trust_headers=trust_headers)


def _crash_at_series_3(members, paths, rules, *, trust_headers):
    if members[0].series_number == 3:
        os.abort()
    return look_at(members, paths, rules, trust_headers=trust_headers)


def _err(members, paths, rules, *, trust_headers):
    raise ValueError("DOE^JOHN")


def _run_for_ever(members, paths, rules, *, trust_headers):
    while True:
        time.sleep(1)


def _fill_memory(members, paths, rules, *, trust_headers):
    return np.ones(4 << 30, dtype=np.uint8)


def _seen(folder: Path):
    found = read_headers(write_files(ct_series(slices=20), folder)).instances
    return [one.facts for one in found], {one.facts.sop_instance_uid: one.path for one in found}


def _child(look=look_at, timeout_s=60.0):
    return DecodingChild(memory_mb=1000, timeout_s=timeout_s, look=look)


def test_a_child_sees_what_its_parent_would_see(tmp_path):
    members, paths = _seen(tmp_path)
    with _child() as child:
        look, series = child.look_at(members, paths, Rules(), trust_headers=False)

    here, expected = look_at(members, paths, Rules(), trust_headers=False)
    assert look == here
    assert (series.extent, series.sop_instance_uids) == (expected.extent, expected.sop_instance_uids)
    assert np.array_equal(series.volume.hu, expected.volume.hu)


@pytest.mark.parametrize(
    ("look", "timeout_s"),
    [pytest.param(_crash, 60, id="crashes"), pytest.param(_run_for_ever, 0.5, id="does not end")],
)
def test_a_decoder_that_crashes_or_does_not_end_leaves_its_series_undecodable(tmp_path, look, timeout_s):
    members, paths = _seen(tmp_path)
    with _child(look, timeout_s) as child:
        answers = [child.look_at(members, paths, Rules(), trust_headers=False) for _ in range(2)]

    assert answers == [UNDECODABLE] * 2
    assert not multiprocessing.active_children()


def test_an_error_of_ours_is_no_fault_of_the_images_and_names_nobody(tmp_path, capfd):
    members, paths = _seen(tmp_path)
    with _child(_err) as child, pytest.raises(AnalysisFailed, match=r"^decoding failed \(ValueError\)$"):
        child.look_at(members, paths, Rules(), trust_headers=False)

    assert "DOE" not in "".join(capfd.readouterr())


def test_the_limit_is_what_decoding_takes_beside_the_program(tmp_path):
    members, paths = _seen(tmp_path)
    with DecodingChild(memory_mb=100, timeout_s=60) as child:
        look, _ = child.look_at(members, paths, Rules(), trust_headers=False)

    assert look.holds_brain


def test_a_series_larger_than_the_memory_is_too_large(tmp_path):
    images = ct_series(slices=20, pixels=np.zeros((20, 1024, 1024), dtype=np.int16))
    found = read_headers(write_files(images, tmp_path)).instances
    paths = {one.facts.sop_instance_uid: one.path for one in found}
    with DecodingChild(memory_mb=30, timeout_s=60) as child:
        look, _ = child.look_at([one.facts for one in found], paths, Rules(), trust_headers=False)

    assert look.reasons == (Reason.TOO_LARGE,)


def test_a_child_that_dies_once_is_started_again(tmp_path):
    members, paths = _seen(tmp_path)
    with _child(_crash_once) as child:
        look, _ = child.look_at(members, paths, Rules(), trust_headers=False)

    assert look.holds_brain


def test_what_needs_more_memory_than_there_may_be_is_too_large(tmp_path):
    members, paths = _seen(tmp_path)
    with _child(_fill_memory) as child:
        look, _ = child.look_at(members, paths, Rules(), trust_headers=False)

    assert look.reasons == (Reason.TOO_LARGE,)


def test_the_child_ends_with_its_parent_and_not_before(tmp_path):
    members, paths = _seen(tmp_path)
    with _child() as child:
        child.look_at(members, paths, Rules(), trust_headers=False)
        (process,) = [psutil.Process(one.pid) for one in multiprocessing.active_children()]
        process.send_signal(signal.SIGTERM)  # as a service manager does to a whole group
        look, _ = child.look_at(members, paths, Rules(), trust_headers=False)
        same = process.is_running()

    assert (look.holds_brain, same) == (True, True)
    assert not process.is_running()


def test_a_child_whose_parent_is_killed_while_it_starts_ends_without_a_word(capfd):
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    ours.close()

    child = spawn.Process(target=_serve, args=(theirs, partial(_answering, look_at), 700))
    child.start()
    child.join(60)

    assert child.exitcode == 0
    assert capfd.readouterr().err == ""


def test_beside_a_series_that_cannot_be_decoded_another_is_read(tmp_path):
    write_files(ct_series(slices=20, AcquisitionTime="120000"), tmp_path / "2")
    write_files(
        ct_series(slices=20, series_number=3, acquisition=2, AcquisitionTime="130000"), tmp_path / "3"
    )
    found = read_headers(tmp_path.rglob("*.dcm")).instances
    with _child(_crash_at_series_3) as child:
        selection = choose_series(found, look=child.look_at).selection

    assert {one.series_number: one.reasons for one in selection.candidates} == {
        2: (),
        3: (Reason.UNDECODABLE,),
    }
    assert selection.verdict == "read"


def _forget_to_leave_room(members, paths, rules, *, trust_headers):
    class TooMuch:
        def __reduce__(self):
            raise MemoryError

    return Look(holds_brain=True), TooMuch()


def test_where_memory_is_short_for_the_answer_alone_the_series_is_too_large(tmp_path):
    members, paths = _seen(tmp_path)
    with _child(_forget_to_leave_room) as child:
        look, _ = child.look_at(members, paths, Rules(), trust_headers=False)

    assert look.reasons == (Reason.TOO_LARGE,)
