"""Labels by CSV: what is taken, what is refused by its line, and that nothing is taken silently wrong."""

import csv
import io
from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from learning import NOW, label, labels_file, received, study_uid

from ich_node.core.consensus import Opinion, Presence, consensus
from ich_node.errors import UsageError
from ich_node.retraining.labels import export_labels, import_labels
from ich_node.retraining.labels_csv import COLUMNS, parse_labels, write_labels
from ich_node.store.database import Database
from ich_node.store.history import history_of
from ich_node.store.labels import Identity, Label, opinions_of
from ich_node.vocabulary import Location

HEADER = ",".join(COLUMNS)
FULL = {
    "hemorrhage": "present",
    "location": "lobar",
    "reader": "R1",
    "read_at": "2026-05-04T07:30:00+02:00",
    "saw_result": "no",
    "confidence": "0.8",
}


def row(**changes: str) -> dict[str, str]:
    return {**FULL, **changes}


def opinions(database: Database, study_id: int) -> list[Opinion]:
    with database.transaction() as connection:
        return opinions_of(connection, study_id)


@pytest.mark.parametrize("named", ["study_uid", "accession_number", "patient_id"])
def test_one_identifier_is_enough(database, tmp_path, named):
    study = received(database, seed=1, patient_id="P1", accession_number="A1")
    names = {"study_uid": study_uid(database, study), "accession_number": "A1", "patient_id": "P1"}

    result = import_labels(database, labels_file(tmp_path, row(**{named: names[named]})), now=NOW)

    assert (result.added, result.unchanged, result.problems) == (1, 0, ())
    (found,) = opinions(database, study)
    assert (found.hemorrhage, found.location, found.reader) == (Presence.PRESENT, Location.LOBAR, "R1")
    assert (found.saw_result, found.confidence) == (False, 0.8)
    assert found.read_at.isoformat() == "2026-05-04T05:30:00+00:00"
    with database.transaction() as connection:
        assert "label.added" in [line.event for line in history_of(connection, study)]


def test_the_same_file_again_changes_nothing(database, tmp_path):
    study = received(database, seed=1, patient_id="P1")
    untimed = row(patient_id="P1", read_at="", reader="R2", hemorrhage="absent", location="")
    file = labels_file(tmp_path, row(patient_id="P1"), untimed)

    first = import_labels(database, file, now=NOW)
    second = import_labels(database, file, now=NOW + timedelta(days=3))

    assert (first.added, first.unchanged) == (2, 0)
    assert (second.added, second.unchanged, second.problems) == (0, 2, ())
    assert len(opinions(database, study)) == 2


def test_what_was_exported_comes_in_again_unchanged(database, tmp_path):
    received(database, seed=1, patient_id="=1+2", accession_number="'-7")
    study = received(database, seed=2, patient_id='say "x", y')
    label(database, study, Presence.UNDETERMINED, reader="@home")
    label(database, study, Presence.PRESENT, location=Location.DEEP, hours=1)
    import_labels(database, labels_file(tmp_path, row(patient_id="=1+2")), now=NOW)
    written = io.StringIO()

    count = export_labels(database, written)

    assert count == 3
    assert not any(
        field[:1] in "=+@" for line in csv.reader(written.getvalue().splitlines()) for field in line if field
    )
    again = tmp_path / "again.csv"
    again.write_text(written.getvalue(), encoding="utf-8")
    result = import_labels(database, again, now=NOW + timedelta(days=1))
    assert (result.added, result.unchanged, result.problems) == (0, 3, ())


def test_a_patient_with_two_studies_is_refused_by_line_and_the_rest_is_taken(database, tmp_path):
    received(database, seed=1, patient_id="P1")
    received(database, seed=2, patient_id="P1")
    received(database, seed=3, patient_id="P3")

    result = import_labels(
        database, labels_file(tmp_path, row(patient_id="P1"), row(patient_id="P3")), now=NOW
    )

    assert result.added == 1
    assert [bad.line for bad in result.problems] == [2]
    assert "2 received studies" in result.problems[0].problem
    assert "P1" not in result.problems[0].problem


def test_an_accession_number_of_two_patients_is_settled_by_the_patient(database, tmp_path):
    received(database, seed=1, patient_id="P1", accession_number="A")
    second = received(database, seed=2, patient_id="P2", accession_number="A")

    result = import_labels(
        database, labels_file(tmp_path, row(accession_number="A", patient_id="P2")), now=NOW
    )

    assert result.problems == ()
    assert len(opinions(database, second)) == 1


def test_identifiers_that_contradict_each_other_are_refused(database, tmp_path):
    study = received(database, seed=1, patient_id="P1", accession_number="A1")
    received(database, seed=2, patient_id="P2", accession_number="A2")
    uid = study_uid(database, study)

    result = import_labels(database, labels_file(tmp_path, row(study_uid=uid, patient_id="P2")), now=NOW)

    assert result.added == 0
    assert "different studies" in result.problems[0].problem


