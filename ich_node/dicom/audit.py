"""Audit messages of the DICOM Audit Trail Profile: the XML of PS3.15 A.5. Values in, text out.

The Patient ID stands in them; they go to the audit trail and to its receiver, and nowhere else.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from ipaddress import ip_address
from xml.etree.ElementTree import Element, SubElement, tostring

Code = tuple[str, str]
"""Code value of the scheme DCM (PS3.16 D), and its meaning."""

_STARTED, _STOPPED = ("110120", "Application Start"), ("110121", "Application Stop")
_NODE_AUTHENTICATION: Code = ("110126", "Node Authentication")
_SOFTWARE_CONFIGURATION: Code = ("110131", "Software Configuration")
_RESTRICTED_FUNCTION: Code = ("110132", "Use of Restricted Function")
_APPLICATION, _LAUNCHER = ("110150", "Application"), ("110151", "Application Launcher")
_DESTINATION, _SOURCE = ("110152", "Destination Role ID"), ("110153", "Source Role ID")
_MEDIA: Code = ("110154", "Destination Media")
_STUDY_UID: Code = ("110180", "Study Instance UID")
_SOP_CLASS_UID: Code = ("110181", "SOP Class UID")
_NODE_ID: Code = ("110182", "Node ID")
_PROGRAM = "ich-node"
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # in XML 1.0


class Kind(StrEnum):
    """What an audit message is about (PS3.15 A.5.3); the value is the meaning of its code."""

    ACTIVITY = "Application Activity"
    LOG_USED = "Audit Log Used"
    ACCESSED = "DICOM Instances Accessed"
    TRANSFERRED = "DICOM Instances Transferred"
    DELETED = "DICOM Study Deleted"
    EXPORTED = "Export"
    QUERIED = "Query"
    ALERT = "Security Alert"

    @property
    def code(self) -> str:
        """Its code value (PS3.16 CID 400)."""
        return _CODES[self]


_CODES = {
    Kind.ACTIVITY: "110100",
    Kind.LOG_USED: "110101",
    Kind.ACCESSED: "110103",
    Kind.TRANSFERRED: "110104",
    Kind.DELETED: "110105",
    Kind.EXPORTED: "110106",
    Kind.QUERIED: "110112",
    Kind.ALERT: "110113",
}


class Outcome(StrEnum):
    """EventOutcomeIndicator."""

    SUCCESS = "0"
    MINOR_FAILURE = "4"
    SERIOUS_FAILURE = "8"


@dataclass(frozen=True, kw_only=True)
class Party:
    """Who took part: a person (login@host) or a program; `address` is an IP address or a host name."""

    user: str
    role: Code | None = None
    began: bool = False
    other_user: str = ""
    address: str = ""

    @classmethod
    def entity(cls, ae_title: str, address: str = "") -> "Party":
        """An application entity (A.5.2.2)."""
        return cls(user=ae_title, other_user=f"AETITLES={ae_title}", address=address)


@dataclass(frozen=True, kw_only=True)
class Thing:
    """What it was done to."""

    id: str
    id_type: tuple[str, str, str]  # code value, scheme, meaning
    type_code: str
    role: str
    life_cycle: str = ""
    query: bytes | None = None
    details: Mapping[str, str] = field(default_factory=dict)
    accession_number: str = ""
    instances: Mapping[str, int] = field(default_factory=dict)  # how many of each SOP class


@dataclass(frozen=True, kw_only=True)
class AuditEvent:
    """One message before it has its time and the name of its source."""

    kind: Kind
    action: str  # C, R, U, D, E
    parties: tuple[Party, ...]
    things: tuple[Thing, ...] = ()
    types: tuple[Code, ...] = ()
    outcome: Outcome = Outcome.SUCCESS
    description: str = ""

    def xml(self, *, at: datetime, source: str) -> str:
        """The message; `source` names this installation."""
        root = Element("AuditMessage")
        event = SubElement(root, "EventIdentification")
        _coded(event, "EventID", (self.kind.code, "DCM", self.kind.value))
        for value, meaning in self.types:
            _coded(event, "EventTypeCode", (value, "DCM", meaning))
        event.set("EventActionCode", self.action)
        event.set("EventDateTime", at.astimezone(UTC).isoformat(timespec="milliseconds"))
        event.set("EventOutcomeIndicator", self.outcome)
        if self.description:
            SubElement(event, "EventOutcomeDescription").text = _legal(self.description)
        for party in self.parties:
            _put_party(root, party)
        origin = SubElement(root, "AuditSourceIdentification", AuditSourceID=_legal(source))
        SubElement(origin, "AuditSourceTypeCode", {"csd-code": "4"})  # application server
        for thing in self.things:
            _put_thing(root, thing)
        return tostring(root, encoding="unicode")

    def ended(self, outcome: Outcome, description: str) -> "AuditEvent":
        """The same, that did not end well."""
        return replace(self, outcome=outcome, description=description)


@dataclass(frozen=True, kw_only=True)
class StudyFacts:
    """The study that an event is about, and how many instances of each SOP class of it."""

    study_uid: str
    patient_id: str
    accession_number: str = ""
    instances: Mapping[str, int] = field(default_factory=dict)


def activity(process: str, *, starts: bool, launcher: Party) -> AuditEvent:
    """A process of ours starts or stops (A.5.3.1)."""
    return AuditEvent(
        kind=Kind.ACTIVITY,
        action="E",
        types=(_STARTED if starts else _STOPPED,),
        parties=(
            Party(user=f"{_PROGRAM} {process}", role=_APPLICATION, address=launcher.address),
            replace(launcher, role=_LAUNCHER, began=True),
        ),
    )


def transferred(study: StudyFacts, *, source: Party, destination: Party) -> AuditEvent:
    """Instances of a study went from one application entity to another (A.5.3.7)."""
    return AuditEvent(
        kind=Kind.TRANSFERRED,
        action="C",  # the receiver did not hold them
        parties=(replace(source, role=_SOURCE, began=True), replace(destination, role=_DESTINATION)),
        things=_study_things(study),
    )


def deleted(study: StudyFacts, *, why: str) -> AuditEvent:
    """The images of a study were erased here (A.5.3.8)."""
    party = Party(user=_PROGRAM, role=_APPLICATION, began=True)
    things = _study_things(study, life_cycle="15")  # permanent erasure
    return AuditEvent(kind=Kind.DELETED, action="D", parties=(party,), things=things, description=why)


def accessed(study: StudyFacts, *, who: Party) -> AuditEvent:
    """A person looked at what is known of a study (A.5.3.6)."""
    return AuditEvent(
        kind=Kind.ACCESSED, action="R", parties=(replace(who, began=True),), things=_study_things(study)
    )


def exported(study: StudyFacts | None, *, who: Party, what: str) -> AuditEvent:
    """A person wrote data out of the node into files (A.5.3.4); None: of many studies."""
    return AuditEvent(
        kind=Kind.EXPORTED,
        action="R",
        parties=(
            replace(who, began=True, role=_SOURCE),
            Party(user=what, role=_MEDIA),
        ),
        things=() if study is None else _study_things(study),
    )


def queried(
    query: bytes, *, sop_class_uid: str, transfer_syntax_uid: str, who: Party, ours: Party, theirs: Party
) -> AuditEvent:
    """We asked a peer with a C-FIND identifier, `query` as encoded (A.5.3.10)."""
    thing = Thing(
        id=sop_class_uid,
        id_type=(_SOP_CLASS_UID[0], "DCM", _SOP_CLASS_UID[1]),
        type_code="2",
        role="3",  # report
        query=query,
        details={"TransferSyntax": transfer_syntax_uid},
    )
    return AuditEvent(
        kind=Kind.QUERIED,
        action="E",
        parties=(
            replace(ours, role=_SOURCE),
            replace(theirs, role=_DESTINATION),
            replace(who, began=True),
        ),
        things=(thing,),
    )


def refused(caller: Party, *, ours: str, why: str) -> AuditEvent:
    """A node that called us was not let in (A.5.3.11); `caller` is from an address."""
    thing = Thing(
        id=caller.address or caller.user,
        id_type=(_NODE_ID[0], "DCM", _NODE_ID[1]),
        type_code="2",
        role="13",  # security resource
    )
    return AuditEvent(
        kind=Kind.ALERT,
        action="E",
        types=(_NODE_AUTHENTICATION,),
        parties=(Party(user=ours), replace(caller, began=True)),
        things=(thing,),
        outcome=Outcome.MINOR_FAILURE,
        description=why,
    )


def commanded(command: str, *, about: str, who: Party, configures: bool = False) -> AuditEvent:
    """A person used a command of ours; `configures`: it changes what the node does from now on (A.5.3.11)."""
    thing = Thing(
        id=about or command,
        id_type=(_NODE_ID[0], "DCM", _NODE_ID[1]),
        type_code="2",
        role="13",
        details={"Alert Description": command},
    )
    return AuditEvent(
        kind=Kind.ALERT,
        action="E",
        types=(_SOFTWARE_CONFIGURATION if configures else _RESTRICTED_FUNCTION,),
        parties=(replace(who, began=True),),
        things=(thing,),
    )


def log_used(*, who: Party) -> AuditEvent:
    """A person read the audit trail (A.5.3.2)."""
    trail = Thing(
        id=f"{_PROGRAM}:audit_events",
        id_type=("12", "RFC-3881", "URI"),
        type_code="2",
        role="13",
    )
    return AuditEvent(kind=Kind.LOG_USED, action="R", parties=(replace(who, began=True),), things=(trail,))


def _study_things(study: StudyFacts, *, life_cycle: str = "") -> tuple[Thing, ...]:
    return (
        Thing(
            id=study.study_uid,
            id_type=(_STUDY_UID[0], "DCM", _STUDY_UID[1]),
            type_code="2",
            role="3",  # report
            life_cycle=life_cycle,
            accession_number=study.accession_number,
            instances=study.instances,
        ),
        Thing(
            id=study.patient_id,
            id_type=("2", "RFC-3881", "Patient Number"),
            type_code="1",
            role="1",  # patient
        ),
    )


def _put_party(root: Element, party: Party) -> None:
    element = SubElement(root, "ActiveParticipant", UserID=_legal(party.user))
    if party.role is not None:
        _coded(element, "RoleIDCode", (party.role[0], "DCM", party.role[1]))
    if party.other_user:
        element.set("AlternativeUserID", _legal(party.other_user))
    element.set("UserIsRequestor", "true" if party.began else "false")
    if party.address:
        element.set("NetworkAccessPointID", _legal(party.address))
        element.set("NetworkAccessPointTypeCode", "2" if _is_ip(party.address) else "1")


def _put_thing(root: Element, thing: Thing) -> None:
    element = SubElement(root, "ParticipantObjectIdentification", ParticipantObjectID=_legal(thing.id))
    element.set("ParticipantObjectTypeCode", thing.type_code)
    element.set("ParticipantObjectTypeCodeRole", thing.role)
    if thing.life_cycle:
        element.set("ParticipantObjectDataLifeCycle", thing.life_cycle)
    _coded(element, "ParticipantObjectIDTypeCode", thing.id_type)
    if thing.query is None:
        SubElement(element, "ParticipantObjectName")  # no name is kept here; the schema wants the element
    else:
        SubElement(element, "ParticipantObjectQuery").text = _base64(thing.query)
    for name, value in thing.details.items():
        SubElement(element, "ParticipantObjectDetail", type=name, value=_base64(value.encode("utf-8")))
    if thing.instances:  # without them an accession number may not stand there either (A.5.2)
        description = SubElement(element, "ParticipantObjectDescription")
        if thing.accession_number:
            SubElement(description, "Accession", Number=_legal(thing.accession_number))
        for sop_class, count in sorted(thing.instances.items()):
            SubElement(description, "SOPClass", UID=sop_class, NumberOfInstances=str(count))


def _coded(parent: Element, name: str, code: Sequence[str]) -> None:
    value, scheme, meaning = code
    SubElement(parent, name, {"csd-code": value, "codeSystemName": scheme, "originalText": meaning})


def _legal(value: str) -> str:
    """Without what XML cannot hold: a header may hold any control character."""
    return _ILLEGAL.sub("\ufffd", value)


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _is_ip(address: str) -> bool:
    try:
        ip_address(address)
    except ValueError:
        return False
    return True
