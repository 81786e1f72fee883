"""Every code and every sentence that a person reads; nothing else states one. Standard library only.

Rules of the ward: doubt is never negative, and a negative never says "no hemorrhage".
Code meanings are ASCII: they are written into studies whose character set may be ISO_IR 6.
"""

from dataclasses import dataclass
from enum import StrEnum

PRODUCT = "ICH node"
MANUFACTURER = "ICH node project"
DISCLAIMER = "Research software. Not for diagnostic use."
READ_AS_USUAL = "Read as usual."
NOT_LOOKED_FOR = (
    "Not looked for: subdural, epidural, subarachnoid or intraventricular bleeding alone, "
    "and anything other than bleeding."
)


class Outcome(StrEnum):
    """How a study ends; each received study ends in exactly one of them."""

    POSITIVE = "positive"
    FAILED = "failed"
    INDETERMINATE = "indeterminate"
    DECLINED = "declined"
    NEGATIVE = "negative"
    IGNORED = "ignored"

    @property
    def is_reported(self) -> bool:
        """Whether an SR and an SC are written for it."""
        return self is not Outcome.IGNORED

    @property
    def analyzed(self) -> bool:
        return self in (Outcome.POSITIVE, Outcome.NEGATIVE, Outcome.INDETERMINATE)


SERIOUSNESS = tuple(Outcome)  # the most serious outcome leads, in the order of the enumeration


class Location(StrEnum):
    """The compartment of the bleeding."""

    DEEP = "deep"
    LOBAR = "lobar"
    SUBTENTORIAL = "subtentorial"


class Verdict(StrEnum):
    """What a reason code means for the thing that bears it."""

    UNREADABLE = "unreadable"
    IGNORED = "ignored"
    DECLINED = "declined"
    FAILED = "failed"
    NOT_CHOSEN = "not chosen"


class Reason(StrEnum):
    """Stable reason codes, in the order of precedence: of several that are true the first is decisive."""

    NOT_DICOM = "NOT_DICOM"
    NO_IDENTITY = "NO_IDENTITY"
    NOT_CT = "NOT_CT"
    OWN_OBJECT = "OWN_OBJECT"
    REJECTED = "REJECTED"
    LOCALIZER = "LOCALIZER"
    NOT_HEAD = "NOT_HEAD"
    NOT_AXIAL = "NOT_AXIAL"
    DERIVED = "DERIVED"
    TOO_LARGE = "TOO_LARGE"
    CONFLICT = "CONFLICT"
    UNDECODABLE = "UNDECODABLE"
    NO_BRAIN = "NO_BRAIN"
    CONTRAST = "CONTRAST"
    BONE_KERNEL = "BONE_KERNEL"
    OUT_OF_SCOPE = "OUT_OF_SCOPE"
    NOT_HU = "NOT_HU"
    LOSSY = "LOSSY"
    GEOMETRY = "GEOMETRY"
    TOO_FEW_SLICES = "TOO_FEW_SLICES"
    INCOMPLETE = "INCOMPLETE"
    MODEL_FAILED = "MODEL_FAILED"
    BETTER_CANDIDATE = "BETTER_CANDIDATE"

    @property
    def verdict(self) -> Verdict:
        return _VERDICTS[self]

    @property
    def sentence(self) -> str:
        """The reason as a person reads it."""
        return _REASON_SENTENCES[self]

    @property
    def rank(self) -> int:
        """Position in the order of precedence; the lower one decides."""
        return _RANKS[self]


_REASON_SENTENCES = {
    Reason.NOT_DICOM: "The file is not readable as DICOM.",
    Reason.NO_IDENTITY: "The Study, Series or SOP Instance UID or the SOP Class UID is absent or malformed.",
    Reason.NOT_CT: "The object is not a CT image.",
    Reason.OWN_OBJECT: "The object was made by this software.",
    Reason.REJECTED: "The images were rejected for quality or patient safety at their source.",
    Reason.LOCALIZER: "The images are localizers.",
    Reason.NOT_HEAD: "Nothing claims that the images show a head.",
    Reason.NOT_AXIAL: "The images are not axial.",
    Reason.DERIVED: "The images are derived: reformats, projections, captures or dose sheets.",
    Reason.TOO_LARGE: "The images exceed a size limit of this installation.",
    Reason.CONFLICT: "Identifiers contradict each other: two patients, or one UID with two contents.",
    Reason.UNDECODABLE: "The pixel data cannot be decoded.",
    Reason.NO_BRAIN: "The header says head, but the picture holds no brain.",
    Reason.CONTRAST: "The series was made with contrast agent.",
    Reason.BONE_KERNEL: "The series was reconstructed with a bone kernel.",
    Reason.OUT_OF_SCOPE: "The patient or the picture is outside what the algorithm was made for.",
    Reason.NOT_HU: "The pixel values are not plausible Hounsfield units.",
    Reason.LOSSY: "The images were compressed with too much loss.",
    Reason.GEOMETRY: "Slice positions are missing or contradict each other.",
    Reason.TOO_FEW_SLICES: "Too few slices: fewer than 8, or less than 60 mm from the first to the last.",
    Reason.INCOMPLETE: "Slices are missing from the series.",
    Reason.MODEL_FAILED: "The analysis failed repeatedly.",
    Reason.BETTER_CANDIDATE: "Another series of the same acquisition was read instead.",
}

