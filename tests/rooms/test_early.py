"""A positive does not wait for the rest of its study; anything else does."""

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from bench import Room, scan
from builders import ct_series
from pydicom import dcmread
from pydicom.filebase import DicomBytesIO
from reception import Message, accept, count

from ich_node.core.completion import SETTLED_S
from ich_node.core.states import StudyState
from ich_node.dicom.report import read_back
from ich_node.intake.close import close_complete_studies
from ich_node.intake.early import EarlyWatch
from ich_node.store.associations import keep_associations_open, open_association
from ich_node.store.claims import claim_early
from ich_node.store.history import history_of
from ich_node.worker import Stopping, work_once
from model.manifest import Thresholds

ALWAYS_POSITIVE = Thresholds(low=0.0, high=0.0)
ALWAYS_NEGATIVE = Thresholds(low=1.0, high=1.0)
START = datetime(2026, 11, 24, 12, tzinfo=UTC)
SLICES = 20  # of 6 mm

_scan = partial(scan, slices=SLICES)


class Arriving(Room):
    """A bench whose studies come image by image, by a clock of the test; the sender stays connected."""

    def __init__(self, *arguments, **sections):
        super().__init__(*arguments, **sections)
        self.register()
        self.watch = EarlyWatch(self.database, self.bench.archive)
        with self.database.transaction() as connection:
            self.sender = open_association(
                connection, receiver="r", calling_ae_title="CT1", address="::1", now=START
            )
            keep_associations_open(connection, "r", now=START + timedelta(hours=1))  # through a whole test

    def arrive(self, images, seconds):
        for image in images:
            answer = accept(
                Message.of(image).received(self.sender),
                database=self.database,
                archive=self.bench.archive,
                now=START + timedelta(seconds=seconds),
            )
            assert answer.status == 0

    def asks(self, seconds):
        return self.watch.look(now=START + timedelta(seconds=seconds))

    def events(self):
        study, *_ = self.look()
        with self.database.transaction() as connection:
            return [line.event for line in history_of(connection, study.id)]


@pytest.fixture
def room(tmp_path, database):
    return lambda thresholds=ALWAYS_POSITIVE: Arriving(tmp_path, database, thresholds)


def test_a_head_that_looks_whole_is_asked_for_as_soon_as_its_series_stops_growing(room):
    there = room()
    there.arrive(_scan(), 0)

    assert [there.asks(SETTLED_S - 0.1), there.asks(SETTLED_S), there.asks(SETTLED_S + 5)] == [0, 1, 0]


def test_a_positive_is_reported_while_other_series_still_come_and_they_do_not_stop_it(room):
    there = room()
    there.arrive(_scan(), 0)
    there.asks(2)
    others = iter(_scan(3, kernel="H70h", image_type=("ORIGINAL", "PRIMARY", "AXIAL")))

    def _another_comes(stage):
        if stage != "commit":  # that is within a transaction, and SQLite has one writer
            there.arrive([next(others)], 3)

    study, readings, reports, deliveries = there.work(at=_another_comes)

    assert (study.state, study.outcome, study.revision) == (StudyState.RECEIVING, "positive", 2)
    assert [(one.outcome, one.revision) for one in readings] == [("positive", 1)]
    assert len(reports) == len(deliveries) == 2


def test_a_positive_that_the_whole_study_confirms_is_reported_once(room):
    there = room()
    there.arrive(_scan(), 0)
    there.asks(2)
    there.work()
    there.arrive(_scan(3, kernel="H70h"), 3)
    again = there.asks(10)
    close_complete_studies(there.database, now=START + timedelta(hours=1), quiet_s=0, deadline_s=60)

    study, readings, reports, _ = there.work()

    assert again == 0
    assert (study.state, study.outcome) == (StudyState.FINISHED, "positive")
    assert len(reports) == 2
    assert [one.revision for one in readings if one.leading] == [1, 2]


def test_slices_of_the_head_that_come_later_make_a_new_report_that_names_the_first(room):
    there = room()
    scan = _scan(slices=SLICES + 4)
    there.arrive(scan[:SLICES], 0)
    there.asks(2)
    there.work()
    there.arrive(scan[SLICES:], 3)
    again = there.asks(60)  # a bleed is known already: nothing is more urgent than that
    close_complete_studies(there.database, now=START + timedelta(hours=1), quiet_s=0, deadline_s=60)

    study, _, reports, _ = there.work()

    documents = [dcmread(DicomBytesIO(one.content)) for one in reports if one.kind == "SR"]
    newest, first = documents
    (predecessor,) = newest.PredecessorDocumentsSequence
    named = predecessor.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    assert again == 0
    assert (study.outcome, study.revision) == ("positive", 2)
    assert named == first.SOPInstanceUID
    assert read_back(newest).outcome == "positive"


def test_slices_that_trickle_in_are_not_read_one_by_one(room):
    there = room(ALWAYS_NEGATIVE)
    scan = _scan(slices=SLICES + 6)
    asked = 0
    for number, image in enumerate(scan):
        there.arrive([image], 2 * number)
        asked += there.asks(2 * number + SETTLED_S)
        work_once(there.bench)

    assert 1 <= asked <= 2  # of eight heads that looked whole in 14 seconds
    assert there.asks(100) == 1  # and what came last is looked at all the same


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"PatientID": "SOMEBODY-ELSE"}, id="another patient"),
        pytest.param({"AccessionNumber": "MENDED"}, id="a mended accession number"),
    ],
)
def test_no_early_report_goes_out_under_an_identity_that_changed_during_the_reading(room, change):
    there = room()
    scan = _scan()
    there.arrive(scan, 0)
    there.asks(2)
    changed = scan[0]
    for keyword, value in change.items():
        setattr(changed, keyword, value)
    others = [_scan(3, **change)[0]] if "PatientID" in change else [changed]

    def _arrives(stage):
        if stage == "predict":
            there.arrive(others, 3)

    study, readings, reports, _ = there.work(at=_arrives)

    assert (study.state, study.outcome, readings, reports) == (StudyState.RECEIVING, None, [], [])


