"""What one destination can do, seen by trying it; sends no object. Uses the network."""

from collections.abc import Callable
from dataclasses import dataclass

from pydicom.uid import generate_uid
from pynetdicom import build_context
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from ich_node.delivery.confirm import SYNTAXES, is_listed
from ich_node.dicom.commitment import PUSH_MODEL
from ich_node.errors import DeliveryRefused, DestinationAway, FetchFailed
from ich_node.network import (
    FIND,
    REPORT_CLASSES,
    SUCCESS,
    VERIFICATION,
    association_with,
    report_contexts,
)
from ich_node.settings.sections import Destination
from ich_node.tls import Credentials


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a destination did; each trouble says why it did not, None that it did."""

    away: str | None = None  # why it cannot be reached; then nothing else was tried
    classes: tuple[str, ...] = ()  # of those that our reports may have, the ones that it takes
    echo_trouble: str | None = None
    find_trouble: str | None = None
    commitment_trouble: str | None = None


def look_at(
    destination: Destination,
    *,
    calling_ae_title: str,
    timeout_s: float,
    credentials: Credentials | None = None,
) -> Seen:
    """Try what the delivery of a report needs; a destination that is away is tried once."""
    taken: list[str] = []

    def attempt(contexts: list[PresentationContext], act: Callable[[Association], str | None]) -> str | None:
        try:
            with association_with(
                destination,
                contexts,
                calling_ae_title=calling_ae_title,
                timeout_s=timeout_s,
                credentials=credentials,
            ) as association:
                return act(association)
        except DeliveryRefused:
            return "it does not offer it"

    def note_classes(association: Association) -> None:
        taken.extend({str(context.abstract_syntax) for context in association.accepted_contexts})

    try:
        attempt(report_contexts(), note_classes)
        echo = attempt([build_context(VERIFICATION)], _echo)
        found = attempt([build_context(FIND, SYNTAXES)], _find_nothing)
        committed = attempt([build_context(PUSH_MODEL, SYNTAXES)], lambda _: None)
    except DestinationAway as error:
        return Seen(away=str(error))
    return Seen(
        classes=tuple(sop_class for sop_class in REPORT_CLASSES if sop_class in taken),
        echo_trouble=echo,
        find_trouble=found,
        commitment_trouble=committed,
    )


def _echo(association: Association) -> str | None:
    status = association.send_c_echo().get("Status")
    return None if status == SUCCESS else "it did not answer"


def _find_nothing(association: Association) -> str | None:
    """Look for an instance that nobody has: that it is not listed is the right answer."""
    try:
        is_listed(association, *(generate_uid(prefix=None) for _ in range(3)))
    except FetchFailed as error:
        return str(error)
    return None
