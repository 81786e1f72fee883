"""Two machines over one PostgreSQL and one folder: one stands still past its leases and comes back."""

import pytest
from chaos.__main__ import stage_in
from chaos.databases import PostgresPlace
from chaos.plan import Kind, PlannedStudy, Round, Trick, Way
from chaos.rounds import play

pytestmark = pytest.mark.peer


@pytest.mark.timeout(300)
def test_what_a_machine_held_that_stood_still_is_done_by_the_other_and_said_once(tmp_path, postgres, seed):
    first = seed % 10_000 * 10
    studies = tuple(
        PlannedStudy(number=first + number, kind=kind, way=Way.STEADY, after_s=number)
        for number, kind in enumerate((Kind.WHOLE, Kind.SHORT, Kind.LATE) * 5)
    )
    played = Round(
        number=1, studies=studies, kills=(), trick=Trick.FROZEN_MACHINE, refusals=0, pacs_delay_s=0.1
    )
    with stage_in(tmp_path, PostgresPlace(postgres)) as stage:
        found = play(stage, played)

        assert not found, found.words()
        assert stage.refused == 0
        assert stage.node.deaths == 0  # whoever came back went on
        # and threw away what it had: its lease had ended, or in the middle of a transaction that one
        log = stage.node.log_file.read_text()
        assert '"study.lease_lost"' in log or '"database.away"' in log
