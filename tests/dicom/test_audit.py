"""Audit messages against the schema of the Standard, and what they must and must not say."""

import base64
from datetime import UTC, datetime

import pytest
from audit_schema import is_valid, parsed
from pydicom.sr._concepts_dict import concepts

from ich_node.dicom.audit import (
    Kind,
    Outcome,
    Party,
    StudyFacts,
    accessed,
    activity,
    commanded,
    deleted,
    exported,
    log_used,
    queried,
    refused,
    transferred,
)

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
CT, PERSON = Party.entity("CT1", "10.1.2.3"), Party(user="anna@node", address="node.hospital.example")
STUDY = StudyFacts(
    study_uid="1.2.3",
    patient_id="P-4711",
    accession_number="A-1",
    instances={"1.2.840.10008.5.1.4.1.1.2": 35},
)
EVENTS = {
    "start": activity("receive node:17", starts=True, launcher=PERSON),
    "stop": activity("receive node:17", starts=False, launcher=PERSON),
    "transferred": transferred(STUDY, source=CT, destination=Party.entity("ICHNODE")),
    "not transferred": transferred(STUDY, source=CT, destination=Party.entity("PACS")).ended(
        Outcome.SERIOUS_FAILURE, "the destination refused the object"
    ),
    "deleted": deleted(STUDY, why="its time is over"),
    "accessed": accessed(STUDY, who=PERSON),
    "exported": exported(STUDY, who=PERSON, what="file:///tmp/x"),
    "exported many": exported(None, who=PERSON, what="labels export"),
    "queried": queried(
        b"\x08\x00", sop_class_uid="1.2", transfer_syntax_uid="1.2.1", who=PERSON, ours=CT, theirs=CT
    ),
    "refused": refused(CT, ours="ICHNODE", why="not admitted"),
    "refused in the handshake": refused(Party(user="10.9.9.9"), ours="ICHNODE", why="no certificate"),
    "promoted": commanded("bundles promote", about="retrained-1", who=PERSON, configures=True),
    "read again": commanded("studies read-again", about="1.2.3", who=PERSON),
    "log used": log_used(who=PERSON),
}


def _xml(event):
    return event.xml(at=NOW, source="2.25.1")


@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS.keys())
def test_every_message_follows_the_schema_of_the_standard(event):
    root = parsed(_xml(event))

    began = [one.get("UserIsRequestor") for one in root.iter("ActiveParticipant")]
    assert began.count("true") == 1, "one party began it (PS3.15 A.5.2)"


@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS.keys())
def test_every_code_of_the_scheme_dcm_means_what_the_dictionary_says(event):
    meanings = {value: text for entry in concepts["DCM"].values() for value, (text, _) in entry.items()}
    codes = [one for one in parsed(_xml(event)).iter() if one.get("codeSystemName") == "DCM"]

    assert [one.get("originalText") for one in codes] == [meanings[one.get("csd-code")] for one in codes]


def test_the_schema_refuses_what_is_no_audit_message():
    whole = _xml(EVENTS["transferred"])

    assert is_valid(whole)
    assert not is_valid(whole.replace("EventActionCode", "ActionCode"))
    assert not is_valid(whole.replace("<ParticipantObjectName />", ""))
    assert not is_valid(whole.replace('UserIsRequestor="true"', 'UserIsRequestor="yes"'))


def test_a_transfer_names_both_nodes_the_study_its_patient_and_how_much_went():
    root = parsed(_xml(EVENTS["transferred"]))

    source, destination = root.iter("ActiveParticipant")
    assert (source.get("UserID"), source.get("NetworkAccessPointID")) == ("CT1", "10.1.2.3")
    assert source.get("AlternativeUserID") == "AETITLES=CT1"
    assert destination.get("UserID") == "ICHNODE"
    study, patient = root.iter("ParticipantObjectIdentification")
    assert study.get("ParticipantObjectID") == "1.2.3"
    assert study.find(".//SOPClass").get("NumberOfInstances") == "35"
    assert study.find(".//Accession").get("Number") == "A-1"
    assert patient.get("ParticipantObjectID") == "P-4711"
    assert root.find("EventIdentification").get("EventOutcomeIndicator") == "0"


def test_an_accession_number_stands_only_where_the_schema_lets_it():
    no_images = StudyFacts(study_uid="1.2.3", patient_id="", accession_number="A-1")

    root = parsed(_xml(accessed(no_images, who=PERSON)))

    assert root.find(".//Accession") is None


@pytest.mark.parametrize("patient_id", ["山田^太郎", 'O"Brien & <b>', "a\x00b\x1bc", "\ud800", "a\nb\tc"])
def test_whatever_stands_in_a_header_the_message_stays_xml(patient_id):
    root = parsed(_xml(deleted(StudyFacts(study_uid="1.2.3", patient_id=patient_id), why="")))

    (_, patient) = root.iter("ParticipantObjectIdentification")
    kept = "".join("\ufffd" if ord(sign) in (0, 0x1B, 0xD800) else sign for sign in patient_id)
    assert patient.get("ParticipantObjectID") == kept


def test_a_query_is_kept_as_it_was_encoded():
    root = parsed(_xml(EVENTS["queried"]))

    assert base64.b64decode(root.find(".//ParticipantObjectQuery").text) == b"\x08\x00"


def test_a_failure_says_so_and_why():
    event = parsed(_xml(EVENTS["not transferred"])).find("EventIdentification")

    assert event.get("EventOutcomeIndicator") == "8"
    assert event.find("EventOutcomeDescription").text == "the destination refused the object"


def test_every_kind_has_a_code_and_a_message():
    assert {event.kind for event in EVENTS.values()} == set(Kind)