def test_a_correction_needs_a_later_time_and_replaces(database, tmp_path):
    study = received(database, seed=1, patient_id="P1")
    import_labels(database, labels_file(tmp_path, row(patient_id="P1")), now=NOW)
    absent = row(patient_id="P1", hemorrhage="absent", location="")

    at_the_same_time = import_labels(database, labels_file(tmp_path, absent), now=NOW)
    later = labels_file(tmp_path, {**absent, "read_at": "2026-05-04T09:00:00+02:00"})
    afterwards = import_labels(database, later, now=NOW)

    assert "later read_at" in at_the_same_time.problems[0].problem
    assert afterwards.added == 1
    truth = consensus(opinions(database, study))
    assert truth is not None
    assert not truth.present
    assert len(opinions(database, study)) == 2


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"hemorrhage": "yes"}, "hemorrhage"),
        ({"hemorrhage": ""}, "hemorrhage"),
        ({"location": "frontal"}, "location"),
        ({"hemorrhage": "absent"}, "location"),
        ({"hemorrhage": "undetermined"}, "location"),
        ({"reader": ""}, "reader"),
        ({"reader": "x" * 65}, "reader"),
        ({"read_at": "04.05.2026"}, "read_at"),
        ({"read_at": "2027-05-04"}, "read_at"),
        ({"read_at": "0001-01-01T00:00:00+14:00"}, "read_at"),
        ({"read_at": "9999-12-31T23:59:59-14:00"}, "read_at"),
        ({"saw_result": "maybe"}, "saw_result"),
        ({"confidence": "80%"}, "confidence"),
        ({"confidence": "1.01"}, "confidence"),
        ({"confidence": "nan"}, "confidence"),
        ({"patient_id": ""}, "names no study"),
        ({"patient_id": "unknown"}, "no received study"),
        ({"reader": "a\x00b"}, "control character"),
    ],
)
def test_a_line_that_cannot_be_believed_is_named_and_not_imported(database, tmp_path, changes, word):
    study = received(database, seed=1, patient_id="P1")
    good = row(patient_id="P1", reader="good")

    result = import_labels(
        database, labels_file(tmp_path, {**row(patient_id="P1"), **changes}, good), now=NOW
    )

    assert [bad.line for bad in result.problems] == [2]
    assert word in result.problems[0].problem
    assert [one.reader for one in opinions(database, study)] == ["good"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_what_spreadsheets_write_is_read(encoding, separator, end):
    lines = [separator.join(("Patient_ID ", "hemorrhage", "reader", "confidence"))]
    lines += ["", separator.join(("P1", "Present", "Müller", '"0,5"')), separator * 3, ""]

    rows, problems = parse_labels(end.join(lines).encode(encoding), now=NOW)

    assert problems == []
    assert [(one.line, one.patient_id, one.opinion.reader, one.opinion.confidence) for one in rows] == [
        (3, "P1", "Müller", 0.5)
    ]


def test_excels_own_hint_of_the_separator_is_no_header():
    rows, _ = parse_labels(b"sep=;\nstudy_uid;hemorrhage;reader\n1.2;absent;R", now=NOW)

    assert [one.line for one in rows] == [3]


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "empty"),
        (b"\n \n", "empty"),
        ("study_uid,hemorrhage,reader\n1,present,Müller".encode("cp1252"), "UTF-8"),
        (b"study_uid,hemorrhage\n", "column reader is missing"),
        (b"reader,hemorrhage\n", "one of study_uid"),
        (b"study_uid,hemorrhage,reader,locaton\n", "column 4"),
        (b"study_uid,hemorrhage,reader,reader\n", "twice"),
        (b"\x00\x01\x02", "missing"),
    ],
)
def test_a_file_that_cannot_be_used_as_a_whole_is_refused_with_what_to_do(content, word):
    with pytest.raises(UsageError, match=word):
        parse_labels(content, now=NOW)


def test_a_file_that_is_not_there_is_refused(database, tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        import_labels(database, tmp_path / "none.csv", now=NOW)


def test_an_open_quote_spoils_its_own_line_only():
    content = f'{HEADER}\n"1.2,,,present,,R,,,\n1.3,,,absent,,R,,,\n1.4,,,absent,,R,,,,\n'

    rows, problems = parse_labels(content.encode(), now=NOW)

    assert [one.line for one in rows] == [3]
    assert [bad.line for bad in problems] == [2, 4]


WILD = st.lists(
    st.one_of(st.text(max_size=60), st.lists(st.text(max_size=8), min_size=9, max_size=9).map(",".join)),
    max_size=8,
)


@given(WILD)
def test_every_line_of_a_wild_file_is_a_row_a_named_problem_or_blank(lines):
    content = "\n".join([HEADER, *lines])

    rows, problems = (
        parse_labels(content.encode("utf-8", "surrogatepass"), now=NOW) if _is_text(content) else ([], [])
    )

    told = [one.line for one in rows] + [bad.line for bad in problems]
    assert len(set(told)) == len(told)
    for one in rows:
        assert one.identifiers
        assert one.opinion.hemorrhage in Presence
        assert 1 <= len(one.opinion.reader) <= 64


def _is_text(content: str) -> bool:
    return not any(0xD800 <= ord(letter) < 0xE000 for letter in content)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_import(content):
    with suppress(UsageError):
        parse_labels(content, now=NOW)


NAMES = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=20)


@given(
    NAMES,
    NAMES,
    st.sampled_from(Presence),
    st.one_of(st.none(), st.floats(0, 1)),
    st.sampled_from((None, True, False)),
)
def test_whatever_is_written_is_read_back(patient, reader, presence, confidence, saw):
    opinion = Opinion(
        hemorrhage=presence, location=None, reader=reader, read_at=NOW, saw_result=saw, confidence=confidence
    )
    identity = Identity(study_id=1, study_uid="1.2.3", accession_number="", patient_id=patient)
    stream = io.StringIO()

    write_labels([Label(identity=identity, opinion=opinion)], stream)

    rows, problems = parse_labels(stream.getvalue().encode(), now=NOW)
    assert problems == []
    assert (rows[0].patient_id, rows[0].opinion) == (patient, opinion)
