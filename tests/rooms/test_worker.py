"""What the worker makes of studies: every one ends once and visibly, and never as negative out of doubt."""

import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from bench import STUDY, Room, scan
from model_builders import tiny_bundle
from pydicom import dcmread
from pydicom.filebase import DicomBytesIO
from reception import Message, count

from ich_node import worker
from ich_node.core.states import DeliveryState, StudyState
from ich_node.dicom.key_slice import OUTLINE
from ich_node.dicom.report import read_back
from ich_node.intake.close import close_complete_studies
from ich_node.store.associations import open_association
from ich_node.store.claims import claim_study
from ich_node.store.deliveries import send_again
from ich_node.store.studies import ask_again, find_instances, find_study
from ich_node.worker import Stopping, work_once
from model.manifest import Thresholds
from model.predict import Predictor

ALWAYS_POSITIVE = Thresholds(low=0.0, high=0.0)
ALWAYS_NEGATIVE = Thresholds(low=1.0, high=1.0)


@pytest.fixture
def room(tmp_path, database):
    return lambda thresholds=ALWAYS_NEGATIVE, **sections: Room(
        tmp_path, database, thresholds, **sections
    ).register()


def _said(report):
    return read_back(dcmread(DicomBytesIO(report.content)))


def test_a_study_is_read_once_reported_twice_over_and_put_into_the_outbox(room):
    there = room(ALWAYS_POSITIVE)
    there.receive(scan())

    study, readings, reports, deliveries = there.work()

    assert (study.state, study.outcome) == (StudyState.FINISHED, "positive")
    assert [reading.leading for reading in readings] == [True]
    assert sorted(report.kind for report in reports) == ["SC", "SR"]
    assert [delivery.state for delivery in deliveries] == [DeliveryState.PENDING] * 2
    assert not work_once(there.bench)


@pytest.mark.parametrize("thresholds", [ALWAYS_POSITIVE, ALWAYS_NEGATIVE], ids=["positive", "negative"])
def test_the_page_shows_the_images_to_look_at_first_and_names_them(room, thresholds):
    there = room(thresholds)
    images = scan()
    there.receive(images)

    study, _, reports, _ = there.work()

    by_kind = {report.kind: report for report in reports}
    keys = _said(by_kind["SR"]).key_instances
    page = dcmread(DicomBytesIO(by_kind["SC"].content))
    assert len(keys) == (5 if study.outcome == "positive" else 0)
    named = [image.ReferencedSOPInstanceUID for image in page.get("SourceImageSequence", [])]
    assert sorted(named) == sorted(keys)
    places = [[image.SOPInstanceUID for image in images].index(uid) for uid in named[1:]]
    assert places == sorted(places), "the small pictures run from foot to head"
    assert page.Rows == (1024 if keys else 768)


@pytest.mark.parametrize("shown", [True, False])
def test_a_line_round_the_signs_of_blood_is_drawn_only_where_the_bundle_may_show_it(
    tmp_path, database, shown
):
    points = {"study_thresholds": ALWAYS_POSITIVE, "slice_thresholds": ALWAYS_POSITIVE}
    bundle = tiny_bundle(tmp_path / "bundle", heat_map=shown, log_odds=4.0, **points)
    there = Room(tmp_path, database, bundle=str(bundle)).register()
    there.receive(scan())

    _, _, reports, _ = there.work()

    (page,) = (report for report in reports if report.kind == "SC")
    pixels = dcmread(DicomBytesIO(page.content)).pixel_array
    color = [int(OUTLINE[place : place + 2], 16) for place in (1, 3, 5)]
    assert (pixels == color).all(axis=2).any() == shown


