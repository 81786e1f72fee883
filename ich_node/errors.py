"""The one tree of exceptions; the docstring of a class is its default message.

IchNodeError
├── SettingsError             wrong settings, every problem named; trying again does not help
├── UsageError                the command cannot do what was asked
├── UnreadableInstance        bytes that belong to no study (quarantined with a reason code)
├── CannotJudge               the picture or the header forbids a reading: declined or ignored with a code
├── AnalysisFailed            our fault; another attempt may help
├── StorageFull               the disk reserve is reached; the sender may try again later
├── DatabaseAway              the database does not answer; the sender may try again later
├── Collision                another process wrote the same rows at the same moment; the same again helps
├── LeaseLost                 another worker took the row over: our result must be thrown away
├── DeliveryFailed            the destination did not take the object; another attempt may help
│   └── DestinationAway       it could not be reached at all; says nothing about the object
├── DeliveryRefused           the destination will never take this object as it is
├── FetchFailed               the PACS did not do what a fetch asked of it; another attempt may help
├── RetrainingFailed          a step of retraining ended without a candidate
└── PromotionRefused          the gate does not let a candidate serve; the reasons say why
"""

from collections.abc import Sequence

from ich_node.vocabulary import Reason


class IchNodeError(Exception):
    """ICH node could not do what was asked."""

    helps_to_retry = False

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class SettingsError(IchNodeError):
    """The settings are wrong."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class UsageError(IchNodeError):
    """This cannot be done as asked."""


class UnreadableInstance(IchNodeError):
    """The bytes are no DICOM instance that could belong to a study."""

    def __init__(self, reason: Reason, message: str | None = None) -> None:
        self.reason = reason
        super().__init__(message)


class CannotJudge(IchNodeError):
    """The series cannot be judged."""

    def __init__(self, reason: Reason, message: str | None = None) -> None:
        self.reason = reason
        super().__init__(message or reason.sentence)


class AnalysisFailed(IchNodeError):
    """The analysis failed for a reason of our own."""

    helps_to_retry = True


class StorageFull(IchNodeError):
    """The disk reserve is reached: nothing more is accepted until space is freed."""

    helps_to_retry = True


class DatabaseAway(IchNodeError):
    """The database does not answer."""

    helps_to_retry = True


class Collision(IchNodeError):
    """Another process wrote the same rows at the same moment."""

    helps_to_retry = True


class LeaseLost(IchNodeError):
    """The lease on this row has passed to another holder."""


class DeliveryFailed(IchNodeError):
    """The destination did not take the object this time."""

    helps_to_retry = True


class DestinationAway(DeliveryFailed):
    """The destination could not be reached."""


class DeliveryRefused(IchNodeError):
    """The destination refuses this object for good."""


class FetchFailed(IchNodeError):
    """The PACS did not answer as a fetch needs it."""

    helps_to_retry = True


class RetrainingFailed(IchNodeError):
    """The retraining run ended without a candidate."""


class PromotionRefused(IchNodeError):
    """The candidate may not serve."""

    def __init__(self, reasons: Sequence[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__("\n".join(reasons))
