"""What a report must know beside the finding and the images: who read, with what, when. Values only."""

from dataclasses import dataclass
from datetime import datetime

from ich_node.core.conclusion import Thresholds


@dataclass(frozen=True, kw_only=True)
class Predecessor:
    """The earlier report that a revision replaces (Predecessor Documents Sequence, PS3.3 C.17.2)."""

    sop_class_uid: str
    sop_instance_uid: str
    series_uid: str
    study_uid: str


@dataclass(frozen=True, kw_only=True)
class ReportContext:
    """The circumstances of one reading.

    `analysed_at` is the stored completion time, aware, in the zone of the site; a retry hands over the same
    one. `bundle_notes` are sentences about the bundle, `device` names the hardware, `prevalence` (0 to 1) is
    the one that a calibrated bundle was calibrated for. Raises ValueError on a naive time or a calibrated
    bundle without prevalence.
    """

    installation_uid: str
    ae_title: str
    bundle_name: str
    bundle_sha256: str
    software_version: str
    analysed_at: datetime
    thresholds: Thresholds
    bundle_notes: tuple[str, ...] = ()
    revision: int = 1
    predecessor: Predecessor | None = None
    calibrated: bool = False
    prevalence: float | None = None
    device: str = ""
    mode: str = "quiet"

    def __post_init__(self) -> None:
        if self.analysed_at.tzinfo is None:
            raise ValueError("analysed_at must be an aware datetime")
        if self.calibrated and self.prevalence is None:
            raise ValueError("a calibrated bundle names the prevalence that it was calibrated for")
