"""Every code and every sentence that a person reads; nothing else states one. Standard library only.

Rules of the ward: doubt is never negative, and a negative never says "no hemorrhage".
Code meanings are ASCII: they are written into studies whose character set may be ISO_IR 6.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

PRODUCT = "ICH node"
MANUFACTURER = "ICH node project"
DISCLAIMER = "Research software. Not for diagnostic use."
PRELIMINARY = "Preliminary: made by software, not verified by a physician."
READ_AS_USUAL = "Read as usual."
NOT_LOOKED_FOR = (
    "Not looked for: subdural, epidural, subarachnoid or intraventricular bleeding alone, "
    "and anything other than bleeding."
)
NOTE_AVERAGED = "Thin slices were averaged to slabs of about 5 mm."
NOTE_LOSSY = "The images were compressed with loss."
NOTE_NO_AGE = "The header states no age."
NOTE_BRACE = "The head holder was left in some slices: removing it might have cut into the head."
NOTE_TRUSTED = "The pixel values were taken as Hounsfield units without a check."
NOTE_TEST = "A test of the way from the ICH node to this archive, about no patient. It may be deleted."
TEST_PATIENT_NAME, TEST_PATIENT_ID = "ICH NODE TEST^NO PATIENT", "ICHNODE-TEST"
TEST_STUDY_DESCRIPTION = "TEST BY ICH NODE, NO PATIENT, MAY BE DELETED"


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


class HeadEnd(StrEnum):
    """An end of the head."""

    BASE = "base"
    VERTEX = "vertex"


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
    def meaning(self) -> str:
        """The reason as a code meaning: at most 64 characters (VR LO)."""
        return _SHORT_MEANINGS.get(self, self.sentence.rstrip("."))

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

# where the sentence is longer than a code meaning may be
_SHORT_MEANINGS = {
    Reason.NO_IDENTITY: "An identifying UID is absent or malformed",
    Reason.REJECTED: "The images were rejected at their source",
    Reason.DERIVED: "The images are derived",
    Reason.CONFLICT: "Identifiers contradict each other",
    Reason.OUT_OF_SCOPE: "Outside what the algorithm was made for",
    Reason.TOO_FEW_SLICES: "Too few slices",
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


class CutOff(StrEnum):
    """Why an association was aborted, or turned away for now: stable codes, each counted by itself."""

    INSTANCE_TOO_LARGE = "INSTANCE_TOO_LARGE"  # a data set over receiver.max_instance_mb
    PDU_TOO_LONG = "PDU_TOO_LONG"
    PDU_TOO_SLOW = "PDU_TOO_SLOW"
    BAD_MESSAGE = "BAD_MESSAGE"  # one that makes no sense or has no end
    NO_PLACE_LEFT = "NO_PLACE_LEFT"  # for all, or for one address
    PUT_OFF = "PUT_OFF"  # nobody could look whether the caller is allowed: the database is away
    FAILED = "FAILED"  # an error that nothing else handled


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
    Outcome.INDETERMINATE: "Indeterminate: the algorithm neither suspects nor dismisses a hemorrhage",
    Outcome.DECLINED: "Not analyzed",
    Outcome.FAILED: "Not analyzed: no analysis took place because of a fault of this software",
}

# dark enough for white words upon them; green is left out, as it would say "normal"
OUTCOME_COLORS = {
    Outcome.POSITIVE: "#b3261e",
    Outcome.NEGATIVE: "#2f5577",
    Outcome.INDETERMINATE: "#8a5a00",
    Outcome.DECLINED: "#565d66",
    Outcome.FAILED: "#565d66",
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
    return private(reason.value, reason.meaning)


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
SOURCE_IMAGE = Code(value="121322", scheme="DCM", meaning="Source image for image processing operation")
STATUS_NAME = private("ICH-STATUS", "Analysis status")
STATUS_ANALYZED = private("ICH-ANALYZED", "Analyzed")
STATUS_NOT_ANALYZED = private("ICH-DECLINED", "Not analyzed")
REASON_NAME = private("ICH-REASON", "Reason not analyzed")
SITES = {
    Location.DEEP: private("ICH-DEEP", "Deep supratentorial brain"),
    Location.LOBAR: private("ICH-LOBAR", "Lobar brain"),
    Location.SUBTENTORIAL: private("ICH-SUBTENT", "Subtentorial brain"),
}

ALGORITHM_NAME = "Intracerebral hemorrhage on non-contrast head CT"
ALGORITHM_ROLE = "Algorithm that produced the finding"
SCANNER_ROLE = "Acquisition equipment of the source images"


def finding_sentence(outcome: Outcome, location: Location | None) -> str:
    """The first sentence of a report: what was found, and where."""
    place = f", {LOCATION_WORDS[location]}" if location else ""
    return f"{FINDING_SENTENCES[outcome]}{place}."


def score_sentence(score: float, *, low: float, high: float) -> str:
    """The uncalibrated score of a study and how it was judged; all three from 0 to 1."""
    return (
        f"Score {score:.3f} on a scale from 0 to 1, not a calibrated probability "
        f"(suspected from {high:.3f}, not detected below {low:.3f})."
    )


def probability_sentence(probability: float, *, prevalence: float, low: float, high: float) -> str:
    """The calibrated probability of a study, with the prevalence that it holds for; all from 0 to 1."""
    return (
        f"Probability {percent(probability)} %, calibrated for a prevalence of {percent(prevalence)} % "
        f"(suspected from {percent(high)} %, not detected below {percent(low)} %)."
    )


def percent(fraction: float) -> str:
    """A fraction as percent with one decimal: the one rounding that every part of a report shares."""
    return f"{100 * fraction:.1f}"


NO_SCORE_SENTENCE = "The algorithm gave no usable score."


def series_words(series_number: str) -> str:
    return f"series {series_number}" if series_number else "a series without number"


def key_images_sentence(series_number: str, image_numbers: Sequence[str]) -> str:
    """The images to look at first, by the numbers that the scanner wrote."""
    return f"Look first at {series_words(series_number)}, {_counted('image', image_numbers)}."


def _counted(noun: str, names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"{noun} {names[0]}"
    return f"{noun}s {', '.join(names[:-1])} and {names[-1]}"


def read_sentence(
    series_number: str, *, slices: int, covered_mm: float, not_covered: Sequence[HeadEnd] = ()
) -> str:
    """Which series was read, how much of it, and what of the head lies outside."""
    series = series_words(series_number)
    read = f"Read: {series}, {slices} slices over {covered_mm:.0f} mm; nothing above or below them."
    return f"{read} {not_covered_sentence(not_covered)}" if not_covered else read


def not_covered_sentence(ends: Sequence[HeadEnd]) -> str:
    """Which ends of the head the scan does not reach."""
    return f"The scan does not reach {' nor '.join(_HEAD_ENDS[end] for end in ends)}."


_HEAD_ENDS = {HeadEnd.BASE: "the base of the skull", HeadEnd.VERTEX: "the vertex"}


def not_read_sentence(series_number: str, *, instances: int) -> str:
    """Which series was not judged."""
    return f"Not judged: {series_words(series_number)}, {instances} image{'' if instances == 1 else 's'}."


def caption(series_number: str, image_number: str) -> str:
    """What stands below the picture of a key image."""
    words = series_words(series_number)
    return f"{words[0].upper()}{words[1:]}, image {image_number}"


SMALL_CAPTION = "Image {number}"  # below a small picture, of the same series as the large one
OUTLINE_LEGEND = "Where the network sees signs of blood; no segmentation."


def reader_line(*, software_version: str, bundle_name: str, bundle_sha256: str, mode: str, at: str) -> str:
    """What read the study, and when: the small print of a page."""
    return f"{PRODUCT} {software_version}, model {bundle_name} ({bundle_sha256[:12]}), mode {mode}, {at}"


def replaces_sentence(revision: int) -> str:
    """That an earlier report about this study no longer holds."""
    return f"Revision {revision}: replaces the earlier report of this software about this study."


GATE_CHAMPION = "the bundle that serves"
GATE_CHALLENGER = "the candidate"
GATE_COUNTED_TWICE = "A patient is counted twice among those kept aside."
GATE_NO_THRESHOLD = "A low threshold is not a number from 0 to 1."


def gate_thin_sentence(what: str, *, found: int, needed: int) -> str:
    """Why the evidence for a candidate is too thin."""
    return f"The evidence is too thin: {found} {what} kept aside, at least {needed} are needed."


def gate_missing_sentence(who: str, patients: int) -> str:
    """Why a comparison is impossible."""
    return f"There is no usable score of {who} for {patients} of the patients kept aside."


def gate_unplaced_sentence(who: str, patients: int) -> str:
    """Why locations cannot be compared."""
    return f"There is no usable location of {who} for {patients} of the patients kept aside."


def gate_worse_sentence(what: str, *, champion: float, challenger: float) -> str:
    """In what a candidate falls behind."""
    return f"The candidate is worse in {what}: {challenger:.3f} against {champion:.3f} of {GATE_CHAMPION}."


def gate_other_champion_sentence(serving: str) -> str:
    """That the evidence is about another bundle than the one to be replaced."""
    return f"The candidate was not compared with {serving}, which serves now: retrain to compare them."


def gate_lowered_sentence(minimum: int, shipped: int) -> str:
    """That the model was let in with less evidence than the node asks for as shipped."""
    return f"The gate was lowered for this model: {minimum} kept-aside patients asked for, not {shipped}."
