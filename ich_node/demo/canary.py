"""Sends a canary: the synthetic head of nobody, to our own receiver, under our own AE title. Uses sockets."""

from datetime import datetime

from ich_node.core.canary import PATIENT_ID, STUDY_DESCRIPTION
from ich_node.demo.ct_images import Exam, Patient
from ich_node.demo.phantom import head_phantom
from ich_node.demo.scanner import scan, send
from ich_node.errors import DeliveryFailed
from ich_node.settings.tree import Settings

SEED = 1  # the same head each time, without a bleed
PATIENT = Patient(name="CANARY^NO PATIENT", patient_id=PATIENT_ID, birth_date="19700101", sex="O", age="056Y")
_SUCCESS = 0x0000


def exam_of(study_uid: str, *, started: datetime) -> Exam:
    """Invent the visit of a canary; all of its identifiers follow from the study's."""
    return Exam(
        key=study_uid,
        patient=PATIENT,
        study_uid=study_uid,
        accession_number="CANARY",
        started=started,
        description=STUDY_DESCRIPTION,
    )


def send_canary(settings: Settings, study_uid: str, *, now: datetime) -> None:
    """Draw and send one; raises DeliveryFailed where our receiver does not take all of it."""
    images = scan(head_phantom(SEED, size=256), exam=exam_of(study_uid, started=now))
    own = settings.receiver
    loopback = "127.0.0.1" if own.listens_anywhere else own.host
    title = own.ae_title
    sent = send(images, settings.canary.host or loopback, own.port, calling_ae=title, called_ae=title)
    refused = [one for one in sent if one.status != _SUCCESS]
    if refused:
        raise DeliveryFailed(f"our receiver refused {len(refused)} of {len(sent)} images of a canary")
