"""What is to be read, and by what. Values only."""

from dataclasses import dataclass
from pathlib import Path

from ich_node.settings.tree import Settings
from ich_node.store.bundles import ServingBundle
from ich_node.store.readings import Report
from ich_node.store.studies import StoredInstance, Study
from ich_node.vocabulary import Reason


@dataclass(frozen=True, kw_only=True)
class Order:
    """One study to read.

    `files` are those of `instances` that are there; `barriers` forbid a reading for reasons outside the
    images; on the last attempt a candidate that breaks the analysis ends as failed and the others are read.
    """

    study: Study
    instances: tuple[StoredInstance, ...]
    files: tuple[Path, ...]
    barriers: tuple[Reason, ...]
    last_attempt: bool
    bundle: ServingBundle
    installation_uid: str
    predecessor: Report | None
    settings: Settings