_RANKS = {reason: rank for rank, reason in enumerate(Reason)}


def _verdict_of(reason: Reason) -> Verdict:
    if _RANKS[reason] <= _RANKS[Reason.NO_IDENTITY]:
        return Verdict.UNREADABLE
    if _RANKS[reason] <= _RANKS[Reason.DERIVED]:
        return Verdict.IGNORED
    if _RANKS[reason] <= _RANKS[Reason.INCOMPLETE]:
        return Verdict.DECLINED
    return Verdict.FAILED if reason is Reason.MODEL_FAILED else Verdict.NOT_CHOSEN


_VERDICTS = {reason: _verdict_of(reason) for reason in Reason}

SERIES_DESCRIPTIONS = {
    Outcome.POSITIVE: "ICH AI SUSPECTED - not for dx",
    Outcome.NEGATIVE: "ICH AI NOT DETECTED - not for dx",
    Outcome.INDETERMINATE: "ICH AI UNCERTAIN - not for dx",
    Outcome.DECLINED: "ICH AI NOT ANALYZED - not for dx",
    Outcome.FAILED: "ICH AI NOT ANALYZED - not for dx",
}

FINDING_SENTENCES = {
    Outcome.POSITIVE: "Suspected intracerebral hemorrhage",
    Outcome.NEGATIVE: "No intracerebral hemorrhage detected by the algorithm",
    Outcome.INDETERMINATE: "Indeterminate: the algorithm neither suspects nor dismisses an intracerebral hemorrhage",
    Outcome.DECLINED: "Not analyzed",
    Outcome.FAILED: "Not analyzed: no analysis took place because of a fault of this software",
}

LOCATION_WORDS = {
    Location.DEEP: "deep supratentorial",
    Location.LOBAR: "lobar",
    Location.SUBTENTORIAL: "subtentorial",
}


@dataclass(frozen=True, kw_only=True)
class Code:
    """A coded concept: value, coding scheme designator, meaning (PS3.3 section 8)."""

    value: str
    scheme: str
    meaning: str


PRIVATE_SCHEME = "99ICHNODE"
PRIVATE_SCHEME_NAME = "ICH node private codes"
# derived once from a random UUID (PS3.5 B.2); identifies the private scheme, never an instance
PRIVATE_SCHEME_UID = "2.25.130894211520396548160278391437254012853"


def private(value: str, meaning: str) -> Code:
    return Code(value=value, scheme=PRIVATE_SCHEME, meaning=meaning)


def reason_code(reason: Reason) -> Code:
    """The code of a reason: its value is the reason itself (16 characters at most, VR SH)."""
    return private(reason.value, reason.sentence.rstrip("."))


TITLE_WITH_REGION = Code(value="126000", scheme="DCM", meaning="Imaging Measurement Report")
TITLE_TEXT = private("ICH-REPORT", "Intracerebral hemorrhage report")
LANGUAGE_ENGLISH_US = Code(value="en-US", scheme="RFC5646", meaning="English (United States)")
FINDING = Code(value="274100004", scheme="SCT", meaning="Cerebral hemorrhage")
PRESENCE_NAME = Code(value="121052", scheme="DCM", meaning="Presence of property")
PRESENCE = {
    Outcome.POSITIVE: Code(value="52101004", scheme="SCT", meaning="Present"),
    Outcome.NEGATIVE: Code(value="272519000", scheme="SCT", meaning="Absent"),
    Outcome.INDETERMINATE: Code(value="373068000", scheme="SCT", meaning="Undetermined"),
}
PROBABILITY = Code(value="122157", scheme="DCM", meaning="Probability")
PERCENT = Code(value="%", scheme="UCUM", meaning="Percent")
CT_PROCEDURE = Code(value="25045-6", scheme="LN", meaning="CT unspecified body region")
ALGORITHM_FAMILY = Code(value="123110", scheme="DCM", meaning="Artificial Intelligence")
QUALITATIVE_EVALUATIONS = Code(value="C0034375", scheme="UMLS", meaning="Qualitative Evaluations")
CONCLUSION = Code(value="121077", scheme="DCM", meaning="Conclusion")
COMMENT = Code(value="121106", scheme="DCM", meaning="Comment")
STATUS_NAME = private("ICH-STATUS", "Analysis status")
STATUS_ANALYZED = private("ICH-ANALYZED", "Analyzed")
STATUS_NOT_ANALYZED = private("ICH-DECLINED", "Not analyzed")
REASON_NAME = private("ICH-REASON", "Reason not analyzed")
SITES = {
    Location.DEEP: private("ICH-DEEP", "Deep supratentorial brain"),
    Location.LOBAR: private("ICH-LOBAR", "Lobar brain"),
    Location.SUBTENTORIAL: private("ICH-SUBTENT", "Subtentorial brain"),
}
