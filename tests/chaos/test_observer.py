"""The observer can fail: what is lost, doubled or stuck is counted, and nothing else."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from builders import ct_series
from chaos.databases import SqlitePlace
from chaos.evidence import gather, pixels_in
from chaos.observer import Evidence, Findings, Received, SentStudy, StudyRow, count
from chaos.plan import TRICKS, TRICKS_ON_A_SERVER, WEIGHTS, Target, Trick, plan
from chaos.studies import pixels_sha256
from reception import Message, accept

from ich_node.core.states import StudyState
from ich_node.demo.pacs import stand_in_pacs
from ich_node.demo.scanner import send
from ich_node.store.database import Database
from ich_node.store.files import Archive
from ich_node.store.migration import migrate

SR_CLASS, SC_CLASS = "1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.5.1.4.1.1.7"
STUDY = SentStudy(number=7, study_uid="1.2", reported=True, acknowledged={"1.2.1": "a", "1.2.2": "b"})
SR = Received(study_uid="1.2", sop_class_uid=SR_CLASS, sop_instance_uid="9.1", sha256="first")
SC = Received(study_uid="1.2", sop_class_uid=SC_CLASS, sop_instance_uid="9.2", sha256="picture")
ROW = StudyRow(state="finished", outcome="negative", reports={"9.1": 1, "9.2": 1})
NEWER = StudyRow(state="finished", outcome="positive", reports={**ROW.reports, "9.3": 2, "9.4": 2})
WELL = Evidence(sent=(STUDY,), stored={"1.2.1": "a", "1.2.2": "b"}, rows={"1.2": ROW}, received=(SR, SC, SC))


def _counts(**wrong):
    names = ("lost_instances", "lost_reports", "doubled_reports", "stuck_studies")
    return {name: wrong.get(name, 0) for name in names}


def test_where_all_came_and_was_said_nothing_is_counted_not_even_an_identical_resend():
    assert count(WELL).counts() == _counts()
    assert not count(WELL)


@pytest.mark.parametrize(
    ("what", "seen", "expected"),
    [
        ("a file or row is gone", {"stored": {"1.2.1": "a"}}, {"lost_instances": 1}),
        ("a file holds something else", {"stored": {"1.2.1": "a", "1.2.2": "x"}}, {"lost_instances": 1}),
        ("a report never came", {"received": (SC,)}, {"lost_reports": 1}),
        ("no report came", {"received": ()}, {"lost_reports": 2}),
        ("none was made", {"received": (), "rows": {"1.2": replace(ROW, reports={})}}, {"lost_reports": 2}),
        ("only the first revision came", {"rows": {"1.2": NEWER}}, {"lost_reports": 2}),
        ("other bytes came", {"received": (SR, SC, replace(SR, sha256="later"))}, {"doubled_reports": 1}),
        (
            "two objects of one revision came",
            {
                "received": (SR, SC, replace(SR, sop_instance_uid="9.3")),
                "rows": {"1.2": replace(ROW, reports={**ROW.reports, "9.3": 1})},
            },
            {"doubled_reports": 1},
        ),
        (
            "an object came that the node forgot",
            {"received": (SR, SC, replace(SC, sop_instance_uid="9.5"))},
            {"doubled_reports": 1},
        ),
        ("it waits", {"rows": {"1.2": replace(ROW, state="ready", outcome=None)}}, {"stuck_studies": 1}),
        ("it arrives", {"rows": {"1.2": replace(ROW, state="receiving")}}, {"stuck_studies": 1}),
        ("no row", {"stored": {}, "rows": {}}, {"lost_instances": 2, "stuck_studies": 1}),
    ],
)
def test_whatever_is_wrong_is_counted_under_its_name_and_says_the_number_of_its_study(what, seen, expected):
    found = count(replace(WELL, **seen))

    assert found.counts() == _counts(**expected), what
    assert found
    assert all("study 7" in line for line in found.words())


def test_a_second_revision_is_no_double_and_an_ignored_study_needs_no_report():
    second = (replace(SR, sop_instance_uid="9.3"), replace(SC, sop_instance_uid="9.4"))
    ignored = replace(ROW, outcome="ignored", reports={})

    assert not count(replace(WELL, received=(SR, SC, *second), rows={"1.2": NEWER}))
    assert not count(
        replace(WELL, sent=(replace(STUDY, reported=False),), received=(), rows={"1.2": ignored})
    )
    assert count(replace(WELL, received=(), rows={"1.2": ignored})).counts() == _counts(lost_reports=2)


def test_a_study_of_which_nothing_was_acknowledged_may_be_unknown_but_not_stuck():
    unheard = (replace(STUDY, acknowledged={}),)

    assert not count(Evidence(sent=unheard, stored={}, rows={}, received=()))
    waiting = {"1.2": StudyRow(state="receiving", outcome=None)}
    assert count(Evidence(sent=unheard, stored={}, rows=waiting, received=())).counts() == _counts(
        stuck_studies=1
    )


def test_what_several_rounds_found_is_counted_once():
    one = count(replace(WELL, received=(SC,)))

    assert (one | one | Findings()).counts() == _counts(lost_reports=1)


def test_a_seed_gives_the_same_rounds_again_and_every_target_and_trick_comes_up():
    rounds = [plan(7, number, TRICKS_ON_A_SERVER) for number in range(1, 61)]

    assert rounds == [plan(7, number, TRICKS_ON_A_SERVER) for number in range(1, 61)]
    assert {kill.target for one in rounds for kill in one.kills} == set(WEIGHTS)
    assert set(Target) - set(WEIGHTS) == {Target.SUPERVISOR}
    assert {one.trick for one in rounds} == {Trick.NONE, *TRICKS_ON_A_SERVER}
    assert {plan(7, number).trick for number in range(1, 61)} == {Trick.NONE, *TRICKS}
    numbers = [study.number for one in rounds for study in one.studies]
    assert len(numbers) == len(set(numbers))


@pytest.fixture
def seen(tmp_path):
    """A study of three images in a real archive, database and PACS, whose report came."""
    place = SqlitePlace(tmp_path / "database")
    database, archive = Database(place.url), Archive(tmp_path, reserve_mb=0)
    now = datetime.now(UTC)
    migrate(database, new_uid="1.2.3", now=now)
    images = ct_series(slices=3)
    for image in images:
        accept(Message.of(image).received(), database=database, archive=archive, now=now)
    acknowledged = {str(image.SOPInstanceUID): pixels_sha256(image) for image in images}
    sent = SentStudy(
        number=1, study_uid=str(images[0].StudyInstanceUID), reported=False, acknowledged=acknowledged
    )
    with stand_in_pacs(tmp_path / "pacs") as pacs:
        yield sent, place, database, tmp_path / "images", pacs
    database.dispose()


def _look(seen) -> Findings:
    sent, place, _, images, pacs = seen
    return count(gather([sent], place.rows, images, pacs, pixels_in))


def _set(seen, statement):
    with seen[2].transaction() as connection:
        connection.exec_driver_sql(statement)


def test_a_file_that_is_gone_or_cut_or_without_its_row_is_found_in_a_real_archive(seen):
    _set(seen, f"update studies set state = '{StudyState.FINISHED}', outcome = 'ignored'")
    files = sorted(seen[3].rglob("*.dcm"))

    assert _look(seen).counts() == _counts()
    files[0].unlink()
    assert _look(seen).counts() == _counts(lost_instances=1)
    files[1].write_bytes(files[1].read_bytes()[:-100])
    assert _look(seen).counts() == _counts(lost_instances=2)
    _set(seen, "delete from instances")
    assert _look(seen).counts() == _counts(lost_instances=3)


def test_a_study_without_its_end_is_found_in_a_real_database_and_an_older_one_lacks_it(seen):
    assert _look(seen).counts() == _counts(stuck_studies=1)
    seen[2].dispose()
    seen[1].copy()
    _set(seen, f"update studies set state = '{StudyState.FINISHED}', outcome = 'ignored'")
    assert not _look(seen)
    seen[2].dispose()

    seen[1].restore()

    assert _look(seen).counts() == _counts(stuck_studies=1)


def test_other_bytes_under_one_uid_are_found_in_a_real_pacs(seen):
    _set(seen, f"update studies set state = '{StudyState.FINISHED}', outcome = 'ignored'")
    report = ct_series(slices=1, description="stands for a report")[0]
    report.SOPInstanceUID = report.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    pacs = {"host": "127.0.0.1", "port": seen[4].port, "called_ae": "PACS"}

    send([report], **pacs)
    send([report], **pacs)
    assert _look(seen).counts() == _counts()
    report.SeriesDescription = "says it in other words"
    send([report], **pacs)

    assert _look(seen).counts() == _counts(doubled_reports=1)
