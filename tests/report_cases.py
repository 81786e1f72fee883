"""Findings of every outcome about one synthetic series, and what dciodvfy says of their reports."""

from datetime import datetime, timedelta, timezone
from io import BytesIO
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset

from ich_node.core.conclusion import Extent, Finding, Scores, SliceScore, Thresholds, conclude, not_judged
from ich_node.dicom.key_slice import KeySlice
from ich_node.dicom.report import ReportContext
from ich_node.vocabulary import Location, Outcome, Reason
from tests import validators
from tests.builders import ct_series

SHA256 = "0123456789abcdef" * 4
INSTALLATION = "2.25.314159265358979"
THRESHOLDS = Thresholds(low=0.3, high=0.7)
PICTURE = np.random.default_rng(1).integers(60, 200, (64, 48), dtype=np.uint8)
HEAT = np.zeros(PICTURE.shape, dtype=np.float32)
HEAT[16:32, 12:24] = 0.9
ANALYSED_AT = datetime(2026, 3, 29, 1, 30, tzinfo=timezone(timedelta(hours=1)))


def context(**changes) -> ReportContext:
    known = {
        "installation_uid": INSTALLATION,
        "ae_title": "ICHNODE",
        "bundle_name": "demo-1",
        "bundle_sha256": SHA256,
        "software_version": "0.1.0",
        "analysed_at": ANALYSED_AT,
        "thresholds": THRESHOLDS,
        "device": "CPU",
    }
    return ReportContext(**(known | changes))


def headers(**changes) -> list[Dataset]:
    """A small series as the node reads it: written, read back, without pixels, values not yet decoded."""
    return [as_read(image) for image in ct_series(slices=10, spacing_mm=12.0, rows=8, columns=8, **changes)]


def as_read(image: Dataset) -> Dataset:
    file = BytesIO()
    image.save_as(file, enforce_file_format=True)
    file.seek(0)
    return dcmread(file, stop_before_pixels=True)


def finding(outcome: Outcome, sources: list[Dataset]) -> Finding:
    if outcome is Outcome.DECLINED:
        return not_judged([Reason.LOSSY, Reason.CONTRAST])
    if outcome is Outcome.FAILED:
        return not_judged([Reason.MODEL_FAILED])
    score = {Outcome.POSITIVE: 0.934, Outcome.INDETERMINATE: 0.5, Outcome.NEGATIVE: 0.021}[outcome]
    return conclude(_scores(score, sources), THRESHOLDS, extent=extent(sources))


def extent(sources: list[Dataset]) -> Extent:
    return Extent(
        series_uid=str(sources[0].SeriesInstanceUID),
        series_number=str(sources[0].SeriesNumber),
        series_description="Head 5.0",
        slices=len(sources),
        covered_mm=108.0,
        first_mm=-50.0,
        last_mm=58.0,
        image_numbers={str(source.SOPInstanceUID): str(source.InstanceNumber) for source in sources},
    )


def key_slices(told: Finding, heat=HEAT) -> tuple[KeySlice, ...]:
    """A picture for each key image that the finding names, with the same warm spot in each."""
    return tuple(KeySlice(sop_instance_uid=uid, picture=PICTURE, heat=heat) for uid in told.key_instances)


def _scores(score: float, sources: list[Dataset]) -> Scores:
    uids = [str(source.SOPInstanceUID) for source in sources]
    return Scores(
        study=score,
        locations={Location.DEEP: 0.8, Location.LOBAR: 0.15, Location.SUBTENTORIAL: 0.05},
        slices=tuple(SliceScore(sop_instance_uid=uid, score=score) for uid in uids),
        key_instances=(uids[6], uids[4]),
    )


def dciodvfy(file: Path) -> list[str]:
    """What the validator says about a file and the committed list does not explain."""
    known = validators.excuses("dciodvfy")
    (complaints,) = validators.dciodvfy([file]).values()
    return validators.unexcused({file.name: complaints}, known, odd={file.name})
