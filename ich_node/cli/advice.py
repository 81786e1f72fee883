"""Says which setting helps where a destination answers and does not take reports."""

from ich_node.delivery.images import IMAGES_AWAITED
from ich_node.delivery.send import CUT_SHORT, NO_ANSWER
from ich_node.settings.sections import Destination
from ich_node.settings.tree import Settings


def advice(error: str, destination: Destination, settings: Settings) -> str:
    """What helps against an error with which a report was not taken."""
    if error == IMAGES_AWAITED:
        return (
            "see that the images go there too; a report waits for them no longer than wait_for_images_s "
            f"({destination.wait_for_images_s:g} s), with 0 not at all"
        )
    if error in (NO_ANSWER, CUT_SHORT):
        return (
            f"if it is slow and not broken, raise delivery.timeout_s ({settings.delivery.timeout_s:g} s): "
            "it bounds each of its answers, and six times that a whole report"
        )
    if destination.wait_for_images_s:
        return "its own log says more"
    return (
        "its own log says more; where it takes a report only after its images, "
        "wait_for_images_s lets reports wait for them"
    )
