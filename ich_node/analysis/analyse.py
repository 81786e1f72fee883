"""Reads one study: choose, predict, conclude, report; one call each. Reads files; writes nothing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ich_node.analysis.choose import Choice, choose_series
from ich_node.analysis.files import FoundInstance, read_file, read_headers
from ich_node.analysis.reader import Reader, study_thresholds
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
from ich_node.core.grounds import Rules
from ich_node.core.selection import Candidate, Selection
from ich_node.dicom.report import ReportContext, build_structured_report, to_bytes
from ich_node.dicom.report_context import Predecessor
from ich_node.dicom.secondary_capture import build_secondary_capture
from ich_node.dicom.volume import AssembledSeries
from ich_node.errors import UnreadableInstance
from ich_node.settings import Settings
from ich_node.store.bundles import ServingBundle
from ich_node.store.readings import Report
from ich_node.vocabulary import Location, Outcome, Reason
from model.predict import Prediction
from model.window import to_window

Picture = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be read, and by what; `barriers` forbid a reading for reasons outside the images."""

    study_id: int
    revision: int
    files: tuple[Path, ...]
    barriers: tuple[Reason, ...]
    bundle: ServingBundle
    installation_uid: str
    predecessor: Report | None
    settings: Settings


@dataclass(frozen=True, kw_only=True)
class CandidateReading:
    """The reading of one candidate; `sources` are the headers of the images that it is about."""

    finding: Finding
    series_uid: str
    sources: tuple[Dataset, ...]
    picture: Picture | None = None


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """What came of a study: readings, the leading one first; its reports; why series were read or not."""

    outcome: Outcome
    reason: Reason | None
    readings: tuple[CandidateReading, ...]
    reports: tuple[Report, ...]
    selection: Selection | None
    seconds: dict[str, float]
    device: str


def analyse(order: Order, reader: Reader, watch: Stopwatch, *, at: datetime) -> Analysis:
    """Read a study; `at` is the time that its reports will carry, in the zone of the site.

    Raises whatever goes wrong on our side: the caller tries again or gives up, and never says negative.
    """
    with watch.stage("decode"):
        found = read_headers(order.files).instances
        rules = Rules(minimum_age_years=order.settings.analysis.minimum_age_years)
        choice = choose_series(found, rules, trust_headers=order.settings.analysis.trust_headers)
    readings, device, thresholds = _readings(order, choice, found, reader, watch)
    if not readings:
        return _ended(Outcome.IGNORED, choice.selection, watch, reason=choice.selection.reason)
    with watch.stage("report"):
        reports = _reports(order, readings[0], thresholds, at=at, device=device)
    return Analysis(
        outcome=readings[0].finding.outcome,
        reason=readings[0].finding.reason,
        readings=tuple(readings),
        reports=reports,
        selection=choice.selection,
        seconds=watch.seconds,
        device=device,
    )


def give_up(order: Order, *, at: datetime) -> Analysis:
    """Say that no analysis took place because of a fault of ours; reported wherever there is a CT header."""
    found = [one for one in read_headers(order.files).instances if one.facts.modality == "CT"]
    finding = not_judged([Reason.MODEL_FAILED])
    if not found:
        return _ended(Outcome.FAILED, None, Stopwatch(), reason=Reason.MODEL_FAILED)
    reading = CandidateReading(
        finding=finding,
        series_uid=found[0].facts.series_uid,
        sources=_headers(one.path for one in found if one.facts.series_uid == found[0].facts.series_uid),
    )
    reports = _reports(order, reading, Thresholds(low=0, high=1), at=at, device="")
    return Analysis(
        outcome=Outcome.FAILED,
        reason=Reason.MODEL_FAILED,
        readings=(reading,),
        reports=reports,
        selection=None,
        seconds={},
        device="",
    )


def _ended(
    outcome: Outcome, selection: Selection | None, watch: Stopwatch, *, reason: Reason | None
) -> Analysis:
    return Analysis(
        outcome=outcome,
        reason=reason,
        readings=(),
        reports=(),
        selection=selection,
        seconds=watch.seconds,
        device="",
    )


