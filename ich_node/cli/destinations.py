"""Examines each destination end to end for the doctor, in words: what is wrong, which setting helps."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from pydicom.uid import UID

from ich_node.cli.advice import advice
from ich_node.cli.check import Check
from ich_node.delivery.examine import Seen, look_at
from ich_node.dicom.ladder import LADDER
from ich_node.errors import FetchFailed
from ich_node.intake.fetch import may_send
from ich_node.network import SECONDARY_CAPTURE
from ich_node.settings.sections import Destination
from ich_node.settings.tree import Settings
from ich_node.store.alarms import Waiting, count_unproven, waiting
from ich_node.store.database import Database
from ich_node.store.outages import list_outages
from ich_node.tls import credentials_of

TIMEOUT_S = 5.0


def examine_destination(
    destination: Destination, settings: Settings, *, test_study_uid: str | None = None
) -> Iterator[Check]:
    """Try all that the delivery of a report needs; the first thing that is wrong may hide the others.

    With a UID for its study a test report is sent, too; without one no object is.
    """
    subject = f"destination {destination.name}"
    seen = look_at(
        destination,
        calling_ae_title=settings.receiver.ae_title,
        timeout_s=TIMEOUT_S,
        credentials=credentials_of(settings.tls),
    )
    yield _answers(subject, destination, seen, settings)
    if seen.away is None:
        yield _takes(subject, seen)
        yield _proves(subject, destination, seen, settings)
    if destination.wait_for_images_s and seen.away is None and seen.find_trouble is not None:
        words = (
            f"reports do not wait for their images as wait_for_images_s asks: C-FIND does not work "
            f"({seen.find_trouble}); set it to 0"
        )
        yield Check(subject=subject, passed=False, words=words)
    if test_study_uid is not None and seen.away is None:
        from ich_node.cli.trial import examine_by_test_report

        yield from examine_by_test_report(destination, settings, takes=seen.classes, study_uid=test_study_uid)


def _answers(subject: str, destination: Destination, seen: Seen, settings: Settings) -> Check:
    where = f"{destination.ae_title} at {destination.host}:{destination.port}"
    us = settings.receiver.ae_title
    if seen.away is not None:
        words = (
            f"does not answer C-ECHO as {where} ({seen.away}); check ae_title, host, port and firewall, "
            f"and that it knows the AE title {us}"
        )
        return Check(subject=subject, passed=False, words=words)
    if seen.echo_trouble is not None:
        words = f"lets us in as {where}, and gives no answer to C-ECHO: {seen.echo_trouble}"
        return Check(subject=subject, passed=True, words=words)
    return Check(subject=subject, passed=True, words=f"answers C-ECHO as {where}")


def _takes(subject: str, seen: Seen) -> Check:
    names = ", ".join(_name(sop_class) for sop_class in seen.classes) or "none of the objects of a report"
    rung = next((sop_class for sop_class in LADDER if sop_class in seen.classes), None)
    report = rung is not None
    picture = SECONDARY_CAPTURE in seen.classes
    words = f"takes {names}"
    if rung is not None and rung != LADDER[0]:
        words += f"; the report goes out as {_name(rung)}"
    if not (report and picture):
        lacking = [*([] if report else ["the report (SR)"]), *([] if picture else ["the picture (SC)"])]
        wanted = _name(LADDER[0] if not report else SECONDARY_CAPTURE)
        words += f"; {' and '.join(lacking)} will end as failed: have it accept {wanted} from us"
    return Check(subject=subject, passed=report and picture, words=words)


def _name(sop_class: str) -> str:
    return f"{UID(sop_class).name} ({sop_class})"


def _proves(subject: str, destination: Destination, seen: Seen, settings: Settings) -> Check:
    can = {"find": seen.find_trouble is None, "commitment": seen.commitment_trouble is None}
    able = [way for way, works in can.items() if works]
    if destination.confirm == "none":
        advice = f'; it can do more: set confirm to "{able[0]}"' if able else "; it can prove nothing"
        return Check(subject=subject, passed=True, words=f"its success counts as delivered{advice}")
    if can[destination.confirm]:
        refused = destination.confirm == "commitment" and not _may_answer(destination, settings)
        if refused:
            words = (
                f"its answers to Storage Commitment would be refused; add {destination.ae_title} at "
                f"{destination.host} to [[senders]]"
            )
            return Check(subject=subject, passed=False, words=words)
        return Check(subject=subject, passed=True, words=_PROOFS[destination.confirm])
    trouble = seen.find_trouble if destination.confirm == "find" else seen.commitment_trouble
    other = able[0] if able else "none"
    words = (
        f"{_PROOFS[destination.confirm]} does not work ({trouble}); each report will be alarmed about: "
        f'set confirm to "{other}"'
    )
    return Check(subject=subject, passed=False, words=words)


_PROOFS = {
    "find": "proof by C-FIND",
    "commitment": "proof by Storage Commitment",
}


def _may_answer(destination: Destination, settings: Settings) -> bool:
    try:
        return may_send(destination, settings.senders)
    except FetchFailed:
        return False


def examine_waiting(
    database: Database, settings: Settings, *, now: datetime, only: str | None = None
) -> Iterator[Check]:
    """Say what waits for each destination, or for one, for how long and why; what nobody proved in time."""
    proving = [name for name in settings.proving if only in (None, name)]
    with database.transaction() as connection:
        waits, unproven = waiting(connection), count_unproven(connection, proving, now=now)
        away = {outage.destination: outage for outage in list_outages(connection)}
    alarm_after = timedelta(seconds=settings.delivery.alarm_after_s)
    for one in waits:
        if only not in (None, one.destination):
            continue
        outage = away.get(one.destination)
        because = f"away since {_moment(outage.since)}: {outage.error}" if outage else _why(one, settings)
        counted = "1 report waits" if one.count == 1 else f"{one.count} reports wait"
        words = f"{counted} for {one.destination}, the oldest since {_moment(one.oldest)}; {because}"
        yield Check(subject="waiting", passed=now - one.oldest <= alarm_after, words=words)
    if unproven:
        counted = "1 report was" if unproven == 1 else f"{unproven} reports were"
        words = (
            f"{counted} taken and not proven to be kept within {settings.delivery.confirm_within_s:.0f} s "
            "(delivery.confirm_within_s); look in the PACS; `ich-node studies send-again ID`"
        )
        yield Check(subject="proof", passed=False, words=words)


def _why(waits: Waiting, settings: Settings) -> str:
    """Why a destination that is not away has not taken the oldest of what waits for it, and what helps."""
    destination = next((one for one in settings.destinations if one.name == waits.destination), None)
    if destination is None:
        return "the settings name no such destination"
    if waits.last_error is not None:
        return f"{waits.last_error}; {advice(waits.last_error, destination, settings)}"
    if waits.attempts:
        return "its first attempt has not ended yet"
    return "not tried yet; see that `ich-node deliver` runs"


def _moment(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M}"
