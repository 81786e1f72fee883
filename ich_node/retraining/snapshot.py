"""Which labelled studies a retraining learns from, each patient in one part for good. Uses the database only.

What comes out holds pseudonyms: hashes of the patient, salted with the UID of this installation.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from ich_node.core.consensus import Opinion, Truth, consensus
from ich_node.core.split import Split, assign
from ich_node.core.states import StudyState
from ich_node.errors import RetrainingFailed
from ich_node.store.database import Connection, Database, installation_uid
from ich_node.store.labels import Identity, all_labels
from ich_node.store.readings import readings_of
from ich_node.store.runs import keep_splits, kept_splits
from ich_node.store.studies import get_study, instances_of
from ich_node.vocabulary import Location

Alive = Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class LabelledStudy:
    """A study with its truth, and what is needed to prepare the series that was read.

    `subject` is a pseudonym. `files` are names below the archive's images, of the whole series that was read;
    `scores` are those of the slices, by SOP Instance UID, of the bundle that read it.
    """

    subject: str
    present: bool
    location: Location | None
    files: tuple[str, ...]
    scores: Mapping[str, float]
    split: Split = Split.TRAIN

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "LabelledStudy":
        place = kept["location"]
        return cls(
            subject=kept["subject"],
            present=kept["present"],
            location=None if place is None else Location(place),
            files=tuple(kept["files"]),
            scores=kept["scores"],
            split=Split(kept["split"]),
        )


def snapshot(database: Database, *, now: datetime, alive: Alive) -> list[LabelledStudy]:
    """The labelled, finished studies whose images are still there, each patient in the part that he keeps.

    Those who train may come with several studies, those who validate or test with one: patients count.
    `alive` is called between studies. Raises RetrainingFailed where a part would lack a class.
    """
    with database.transaction() as connection:
        salt = installation_uid(connection)
        opinions: dict[Identity, list[Opinion]] = defaultdict(list)
        for label in all_labels(connection):
            opinions[label.identity].append(label.opinion)
    found = []
    for identity, given in opinions.items():
        alive()
        truth = consensus(given)
        if truth is None:
            continue
        with database.transaction() as connection:
            study = _labelled_study(connection, identity, truth, salt)
        if study is not None:
            found.append(study)
    parts = _parts(database, found, now)
    placed = _one_each([replace(study, split=parts[study.subject]) for study in found])
    _require_both_classes(placed)
    return placed


def pseudonym(salt: str, identity: Identity) -> str:
    """A name for a patient that leads back to nobody; a study without a patient ID stands for itself."""
    who = f"patient {identity.patient_id}" if identity.patient_id else f"study {identity.study_uid}"
    return hashlib.sha256(f"{salt} {who}".encode()).hexdigest()[:20]


def _labelled_study(
    connection: Connection, identity: Identity, truth: Truth, salt: str
) -> LabelledStudy | None:
    study = get_study(connection, identity.study_id)
    if study is None or study.state is not StudyState.FINISHED or study.conflict or study.forgotten_at:
        return None
    leading = [one for one in readings_of(connection, study.id, study.revision) if one.leading]
    scored = leading[-1].result.get("slice_probabilities") if leading else None
    if not scored:
        return None
    series = leading[-1].series_uid
    return LabelledStudy(
        subject=pseudonym(salt, identity),
        present=truth.present,
        location=truth.location,
        files=tuple(one.file for one in instances_of(connection, study.id) if one.series_uid == series),
        scores={one["sop_instance_uid"]: one["probability"] for one in scored},
    )


def _parts(database: Database, studies: Iterable[LabelledStudy], now: datetime) -> dict[str, Split]:
    """The part of each patient; a patient bleeds if one of his studies shows it."""
    classes: dict[str, bool] = {}
    for study in studies:
        classes[study.subject] = classes.get(study.subject, False) or study.present
    with database.transaction() as connection:
        kept = kept_splits(connection)
        parts = assign(kept, classes)
        new = {subject: part for subject, part in parts.items() if subject not in kept}
        keep_splits(connection, new, now=now)
    return parts


def _one_each(studies: Sequence[LabelledStudy]) -> list[LabelledStudy]:
    """Of a patient who does not train keep one study: the first that bleeds, or else the first."""
    first: dict[str, LabelledStudy] = {}
    for study in sorted(studies, key=lambda one: not one.present):
        first.setdefault(study.subject, study)
    return [one for one in studies if one.split is Split.TRAIN or first[one.subject] is one]


def _require_both_classes(studies: Iterable[LabelledStudy]) -> None:
    patients = {(study.subject, study.present, study.split) for study in studies}
    for part in (Split.TRAIN, Split.TEST):
        for present in (True, False):
            if not any(one[1:] == (present, part) for one in patients):
                ill = len({subject for subject, bleeds, _ in patients if bleeds})
                raise RetrainingFailed(
                    f"too few labelled patients whose images are here: {ill} with a hemorrhage and "
                    f"{len({one[0] for one in patients}) - ill} without; two of each are the least"
                )