def _readings(
    order: Order, choice: Choice, found: Sequence[FoundInstance], reader: Reader, watch: Stopwatch
) -> tuple[list[CandidateReading], str, Thresholds]:
    """Read every chosen candidate, or say why none can be; the most serious reading first."""
    paths = {one.facts.sop_instance_uid: one.path for one in found}
    chosen = choice.selection.chosen
    if order.barriers or not chosen:
        declined = _declined(choice.selection, paths, order.barriers)
        return ([declined] if declined else []), "", Thresholds(low=0, high=1)
    predictor = reader.take(order.bundle)
    thresholds = study_thresholds(predictor)
    readings = []
    for candidate in chosen:
        series = choice.series[candidate.key]
        prediction = predictor.predict(series.volume, at=watch.at)
        for stage, seconds in prediction.seconds.items():
            watch.add(stage, seconds)
        readings.append(_read(candidate, series, prediction, thresholds, paths))
    ranked = most_serious_first([reading.finding for reading in readings])
    return [readings[place] for place in ranked], predictor.device_name, thresholds


def _read(
    candidate: Candidate,
    series: AssembledSeries,
    prediction: Prediction,
    thresholds: Thresholds,
    paths: dict[str, Path],
) -> CandidateReading:
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
    finding = conclude(scores, thresholds, extent=series.extent, notes=series.notes)
    picture = _picture(series, prediction.key_slices[0]) if finding.key_instances else None
    return CandidateReading(
        finding=finding,
        series_uid=candidate.series_uid,
        sources=_headers(paths[uid] for uid in candidate.instances),
        picture=picture,
    )


def _declined(
    selection: Selection, paths: dict[str, Path], barriers: Sequence[Reason]
) -> CandidateReading | None:
    """The reading of a study in which something claims to be a head CT and nothing can be judged."""
    claimed = [one for one in selection.candidates if not one.is_ignored]
    if not claimed:
        return None
    ranks = {key: rank for rank, key in enumerate(selection.best_first)}
    best = min(claimed, key=lambda one: ranks[one.key])
    reasons = {*best.reasons, *barriers}
    return CandidateReading(
        finding=not_judged(list(reasons)),
        series_uid=best.series_uid,
        sources=_headers(paths[uid] for uid in best.instances),
    )


def _headers(paths: Iterable[Path]) -> tuple[Dataset, ...]:
    headers = []
    for path in paths:
        try:
            headers.append(read_file(path, pixels=False))
        except UnreadableInstance:
            continue
    return tuple(headers)


def _picture(series: AssembledSeries, index: int) -> Picture:
    """One slice in the brain window, 0 to 255: what the network's preparation begins with."""
    return np.round(to_window(series.volume.hu[index].copy()) * 255).astype(np.uint8)


def _reports(
    order: Order, reading: CandidateReading, thresholds: Thresholds, *, at: datetime, device: str
) -> tuple[Report, ...]:
    """Build SR and SC of the leading reading, as the bytes that every attempt to send will send."""
    context = ReportContext(
        installation_uid=order.installation_uid,
        ae_title=order.settings.receiver.ae_title,
        bundle_name=order.bundle.name,
        bundle_sha256=order.bundle.sha256,
        bundle_notes=order.bundle.notes,
        software_version=version("ich-node"),
        analysed_at=at,
        thresholds=thresholds,
        revision=order.revision,
        predecessor=_predecessor(order, reading),
        device=device,
        mode=order.settings.mode,
    )
    documents = {
        "SR": build_structured_report(reading.finding, reading.sources, context),
        "SC": build_secondary_capture(reading.finding, reading.sources, context, reading.picture),
    }
    return tuple(
        Report(
            kind=kind,
            study_id=order.study_id,
            revision=order.revision,
            sop_class_uid=str(document.SOPClassUID),
            sop_instance_uid=str(document.SOPInstanceUID),
            series_uid=str(document.SeriesInstanceUID),
            content=to_bytes(document),
            created_at=at,
        )
        for kind, document in documents.items()
    )


def _predecessor(order: Order, reading: CandidateReading) -> Predecessor | None:
    if order.predecessor is None:
        return None
    return Predecessor(
        sop_class_uid=order.predecessor.sop_class_uid,
        sop_instance_uid=order.predecessor.sop_instance_uid,
        series_uid=order.predecessor.series_uid,
        study_uid=str(reading.sources[0].StudyInstanceUID),
    )