def test_a_header_full_of_rubbish_still_ends_in_a_report(room):
    there = room(ALWAYS_NEGATIVE, analysis={"attempts": 1})
    whole, broken = (
        b"\x08\x00\x32\x10SQ\0\0\0\0\0\0",
        b"\x08\x00\x32\x10UN\0\0\x06\0\0\0\xfe\xff\x00\xe0\x08\x00",
    )
    messages = [Message.of(image) for image in scan(ProcedureCodeSequence=[])]
    assert all(whole in message.dataset for message in messages)
    there.receive_messages(
        replace(message, dataset=message.dataset.replace(whole, broken)) for message in messages
    )

    study, _, reports, _ = there.work()

    assert study.state is StudyState.FINISHED
    assert len(reports) == 2
    assert _said(reports[0]).conclusion


def test_a_reading_that_breaks_on_the_last_attempt_takes_no_positive_along(room):
    there = room(ALWAYS_POSITIVE, analysis={"attempts": 1})
    there.receive(scan(2), scan(3))
    begun = []

    def _break_the_second(stage):
        begun.append(stage)
        if begun.count("predict") == 2 and stage == "predict":
            raise RuntimeError("out of memory")

    study, readings, reports, _ = there.work(at=_break_the_second)

    assert study.outcome == "positive"
    assert [reading.outcome for reading in readings] == ["positive", "failed"]
    assert _said(reports[0]).outcome == "positive"


@pytest.mark.parametrize(
    ("thresholds", "outcome"), [(ALWAYS_NEGATIVE, "declined"), (ALWAYS_POSITIVE, "positive")]
)
def test_where_a_slice_can_no_longer_be_read_a_positive_stays_and_a_negative_does_not(
    room, thresholds, outcome
):
    there = room(thresholds)
    images = scan()
    there.receive(images)
    with there.database.transaction() as connection:
        (last,) = find_instances(connection, images[-1].SOPInstanceUID)
    path = there.bench.archive.path(last.file)
    path.chmod(0o600)
    path.write_bytes(b"no DICOM")

    study, *_ = there.work()

    assert study.outcome == outcome
    assert study.reason == ("INCOMPLETE" if outcome == "declined" else None)


def test_before_the_last_attempt_a_reading_that_breaks_is_tried_again(room):
    there = room(ALWAYS_POSITIVE, analysis={"attempts": 2, "retry_s": 0.001})
    there.receive(scan())

    def _break(stage):
        if stage == "predict":
            raise RuntimeError("out of memory")

    waiting, *_ = there.work(at=_break)
    study, *_ = there.work()

    assert (waiting.state, waiting.outcome) == (StudyState.READY, None)
    assert study.outcome == "positive"


def test_a_second_head_scan_with_holes_forbids_to_say_negative(room):
    there = room(ALWAYS_NEGATIVE)
    holed = scan(3, slices=20)
    there.receive(scan(2), [*holed[:7], *holed[12:]])

    study, readings, _, _ = there.work()

    assert (study.outcome, study.reason) == ("declined", "INCOMPLETE")
    assert {(reading.outcome, reading.reason) for reading in readings} == {
        ("declined", "INCOMPLETE"),
        ("negative", None),
    }


def test_a_bone_series_beside_the_head_scan_leaves_no_doubt(room):
    there = room(ALWAYS_NEGATIVE)
    there.receive(scan(2), scan(3, kernel="H60s", description="Bone"))

    study, *_ = there.work()

    assert study.outcome == "negative"


def test_the_same_study_read_again_with_the_same_result_brings_no_second_report(room):
    there = room()
    there.receive(scan())
    study, *_ = there.work()
    with there.database.transaction() as connection:
        ask_again(connection, study, now=datetime.now(UTC))

    again, readings, reports, _ = there.work()

    assert again.revision == study.revision + 1
    assert len(readings) == 2
    assert len(reports) == 2


def test_a_mended_patient_id_brings_a_new_report_that_names_the_one_it_replaces(room):
    there = room()
    images = scan()
    there.receive(images)
    _, _, first, _ = there.work()
    for image in images:
        image.PatientID = "MENDED"
    there.receive(images)

    study, _, reports, deliveries = there.work()

    assert study.revision > 1
    newest = _said(reports[0])
    assert newest.predecessors == (next(one.sop_instance_uid for one in first if one.kind == "SR"),)
    assert dcmread(DicomBytesIO(reports[0].content)).PatientID == "MENDED"
    assert len(deliveries) == 4


