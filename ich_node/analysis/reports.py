"""Builds the reports of a study's leading reading, as the bytes that every attempt to send will send."""

from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from typing import Protocol

from pydicom.dataset import Dataset

from ich_node.analysis.order import Order
from ich_node.core.conclusion import Finding, Thresholds
from ich_node.dicom.key_slice import KeySlice
from ich_node.dicom.report import ReportContext, build_structured_report, to_bytes
from ich_node.dicom.report_context import Predecessor
from ich_node.dicom.secondary_capture import build_secondary_capture
from ich_node.store.readings import Report

NO_THRESHOLDS = Thresholds(low=0, high=1)  # of a reading without scores


class ReportedReading(Protocol):
    """What a report is about: the finding, the headers of its images, and the key slices if there are any."""

    @property
    def finding(self) -> Finding: ...
    @property
    def sources(self) -> Sequence[Dataset]: ...
    @property
    def key_slices(self) -> Sequence[KeySlice]: ...


def build_reports(
    order: Order, reading: ReportedReading, thresholds: Thresholds, *, at: datetime, device: str = ""
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
        revision=order.study.revision,
        predecessor=_predecessor(order),
        device=device,
        mode=order.settings.mode,
    )
    documents = {
        "SR": build_structured_report(reading.finding, reading.sources, context),
        "SC": build_secondary_capture(reading.finding, reading.sources, context, reading.key_slices),
    }
    return tuple(
        Report(
            kind=kind,
            study_id=order.study.id,
            revision=order.study.revision,
            sop_class_uid=str(document.SOPClassUID),
            sop_instance_uid=str(document.SOPInstanceUID),
            series_uid=str(document.SeriesInstanceUID),
            content=to_bytes(document),
            created_at=at,
        )
        for kind, document in documents.items()
    )


def _predecessor(order: Order) -> Predecessor | None:
    if order.predecessor is None:
        return None
    return Predecessor(
        sop_class_uid=order.predecessor.sop_class_uid,
        sop_instance_uid=order.predecessor.sop_instance_uid,
        series_uid=order.predecessor.series_uid,
        study_uid=order.study.study_uid,
    )
