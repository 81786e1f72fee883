"""What tests of learning are made of: a tiny bundle, studies that were received and read, labels."""

import csv
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import model_builders
from builders import ct_series
from pydicom.dataset import Dataset
from reception import write

from ich_node.core.consensus import Opinion, Presence
from ich_node.settings.tree import Settings
from ich_node.store.claims import claim_study, finish_study
from ich_node.store.database import Database
from ich_node.store.files import Archive, name_of
from ich_node.store.labels import add_label
from ich_node.store.readings import Reading, add_readings
from ich_node.store.studies import NewInstance, add_instance, get_study, mark_ready
from ich_node.vocabulary import Location
from model.manifest import Thresholds

NOW = datetime(2026, 5, 4, 8, tzinfo=UTC)


def tiny_bundle(folder: Path, *, low: float = 0.3) -> Path:
    """Write a bundle of untrained weights, named like its folder, and return the folder."""
    return model_builders.tiny_bundle(
        folder,
        name=folder.name,
        slice_thresholds=Thresholds(low=low, high=0.6),
        study_thresholds=Thresholds(low=low, high=0.7),
    )


def settings_of(database: Database, folder: Path, **sections: object) -> Settings:
    """Settings of a small node whose first bundle is the tiny one in `folder`/tiny."""
    values = {
        "database": {"url": database.url},
        "storage": {"folder": folder / "storage", "reserve_mb": 0},
        "bundle": str(folder / "tiny"),
        "analysis": {"device": "cpu"},
        "retraining": {"epochs": 1, "learning_rate": 1e-5},
    }
    return Settings(**{**values, **sections})


def received(
    database: Database,
    *,
    seed: int,
    bleed: bool = False,
    archive: Archive | None = None,
    patient_id: str | None = None,
    accession_number: str = "",
) -> int:
    """Store a study as received and read it: each slice scores high that bleeds; returns its number.

    Without an archive the rows are there, but no files.
    """
    images = ct_series(seed=seed, slices=10, rows=64, columns=64, bleed=bleed)
    patient = f"patient {seed}" if patient_id is None else patient_id
    with database.transaction() as connection:
        for image in images:
            new = _instance(image, patient, accession_number, archive)
            study_id = add_instance(connection, new, in_use=True, now=NOW)
        mark_ready(connection, study_id, quiet_since=NOW, by_deadline=False, now=NOW)
        claim = claim_study(connection, holder="test", lease_s=60, now=NOW)
        assert claim is not None
        assert claim.study.id == study_id
        finish_study(connection, claim, outcome="positive" if bleed else "negative", reason=None, now=NOW)
        add_readings(connection, [_reading(study_id, images, bleed=bleed)])
    return study_id


def _instance(image: Dataset, patient: str, accession: str, archive: Archive | None) -> NewInstance:
    buffer = BytesIO()
    image.save_as(buffer, enforce_file_format=True)
    content = buffer.getvalue()
    sha256 = hashlib.sha256(content).hexdigest()
    name = name_of(image.SOPInstanceUID, sha256)
    if archive is not None:
        write(archive, name, [content])
    return NewInstance(
        study_uid=image.StudyInstanceUID,
        series_uid=image.SeriesInstanceUID,
        sop_instance_uid=image.SOPInstanceUID,
        sop_class_uid=image.SOPClassUID,
        transfer_syntax_uid=image.file_meta.TransferSyntaxUID,
        patient_id=patient,
        accession_number=accession,
        sha256=sha256,
        bytes=len(content),
        file=name,
        association_id=None,
    )


def _reading(study_id: int, images: Sequence[Dataset], *, bleed: bool) -> Reading:
    middle = len(images) // 2
    scores = [
        {
            "sop_instance_uid": str(image.SOPInstanceUID),
            "probability": 0.9 if bleed and abs(place - middle) <= 1 else 0.05,
        }
        for place, image in enumerate(images)
    ]
    return Reading(
        study_id=study_id,
        revision=1,
        series_uid=images[0].SeriesInstanceUID,
        outcome="positive" if bleed else "negative",
        reason=None,
        leading=True,
        bundle_sha256="0" * 64,
        device="cpu",
        result={"slice_probabilities": scores},
        read_at=NOW,
    )


def label(
    database: Database,
    study_id: int,
    presence: Presence,
    *,
    location: Location | None = None,
    reader: str = "reader",
    hours: int = 0,
) -> None:
    """Put one blind reader's word on a study."""
    opinion = Opinion(
        hemorrhage=presence,
        location=location,
        reader=reader,
        read_at=NOW + timedelta(hours=hours),
        saw_result=False,
    )
    with database.transaction() as connection:
        add_label(connection, study_id, opinion, now=NOW)


def study_uid(database: Database, study_id: int) -> str:
    with database.transaction() as connection:
        study = get_study(connection, study_id)
    assert study is not None
    return study.study_uid


def labels_file(folder: Path, *rows: dict[str, str], separator: str = ",") -> Path:
    """Write a labels.csv with the columns that the rows name."""
    file = folder / "labels.csv"
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with file.open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, columns, restval="", delimiter=separator)
        table.writeheader()
        table.writerows(rows)
    return file
