"""The words of one report, the same in SR, SC and HTML. Assembles sentences of the vocabulary; ASCII only."""

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset

from ich_node import vocabulary
from ich_node.core.conclusion import Extent, Finding, Scores
from ich_node.dicom.report_context import ReportContext
from ich_node.dicom.values import text
from ich_node.vocabulary import Outcome


@dataclass(frozen=True, kw_only=True)
class Words:
    """What a report says: the finding first, then the sentences below it."""

    headline: str
    sentences: tuple[str, ...]

    @property
    def conclusion(self) -> str:
        return " ".join((self.headline, *self.sentences, vocabulary.DISCLAIMER))


def words_of(finding: Finding, sources: Sequence[Dataset], context: ReportContext) -> Words:
    """Say what was found, where to look, what was read and what was not looked for."""
    said = (*_told(finding, sources, context), *finding.notes, *context.bundle_notes)
    return Words(
        headline=vocabulary.finding_sentence(finding.outcome, finding.location),
        sentences=tuple(ascii_text(sentence) for sentence in said),
    )


def _told(finding: Finding, sources: Sequence[Dataset], context: ReportContext) -> list[str]:
    told = _analysis(finding, context) if finding.outcome.analyzed else _refusal(finding, sources)
    told.append(vocabulary.NOT_LOOKED_FOR if finding.outcome.analyzed else vocabulary.READ_AS_USUAL)
    if context.predecessor:
        told.append(vocabulary.replaces_sentence(context.revision))
    told.append(vocabulary.PRELIMINARY)
    return told


def _analysis(finding: Finding, context: ReportContext) -> list[str]:
    told = []
    if finding.scores:
        told.append(_score(finding.scores, context))
    if finding.extent:
        series = ascii_text(finding.extent.series_number)
        if finding.key_instances:
            told.append(vocabulary.key_images_sentence(series, key_image_numbers(finding)))
        told.append(_read(finding.extent))
    return told


def _score(scores: Scores, context: ReportContext) -> str:
    if not math.isfinite(scores.study):
        return vocabulary.NO_SCORE_SENTENCE
    low, high = context.thresholds.low, context.thresholds.high
    if context.calibrated and context.prevalence is not None:
        return vocabulary.probability_sentence(
            scores.study, prevalence=context.prevalence, low=low, high=high
        )
    return vocabulary.score_sentence(scores.study, low=low, high=high)


def _read(extent: Extent) -> str:
    return vocabulary.read_sentence(
        ascii_text(extent.series_number),
        slices=extent.slices,
        covered_mm=extent.covered_mm,
        not_covered=extent.not_covered,
    )


def _refusal(finding: Finding, sources: Sequence[Dataset]) -> list[str]:
    reasons = (finding.reason, *finding.further_reasons)
    told = [reason.sentence for reason in reasons if reason]
    if finding.extent and finding.extent.not_covered:
        told.append(vocabulary.not_covered_sentence(finding.extent.not_covered))
    if finding.extent:
        series, instances = finding.extent.series_number, finding.extent.slices
    else:
        series, instances = text(sources[0], "SeriesNumber")[:64], len(sources)
    told.append(vocabulary.not_read_sentence(ascii_text(series), instances=instances))
    return told


def key_image_numbers(finding: Finding) -> tuple[str, ...]:
    """The scanner's numbers of the key images, foot to head; the UID where the scanner wrote none."""
    numbers = finding.extent.image_numbers if finding.extent else {}
    return tuple(ascii_text(numbers.get(uid) or uid) for uid in key_instances(finding))


def key_instances(finding: Finding) -> tuple[str, ...]:
    """The key images' SOP Instance UIDs, foot to head."""
    if finding.scores is None:
        return ()
    place = {piece.sop_instance_uid: index for index, piece in enumerate(finding.scores.slices)}
    return tuple(sorted(finding.key_instances, key=lambda uid: (place.get(uid, len(place)), uid)))


def series_description(outcome: Outcome) -> str:
    return vocabulary.SERIES_DESCRIPTIONS[outcome]


def ascii_text(written: str) -> str:
    """Spell it in printable ASCII that also survives ISO_IR 13, where \\ and ~ are other characters."""
    spelled = unicodedata.normalize("NFKD", written).encode("ascii", "ignore").decode()
    return re.sub(r"[^\x20-\x7d]+", " ", spelled.replace("\\", "/").replace("~", "-")).strip()