def test_anything_but_a_positive_waits_for_the_proof_and_leaves_no_result(room):
    there = room(ALWAYS_NEGATIVE)
    there.arrive(_scan(), 0)
    there.asks(2)

    early = there.work()
    close_complete_studies(there.database, now=START + timedelta(hours=1), quiet_s=0, deadline_s=7200)
    held_back = work_once(there.bench)

    study, readings, reports, _ = early
    assert (study.state, study.outcome, readings, reports) == (StudyState.RECEIVING, None, [], [])
    assert not held_back  # the sender is still there
    assert there.events()[-2:] == ["study.looks_whole", "study.early_reading_withheld"]


@pytest.mark.parametrize(
    "images",
    [
        pytest.param(_scan()[:12], id="half a head"),
        pytest.param([*_scan()[:9], *_scan()[10:]], id="a slice is missing"),
        pytest.param(_scan(slices=24)[::2], id="every second slice"),
        pytest.param(
            _scan(body_part="CHEST", description="Chest", study_description="CT CHEST", ProtocolName="Chest"),
            id="no head",
        ),
        pytest.param(_scan(contrast="OMNIPAQUE"), id="contrast"),
        pytest.param(_scan(PatientAge="010Y"), id="a child"),
    ],
)
def test_what_would_not_be_read_or_looks_cut_off_is_not_asked_for(room, images):
    there = room()
    there.arrive(images, 0)

    assert there.asks(60) == 0


def test_a_study_that_is_whole_meanwhile_waits_until_the_early_reading_is_done(room):
    there = room()
    there.arrive(_scan(), 0)
    there.asks(2)
    an_hour_later = {"now": datetime.now(UTC), "quiet_s": 0, "deadline_s": 60}
    queued = []

    def _close(stage):
        if stage != "commit":
            queued.append(close_complete_studies(there.database, **an_hour_later))

    after_early, *_ = there.work(at=_close)
    queued_then = close_complete_studies(there.database, **an_hour_later)
    study, readings, reports, _ = there.work()

    assert (after_early.state, after_early.outcome) == (StudyState.RECEIVING, "positive")
    assert (set(queued), queued_then) == ({0}, 1)
    assert (study.state, study.outcome, study.revision) == (StudyState.FINISHED, "positive", 2)
    assert (len(readings), len(reports)) == (2, 2)


def test_a_worker_that_died_over_an_early_reading_keeps_nothing_from_being_queued(room):
    there = room()
    there.arrive(_scan(), 0)
    there.asks(2)
    with there.database.transaction() as connection:
        claim_early(connection, holder="dead", lease_s=60, now=START + timedelta(seconds=3))

    queued = [
        close_complete_studies(there.database, now=START + timedelta(seconds=s), quiet_s=0, deadline_s=30)
        for s in (40, 64)
    ]

    assert queued == [0, 1]
    assert there.work()[0].outcome == "positive"


def test_a_fault_in_an_early_reading_costs_no_attempt_and_says_nothing(room):
    there = room()
    there.arrive(_scan(), 0)
    there.asks(2)

    def _break(stage):
        if stage == "predict":
            raise RuntimeError("out of memory")

    study, readings, reports, _ = there.work(at=_break)

    assert (study.state, study.attempts, readings, reports) == (StudyState.RECEIVING, 0, [], [])
    assert not work_once(there.bench)


def test_an_early_reading_that_a_stop_cut_short_is_made_by_the_next_worker(room):
    there = room()
    there.arrive(_scan(), 0)
    there.asks(2)

    def _stop(stage):
        if stage == "predict":
            raise Stopping

    with pytest.raises(Stopping):
        work_once(there.changed(at=_stop))

    study, *_ = there.look()
    assert (study.state, study.attempts, study.lease_holder) == (StudyState.RECEIVING, 0, None)
    assert there.work()[0].outcome == "positive"


def test_a_watch_that_begins_anew_does_not_ask_again_for_what_was_read(room):
    there = room(ALWAYS_NEGATIVE)
    there.arrive(_scan(), 0)
    there.asks(2)
    there.work()
    there.watch = EarlyWatch(there.database, there.bench.archive)

    assert there.asks(4) == 0
    assert count(there.database, "history", "event = 'study.looks_whole'") == 1


def test_a_file_that_is_gone_or_unreadable_does_not_stop_the_watch(room):
    there = room()
    images = _scan()
    there.arrive(images, 0)
    with there.database.transaction() as connection:
        first = connection.exec_driver_sql("select file from instances order by id limit 1").scalar_one()
    there.bench.archive.path(first).unlink()

    assert there.asks(2) == 1  # at the end of the stack: the others still look whole


def test_two_studies_that_come_interleaved_are_asked_for_each_by_itself(room):
    there = room()
    one, other = _scan(), ct_series(seed=9, slices=SLICES)
    for pair in zip(one, other, strict=True):
        there.arrive(pair, 0)

    assert there.asks(2) == 2
