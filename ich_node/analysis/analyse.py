"""Reads one study: choose, read, report; one call each. Reads files; writes nothing."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from pydicom.dataset import Dataset

from ich_node.analysis.choose import LookAt, choose_series
from ich_node.analysis.files import read_headers
from ich_node.analysis.order import Order
from ich_node.analysis.read import CandidateReading, failed_finding, headers_of, read_chosen
from ich_node.analysis.reader import Reader
from ich_node.analysis.reports import NO_THRESHOLDS, build_reports
from ich_node.analysis.stopwatch import Stopwatch
from ich_node.core.selection import Selection
from ich_node.dicom.report_header import bare_headers
from ich_node.errors import AnalysisFailed
from ich_node.log import logger
from ich_node.store.readings import Report
from ich_node.vocabulary import Outcome, Reason


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """What came of a study: readings, the leading one first; its reports; why series were read or not."""

    outcome: Outcome
    reason: Reason | None
    readings: tuple[CandidateReading, ...] = ()
    reports: tuple[Report, ...] = ()
    selection: Selection | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    device: str = ""


def analyse(
    order: Order,
    reader: Reader,
    watch: Stopwatch,
    clock: Callable[[], datetime],
    look: LookAt | None = None,
) -> Analysis:
    """Read a study; `clock` gives the time that its reports will carry, `look` decodes (as `choose_series`).

    Raises whatever goes wrong on our side: the caller tries again or gives up, and never says negative.
    """
    with watch.stage("decode"):
        headers = read_headers(order.files, lenient=order.last_attempt)
        found = headers.instances
        if len(order.files) < len(order.instances) and not order.last_attempt:
            raise AnalysisFailed("files of the study are not there now")  # a mount may come back
        if not found:
            return give_up(order, at=clock())
        if headers.unreadable:  # they were received: what is left proves no absence
            order = replace(order, study=replace(order.study, cut_short=True))
        site = order.settings
        choice = choose_series(found, site.rules, trust_headers=site.analysis.trust_headers, look=look)
    selection = choice.selection
    read = read_chosen(order, choice, reader, watch)
    if not read.readings:
        return Analysis(
            outcome=Outcome.IGNORED, reason=selection.reason, selection=selection, seconds=watch.seconds
        )
    leading = read.readings[0]
    with watch.stage("report"):
        reports = build_reports(order, leading, read.thresholds, at=clock(), device=read.device)
    return Analysis(
        outcome=leading.finding.outcome,
        reason=leading.finding.reason,
        readings=read.readings,
        reports=reports,
        selection=selection,
        seconds=watch.seconds,
        device=read.device,
    )


def give_up(order: Order, *, at: datetime) -> Analysis:
    """Say that no analysis took place because of a fault of ours; never raises.

    The report is built from the headers of the largest CT series; where even that fails, from what the rows
    know of the instances.
    """
    failed = Analysis(outcome=Outcome.FAILED, reason=Reason.MODEL_FAILED)
    for sources_of in (_largest_ct_series, _rows_as_headers):
        try:
            sources = sources_of(order)
            reading = CandidateReading(
                finding=failed_finding(),
                series_uid=str(sources[0].SeriesInstanceUID),
                sources=sources,
            )
            reports = build_reports(order, reading, NO_THRESHOLDS, at=at)
        except Exception as error:  # noqa: BLE001  whatever broke the analysis may break its report too
            logger().error("study.report_failed", study=order.study.id, error=type(error).__name__)
        else:
            return replace(failed, readings=(reading,), reports=reports)
    return failed


def _largest_ct_series(order: Order) -> tuple[Dataset, ...]:
    series: dict[str, list[Path]] = {}
    for one in read_headers(order.files, lenient=True).instances:
        if one.facts.modality == "CT":
            series.setdefault(one.facts.series_uid, []).append(one.path)
    largest: list[Path] = max(series.values(), key=len)
    return headers_of(largest)


def _rows_as_headers(order: Order) -> tuple[Dataset, ...]:
    sources = []
    for instance in order.instances:
        source = Dataset()
        source.StudyInstanceUID = order.study.study_uid
        source.SeriesInstanceUID = instance.series_uid
        source.SOPInstanceUID = instance.sop_instance_uid
        source.SOPClassUID = instance.sop_class_uid
        sources.append(source)
    headers = bare_headers(sources)
    for header in headers:
        header.PatientID = order.study.patient_id
        header.AccessionNumber = order.study.accession_number
    return headers
