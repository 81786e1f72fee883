"""Sends a test report to a destination for the doctor, and says in words what became of it."""

from collections.abc import Iterator, Sequence

from pydicom.uid import UID

from ich_node.cli.advice import advice
from ich_node.cli.check import Check
from ich_node.cli.context import now
from ich_node.core.confirmation import Finding
from ich_node.delivery.trial import PAUSES_S, Calling, Tried, try_out
from ich_node.dicom.ladder import rungs
from ich_node.dicom.trial_report import build_trial_report
from ich_node.settings.sections import Destination
from ich_node.settings.tree import Settings
from ich_node.tls import credentials_of
from ich_node.vocabulary import TEST_PATIENT_ID, TEST_PATIENT_NAME

_NOUNS = {"SR": "the report (SR)", "SC": "the picture (SC)"}


def examine_by_test_report(
    destination: Destination, settings: Settings, *, takes: Sequence[str], study_uid: str
) -> Iterator[Check]:
    """Send of a test report what the destination takes, in a study of this UID; look whether it is kept."""
    own = settings.receiver.ae_title
    objects = build_trial_report(study_uid, ae_title=own, mode=settings.mode, at=now().astimezone())
    wanted = [one for one in objects if set(rungs(one.sop_class_uid)) & set(takes)]
    calling = Calling(
        destination=destination,
        calling_ae_title=own,
        timeout_s=settings.delivery.timeout_s,
        credentials=credentials_of(settings.tls),
    )
    subject = f"destination {destination.name}"
    tried = try_out(wanted, calling)
    if any(one.trouble is None for one in tried):
        yield Check(subject=subject, passed=True, words=_where(study_uid))
    for one in tried:
        passed, words = _fate(one, destination, settings)
        yield Check(subject=subject, passed=passed, words=f"test: {words}")
    for kind in (one.kind for one in wanted[len(tried) :]):
        yield Check(subject=subject, passed=False, words=f"test: {_NOUNS[kind]} was not tried any more")


def _where(study_uid: str) -> str:
    return (
        f"a test report of the patient {TEST_PATIENT_NAME}, ID {TEST_PATIENT_ID}, went there; it may be "
        f"deleted (study {study_uid})"
    )


def _fate(one: Tried, destination: Destination, settings: Settings) -> tuple[bool, str]:
    noun, name = _NOUNS[one.about.kind], UID(one.sop_class_uid).name
    if one.refused:
        helps = f"each will end as failed: have it accept {name} from us"
        return False, f"it did not take {noun}: {one.trouble}; {helps}"
    if one.trouble is not None:
        return False, f"it did not take {noun}: {one.trouble}; {advice(one.trouble, destination, settings)}"
    if one.after_picture:
        return _after_picture(noun, destination)
    passed, words = _proof(one)
    return passed, f"it took {noun} as {name} in {one.seconds:.1f} s; {words}"


def _after_picture(noun: str, destination: Destination) -> tuple[bool, str]:
    words = f"it took and kept {noun} only once it had an image of the same study"
    if destination.wait_for_images_s:
        return True, f"{words}; reports wait for their images there (wait_for_images_s)"
    return False, f"{words}: set wait_for_images_s (600, say), so that reports wait for their images"


def _proof(one: Tried) -> tuple[bool, str]:
    match one.finding:
        case None:
            return True, "that it keeps it is not proven (confirm is none): look for it there"
        case Finding.KEPT:
            return True, one.told
        case Finding.ASKED:
            return True, f"{one.told}: most answer later, to our receiver; look for it there"
        case Finding.NOT_LISTED:
            return False, (
                f"{one.told}, {sum(PAUSES_S):.0f} s later. Look for it there: if it is there, the archive "
                "lists it late or never (raise delivery.confirm_within_s, or set confirm to another way); "
                "if not, it accepts and forgets, and its own log says why"
            )
        case Finding.REPORTED_MISSING:
            return False, f"{one.told}; its own log says why"
        case Finding.UNANSWERED:
            return False, f"{one.told}; it is not proven that it keeps it: set confirm to another way"
