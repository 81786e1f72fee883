"""Lets a report wait until its destination has the images that it speaks of. Uses the network."""

from datetime import datetime

from pynetdicom.association import Association

from ich_node.core.retry import look_again_at
from ich_node.delivery.reach import Sending
from ich_node.dicom.query import series_query
from ich_node.dicom.values import text
from ich_node.errors import FetchFailed
from ich_node.log import logger
from ich_node.network import FIND, find
from ich_node.store.database import Database
from ich_node.store.deliveries import Parcel
from ich_node.store.readings import series_read

IMAGES_AWAITED = "waits until the destination lists the images of the study (wait_for_images_s)"


def waits_for_images(
    association: Association, parcel: Parcel, database: Database, sending: Sending
) -> datetime | None:
    """When to look again for the images, None where the report need not wait or has waited long enough."""
    limit_s, now = sending.destination.wait_for_images_s, sending.now()
    if not limit_s:
        return None
    again_at = look_again_at(since=parcel.queued_at, limit_s=limit_s, first_s=sending.policy.first_s, now=now)
    log = logger().bind(delivery=parcel.delivery_id, study=parcel.study_id, destination=parcel.destination)
    if again_at is None:
        log.warning("images.not_awaited_longer", seconds=limit_s)
        return None
    if FIND not in {context.abstract_syntax for context in association.accepted_contexts}:
        log.warning("images.not_asked_for", error="the destination offers no C-FIND (Study Root)")
        return None
    try:
        return None if _has_images(association, parcel, database) else again_at
    except FetchFailed as error:
        log.warning("images.not_asked_for", error=str(error))
        return again_at


def _has_images(association: Association, parcel: Parcel, database: Database) -> bool:
    with database.transaction() as connection:
        series_uid = series_read(connection, parcel.study_id)
    listed = {text(one, "SeriesInstanceUID") for one in find(association, series_query(parcel.study_uid))}
    # where no series was read any will do: the study is known there
    return series_uid in listed if series_uid else bool(listed)
