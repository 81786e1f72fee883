"""A worker's bench in the process of the test: studies in, outcomes and reports out."""

import threading
from dataclasses import replace
from datetime import UTC, datetime

from builders import ct_series
from model_builders import tiny_bundle
from reception import Message, accept, archive_of, settings_for

from ich_node.analysis.loaded import LoadedReader
from ich_node.intake.close import close_complete_studies
from ich_node.retraining.registry import register_first
from ich_node.store.deliveries import deliveries_of
from ich_node.store.readings import readings_of, reports_of
from ich_node.store.studies import find_study
from ich_node.worker import Bench, work_once

STUDY = "1.2.3.50"


def scan(number=2, **keywords):
    """One pass over the head; passes of one study differ by series number, acquisition and time."""
    study_uid = keywords.get("study_uid", STUDY)
    facts = {
        "study_uid": study_uid,
        "series_uid": f"{study_uid}.{number}",
        "series_number": number,
        "acquisition": number,
        "AcquisitionTime": f"12{number:02d}00",
        "slices": 14,
    }
    return ct_series(**facts | keywords)


class Room:
    """A bench, with what is needed to bring it studies; without thresholds the shipped bundle reads."""

    def __init__(self, folder, database, thresholds=None, **sections):
        if thresholds is not None:
            named = {"study_thresholds": thresholds, "slice_thresholds": thresholds}
            sections["bundle"] = str(tiny_bundle(folder / "bundle", **named))
        sections.setdefault("mode", "report")
        sections.setdefault(
            "destinations", [{"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 104}]
        )
        url = database.engine.url.render_as_string(hide_password=False)
        self.settings = settings_for(folder, url, 11112, **sections)
        self.database = database
        self.bench = Bench(
            settings=self.settings,
            database=database,
            archive=archive_of(self.settings),
            reader=LoadedReader("cpu"),
            holder="test",
            stop=threading.Event(),
        )

    def register(self):
        register_first(self.database, self.settings, now=datetime.now(UTC))
        return self

    def receive(self, *series):
        self.receive_messages(Message.of(image) for images in series for image in images)

    def receive_messages(self, messages, association_id=None):
        for message in messages:
            answer = accept(
                message.received(association_id),
                database=self.database,
                archive=self.bench.archive,
                now=datetime.now(UTC),
            )
            assert answer.status == 0
        close_complete_studies(self.database, now=datetime.now(UTC), quiet_s=0, deadline_s=3600)

    def changed(self, **changes):
        """The bench with something else about it."""
        return replace(self.bench, **changes)

    def work(self, study_uid=STUDY, **changes):
        assert work_once(self.changed(**changes))
        return self.look(study_uid)

    def look(self, study_uid=STUDY):
        with self.database.transaction() as connection:
            study = find_study(connection, study_uid)
            return (
                study,
                readings_of(connection, study.id),
                reports_of(connection, study.id),
                deliveries_of(connection, study.id),
            )