def test_what_was_read_in_quiet_mode_can_be_sent_when_the_mode_is_report(room):
    there = room(mode="quiet")
    there.receive(scan())
    study, _, _, before = there.work()
    assert before == []

    with there.database.transaction() as connection:
        queued = send_again(connection, study.id, destinations=["pacs"], now=datetime.now(UTC))
    _, _, _, after = there.look()

    assert queued == 2
    assert [delivery.state for delivery in after] == [DeliveryState.PENDING] * 2


def test_without_a_bundle_no_study_is_claimed_and_none_loses_an_attempt(tmp_path, database):
    there = Room(tmp_path, database, ALWAYS_POSITIVE)
    there.receive(scan())

    with pytest.raises(Exception, match="migrate"):
        work_once(there.bench)
    waiting, *_ = there.look()
    study, *_ = there.register().work()

    assert waiting.attempts == 0
    assert study.outcome == "positive"


def test_a_study_whose_files_are_gone_ends_as_failed_with_a_report(room):
    there = room(ALWAYS_POSITIVE, analysis={"attempts": 1})
    there.receive(scan())
    with there.database.transaction() as connection:
        from ich_node.store.images import files_of

        study = find_study(connection, STUDY)
        there.bench.archive.delete(files_of(connection, study.id))

    study, _, reports, _ = there.work()

    assert (study.outcome, study.reason) == ("failed", "MODEL_FAILED")
    assert _said(reports[0]).reason == "MODEL_FAILED"


def test_a_study_that_lost_some_files_is_declined_and_never_negative(room):
    there = room(ALWAYS_NEGATIVE, analysis={"attempts": 1})
    there.receive(scan())
    with there.database.transaction() as connection:
        from ich_node.store.images import files_of

        study = find_study(connection, STUDY)
        there.bench.archive.delete(files_of(connection, study.id)[:3])

    study, *_ = there.work()

    assert (study.outcome, study.reason) == ("declined", "INCOMPLETE")


def test_a_worker_that_is_told_to_stop_gives_the_study_back_without_losing_an_attempt(room):
    there = room(ALWAYS_POSITIVE)
    there.receive(scan())

    with pytest.raises(Stopping):
        work_once(replace(there.bench, at=lambda stage: stage == "predict" and there.bench.stop.set()))
    waiting, *_ = there.look()
    there.bench.stop.clear()
    study, *_ = there.work()

    assert (waiting.state, waiting.lease_holder, waiting.attempts) == (StudyState.READY, None, 0)
    assert study.outcome == "positive"


@pytest.mark.parametrize("breaks", ["all of it", "the network"])
def test_a_bleed_that_was_reported_is_not_taken_back_by_a_reading_that_fails(room, monkeypatch, breaks):
    there = room(ALWAYS_POSITIVE, analysis={"attempts": 1})
    there.receive(scan())
    there.work()
    with there.database.transaction() as connection:
        ask_again(connection, find_study(connection, STUDY), now=datetime.now(UTC))

    def _breaks(*_, **__):
        raise OSError

    if breaks == "all of it":
        monkeypatch.setattr(worker, "analyse", _breaks)
    else:
        monkeypatch.setattr(Predictor, "predict", _breaks)
    study, readings, reports, _ = there.work()

    assert (study.state, study.outcome, study.revision) == (StudyState.FINISHED, "positive", 2)
    assert (len(readings), len(reports)) == (1, 2)
    assert count(there.database, "history", "event = 'study.positive_stands'") == 1


