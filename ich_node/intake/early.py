"""Asks for an early reading where a head scan looks whole while its study still arrives. Reads headers."""

from collections import defaultdict
from datetime import datetime, timedelta

from ich_node.core.completion import AGAIN_S, SETTLED_S, heads_of, key_of
from ich_node.core.grounds import Rules
from ich_node.core.instances import InstanceFacts
from ich_node.dicom.headers import instance_facts
from ich_node.dicom.part10 import DEFLATED_TRANSFER_SYNTAXES, read_header
from ich_node.errors import UnreadableInstance
from ich_node.log import logger
from ich_node.store.arrivals import Arriving, arriving_series, ask_early, files_of_series
from ich_node.store.database import Database
from ich_node.store.files import Archive


class EarlyWatch:
    """Looks at series that stopped growing, each once; reads headers as they come and remembers them.

    What it remembers is forgotten with the study, or lost with its process and read again by the next.
    """

    def __init__(self, database: Database, archive: Archive, rules: Rules | None = None) -> None:
        self._database, self._archive, self._rules = database, archive, rules
        self._facts: dict[str, InstanceFacts | None] = {}  # by file
        self._looked_at: dict[tuple[int, str], tuple[int, datetime]] = {}  # images of each series, the last
        self._asked_at: dict[int, datetime] = {}  # by study

    def look(self, *, now: datetime) -> int:
        """Ask for every study in which heads look whole that were not asked for yet; returns how many."""
        with self._database.transaction() as connection:
            arriving = arriving_series(connection)
        self._forget_all_but(arriving)
        by_study: dict[int, list[Arriving]] = defaultdict(list)
        for series in arriving:
            if now - series.last_image_at >= timedelta(seconds=SETTLED_S):
                by_study[series.study_id].append(series)
            else:
                self._facts_of(series)  # while it grows: then little is left to read
        return sum(self._look_at(settled, now) for settled in by_study.values())

    def _look_at(self, settled: list[Arriving], now: datetime) -> bool:
        study_id = settled[0].study_id
        seen = {(one.study_id, one.series_uid): (one.images, one.last_image_at) for one in settled}
        asked_at = self._asked_at.get(study_id)
        # a clock that was set back must not make it wait until it has caught up
        if asked_at is not None and timedelta(0) <= now - asked_at < timedelta(seconds=AGAIN_S):
            return False
        if all(self._looked_at.get(series) == images for series, images in seen.items()):
            return False
        asked = self._ask(settled, now)
        self._looked_at |= seen  # not before: a database that is away for a moment must cost nothing
        if asked:
            self._asked_at[study_id] = now
        return asked

    def _ask(self, settled: list[Arriving], now: datetime) -> bool:
        heads = heads_of([fact for series in settled for fact in self._facts_of(series)], self._rules)
        study, key = settled[0], key_of(heads)
        if not heads or key == study.early_key:
            return False
        evidence = [head.to_dict() for head in heads]
        with self._database.transaction() as connection:
            asked = ask_early(connection, study.study_id, key, evidence=evidence, now=now)
        if asked:
            logger().info("study.looks_whole", study=study.study_id, heads=len(heads))
        return asked

    def _facts_of(self, series: Arriving) -> list[InstanceFacts]:
        with self._database.transaction() as connection:
            files = files_of_series(connection, series.study_id, series.series_uid)
        for file, transfer_syntax_uid in files:
            if file not in self._facts:
                # no early reading is worth a bomb
                inflates = transfer_syntax_uid in DEFLATED_TRANSFER_SYNTAXES
                self._facts[file] = None if inflates else self._read(file)
        found = (self._facts[file] for file, _ in files)
        return [fact for fact in found if fact is not None]

    def _read(self, file: str) -> InstanceFacts | None:
        try:
            with self._archive.path(file).open("rb") as opened:
                return instance_facts(read_header(opened))
        except (OSError, UnreadableInstance):
            return None  # the reading of the whole study says what there is to say

    def _forget_all_but(self, arriving: list[Arriving]) -> None:
        present = {(one.study_id, one.series_uid) for one in arriving}
        self._looked_at = {key: images for key, images in self._looked_at.items() if key in present}
        studies = {one.study_id for one in arriving}
        self._asked_at = {study: at for study, at in self._asked_at.items() if study in studies}
        uids = {one.series_uid for one in arriving}
        self._facts = {
            file: fact for file, fact in self._facts.items() if fact is not None and fact.series_uid in uids
        }
