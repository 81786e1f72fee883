"""Reads the chosen candidates with the network, and says of others why they are not read. Reads files."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ich_node.analysis.choose import Choice
from ich_node.analysis.files import read_file
from ich_node.analysis.order import Order
from ich_node.analysis.reader import Reader, Served, study_thresholds
from ich_node.analysis.reports import NO_THRESHOLDS
from ich_node.analysis.stopwatch import Stopwatch
from ich_node.core.conclusion import (
    Finding,
    Scores,
    SliceScore,
    Thresholds,
    conclude,
    most_serious_first,
    not_judged,
)
from ich_node.core.selection import Candidate
from ich_node.dicom.key_slice import KeySlice
from ich_node.dicom.volume import AssembledSeries
from ich_node.errors import AnalysisFailed, UnreadableInstance
from ich_node.log import logger
from ich_node.vocabulary import NOTE_BRACE, Location, Outcome, Reason
from model.prediction import Prediction
from model.window import to_window


@dataclass(frozen=True, kw_only=True)
class CandidateReading:
    """The reading of one candidate; `sources` are the headers of the images that it is about."""

    finding: Finding
    series_uid: str
    sources: tuple[Dataset, ...]
    key_slices: tuple[KeySlice, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StudyReading:
    """The readings of a study, the leading one first, and with what they were made; empty: nothing claims."""

    readings: tuple[CandidateReading, ...]
    thresholds: Thresholds = NO_THRESHOLDS
    device: str = ""


def read_chosen(order: Order, choice: Choice, reader: Reader, watch: Stopwatch) -> StudyReading:
    """Read every chosen candidate; beside them, and where none can be read, say why others are not.

    Raises what the network raises, except on the last attempt.
    """
    selection = choice.selection
    if order.barriers or not selection.chosen:
        best = next(iter(selection.chosen), None) or selection.best_declined
        return StudyReading(readings=(_declined(best, choice, order.barriers),) if best else ())
    served = reader.take(order.bundle)
    readings = [_read(order, candidate, choice, served, watch) for candidate in selection.chosen]
    readings += [_declined(candidate, choice) for candidate in selection.unread]
    if order.study.cut_short:
        readings = [_unless_negative(reading) for reading in readings]
    ranked = most_serious_first([reading.finding for reading in readings])
    return StudyReading(
        readings=tuple(readings[place] for place in ranked),
        thresholds=study_thresholds(served),
        device=served.device_name,
    )


def headers_of(paths: Iterable[Path]) -> tuple[Dataset, ...]:
    """The headers of files; one that cannot be read is left out."""
    headers = []
    for path in paths:
        try:
            headers.append(read_file(path, pixels=False))
        except (AnalysisFailed, UnreadableInstance):
            continue
    return tuple(headers)


def _read(
    order: Order, candidate: Candidate, choice: Choice, served: Served, watch: Stopwatch
) -> CandidateReading:
    series = choice.series[candidate.key]
    finding = failed_finding()
    key_slices: tuple[KeySlice, ...] = ()
    try:
        prediction = served.predict(series.volume, at=watch.at)
        finding = _finding(series, prediction, study_thresholds(served))
        if finding.key_instances:
            key_slices = _key_slices(series, prediction)
        for stage, seconds in prediction.seconds.items():
            watch.add(stage, seconds)
    except Exception as error:
        # the other candidates may hold a bleed: the last attempt keeps what they show
        if not order.last_attempt:
            raise
        logger().error("candidate.failed", study=order.study.id, error=type(error).__name__)
    return CandidateReading(
        finding=finding,
        series_uid=candidate.series_uid,
        sources=_sources(candidate, choice),
        key_slices=key_slices,
    )


def _finding(series: AssembledSeries, prediction: Prediction, thresholds: Thresholds) -> Finding:
    uids = series.sop_instance_uids
    scores = Scores(
        study=prediction.score,
        locations={Location(name): score for name, score in prediction.location_scores.items()},
        slices=tuple(
            SliceScore(sop_instance_uid=uid, score=float(score))
            for uid, score in zip(uids, prediction.slice_scores, strict=True)
        ),
        key_instances=tuple(uids[index] for index in prediction.key_slices),
    )
    left_in = any(note.startswith("BRACE_GUARD_TRIPPED") for note in prediction.notes)
    notes = (*series.notes, NOTE_BRACE) if left_in else series.notes
    return conclude(scores, thresholds, extent=series.extent, notes=notes)


def _unless_negative(reading: CandidateReading) -> CandidateReading:
    """A sender still connected at the deadline, or a source with more of it: too early to say negative."""
    if reading.finding.outcome is not Outcome.NEGATIVE:
        return reading
    return replace(reading, finding=not_judged([Reason.INCOMPLETE], extent=reading.finding.extent))


def failed_finding() -> Finding:
    """The finding of a candidate, or a study, that a fault of ours kept from being read."""
    return not_judged([Reason.MODEL_FAILED])


def _declined(candidate: Candidate, choice: Choice, barriers: Sequence[Reason] = ()) -> CandidateReading:
    reasons = {reason for reason in candidate.reasons if reason is not Reason.BETTER_CANDIDATE} | {*barriers}
    return CandidateReading(
        finding=not_judged(list(reasons)),
        series_uid=candidate.series_uid,
        sources=_sources(candidate, choice),
    )


def _sources(candidate: Candidate, choice: Choice) -> tuple[Dataset, ...]:
    return headers_of(choice.paths[uid] for uid in candidate.instances)


def _key_slices(series: AssembledSeries, prediction: Prediction) -> tuple[KeySlice, ...]:
    """Show the most suspicious slice first, the others foot to head, as the report's words name them."""
    by_place = dict(enumerate(prediction.key_slices))
    first, *others = by_place
    return tuple(
        KeySlice(
            sop_instance_uid=series.sop_instance_uids[by_place[place]],
            picture=_picture(series, by_place[place]),
            heat=prediction.heat_map(place),
        )
        for place in (first, *sorted(others, key=by_place.__getitem__))
    )


def _picture(series: AssembledSeries, index: int) -> NDArray[np.uint8]:
    """One slice in the brain window, 0 to 255: what the network's preparation begins with."""
    return np.round(to_window(series.volume.hu[index].copy()) * 255).astype(np.uint8)
