"""Asks sources what they have of a study that nobody sends of any more (C-FIND). Network and database."""

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from ich_node.core.completion import COMPARED_AFTER_S, SourceSays, compare
from ich_node.errors import DeliveryFailed, FetchFailed
from ich_node.intake.fetch import Fetching, held, list_series
from ich_node.log import logger
from ich_node.settings.tree import Settings
from ich_node.store.arrivals import Uncompared, note_comparison, uncompared_studies
from ich_node.store.database import Database
from ich_node.store.files import Archive
from ich_node.tls import credentials_of

UNANSWERED_PAUSE_S = 60.0  # a source that does not answer is left alone so long: the silence decides then


class SourceWatch:
    """Compares each study once with what the sources list, and again after more of it came."""

    def __init__(
        self,
        database: Database,
        archive: Archive,
        settings: Settings,
        stop: threading.Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database, self._archive, self._clock = database, archive, clock
        credentials = credentials_of(settings.tls)
        self._sources = [
            Fetching(
                source=source,
                receiver=settings.receiver,
                timeout_s=settings.fetch.timeout_s,
                credentials=credentials,
                stop=stop,
            )
            for source in settings.sources
        ]
        self._paused_until: dict[str, float] = {}

    def look(self, *, now: datetime) -> int:
        """Compare the studies that wait for it; returns of how many a source proved something."""
        if not self._sources:
            return 0
        with self._database.transaction() as connection:
            settled_since = now - timedelta(seconds=COMPARED_AFTER_S)
            waiting = uncompared_studies(connection, settled_since=settled_since, now=now)
        return sum(self._compare(asked, now) for asked in waiting)

    def _compare(self, asked: Uncompared, now: datetime) -> bool:
        answers = {one.source.name: self._says(one, asked.study_uid) for one in self._sources}
        proofs = [(says, name) for name, says in answers.items() if says is not None]
        # one that has more outweighs any that has not
        says, name = max(proofs, key=lambda proof: proof[0] is SourceSays.MORE_TO_COME, default=(None, None))
        with self._database.transaction() as connection:
            note_comparison(connection, asked, says, source=name, now=now)
        return says is not None

    def _says(self, fetching: Fetching, study_uid: str) -> SourceSays | None:
        name = fetching.source.name
        if self._clock() < self._paused_until.get(name, 0.0):
            return None
        try:
            there = list_series(fetching, study_uid)
        except (DeliveryFailed, FetchFailed) as error:
            self._paused_until[name] = self._clock() + UNANSWERED_PAUSE_S
            logger().warning("source.not_answered", source=name, error=type(error).__name__)
            return None
        return compare(there, held(self._database, self._archive, study_uid))
