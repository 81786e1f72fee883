"""Writes down in the audit trail that a report went out, or never will."""

from dataclasses import replace
from datetime import datetime

from ich_node.delivery.reach import Sending
from ich_node.dicom.audit import Outcome, Party, transferred
from ich_node.store.audit import facts_of, record
from ich_node.store.database import Connection
from ich_node.store.deliveries import Parcel


def record_delivery(
    connection: Connection, parcel: Parcel, sending: Sending, *, now: datetime, failed: str = ""
) -> None:
    """One message for a report that its destination took, or, with `failed`, that was given up."""
    study = facts_of(connection, parcel.study_id)
    if study is None:
        return
    destination = sending.destination
    event = transferred(
        replace(study, instances={parcel.sop_class_uid: 1}),
        source=Party.entity(sending.calling_ae_title),
        destination=Party.entity(destination.ae_title, destination.host),
    )
    if failed:
        event = event.ended(Outcome.SERIOUS_FAILURE, failed)
    record(connection, event, now=now)