def test_work_that_hangs_loses_its_study_to_another_worker(room):
    there = room(ALWAYS_POSITIVE, analysis={"lease_s": 1})
    there.receive(scan())
    taken = []

    def _hang(stage):
        if stage == "predict":
            time.sleep(2)
            with there.database.transaction() as connection:
                taken.append(claim_study(connection, holder="other", lease_s=60, now=datetime.now(UTC)))

    assert work_once(there.changed(at=_hang, hangs=lambda: True))
    study, _, reports, _ = there.look()

    assert taken[0] is not None
    assert (study.state, study.lease_holder, reports) == (StudyState.READY, "other", [])


def test_a_study_that_still_arrives_and_is_read_by_hand_is_never_negative(room):
    there = room(ALWAYS_NEGATIVE)
    there.receive(scan())
    with there.database.transaction() as connection:
        connection.exec_driver_sql("update studies set state = 'receiving'")
        ask_again(connection, find_study(connection, STUDY), now=datetime.now(UTC))

    study, *_ = there.work()

    assert (study.outcome, study.reason) == ("declined", "INCOMPLETE")


def test_two_patients_in_one_study_are_for_a_person_to_solve(room):
    from ich_node.demo.ct_images import made_up_patient

    there = room(ALWAYS_POSITIVE)
    there.receive(scan(2, patient=made_up_patient(1)), scan(3, patient=made_up_patient(2)))

    study, *_ = there.work()

    assert (study.outcome, study.reason) == ("declined", "CONFLICT")


@pytest.mark.parametrize(
    ("thresholds", "expected"),
    [(ALWAYS_NEGATIVE, ("declined", "INCOMPLETE")), (ALWAYS_POSITIVE, ("positive", None))],
    ids=["would be negative", "is positive"],
)
def test_what_is_taken_while_its_sender_is_still_there_is_never_called_negative(room, thresholds, expected):
    there = room(thresholds)
    with there.database.transaction() as connection:
        association = open_association(
            connection, receiver="r", calling_ae_title="CT1", address="::1", now=datetime.now(UTC)
        )
    there.receive_messages((Message.of(image) for image in scan()), association_id=association)
    close_complete_studies(there.database, now=datetime.now(UTC), quiet_s=0, deadline_s=0)

    study, *_ = there.work()

    assert (study.outcome, study.reason) == expected


def test_files_that_are_away_for_a_moment_cost_an_attempt_and_no_outcome(room):
    there = room(ALWAYS_POSITIVE, analysis={"attempts": 2, "retry_s": 0.001})
    there.receive(scan())
    images, away = (there.settings.storage.folder / name for name in ("images", "away"))
    images.rename(away)

    waiting, *_ = there.work()
    away.rename(images)
    study, *_ = there.work()

    assert (waiting.state, waiting.outcome) == (StudyState.READY, None)
    assert study.outcome == "positive"


@pytest.mark.parametrize(
    ("slices", "thresholds", "expected", "said"),
    [
        pytest.param(
            slice(0, 12), ALWAYS_NEGATIVE, ("declined", "INCOMPLETE"), "the vertex", id="lower half"
        ),
        pytest.param(
            slice(9, None),
            ALWAYS_NEGATIVE,
            ("declined", "INCOMPLETE"),
            "the base of the skull",
            id="upper half",
        ),
        pytest.param(
            slice(0, 12), ALWAYS_POSITIVE, ("positive", None), "the vertex", id="a bleed in half a head"
        ),
        pytest.param(slice(None), ALWAYS_NEGATIVE, ("negative", None), None, id="whole"),
    ],
)
def test_half_a_head_is_never_negative_and_the_report_says_what_is_missing(
    room, slices, thresholds, expected, said
):
    there = room(thresholds)
    there.receive(scan(slices=20)[slices])

    study, readings, reports, _ = there.work()

    words = f"The scan does not reach {said}."
    assert (study.outcome, study.reason) == expected
    assert (words in _said(reports[0]).conclusion) == (said is not None)
    assert len(readings[0].result["extent"]["not_covered"]) == (said is not None)
