"""What no process can help: a machine stands still, database or disk are away, the supervisor is killed."""

import subprocess

import pytest
from chaos.__main__ import stage_in
from chaos.databases import PostgresPlace, SqlitePlace
from chaos.plan import Kill, Kind, Moment, PlannedStudy, Round, Target, Trick, Way
from chaos.rounds import Stage, play

KINDS = (Kind.WHOLE, Kind.SHORT, Kind.LATE)


def play_well(
    stage: Stage, seed: int, *, studies: int, trick: Trick = Trick.NONE, kills: tuple[Kill, ...] = ()
):
    """Play a round of so many studies; in the end nothing is lost, doubled, stuck or refused."""
    first = seed % 10_000 * 100
    planned = tuple(
        PlannedStudy(number=first + number, kind=KINDS[number % 3], way=Way.STEADY, after_s=number)
        for number in range(studies)
    )
    found = play(
        stage,
        Round(number=1, studies=planned, kills=kills, trick=trick, refusals=0, pacs_delay_s=0.1),
    )
    assert not found, found.words()
    assert stage.refused == 0
    return stage.node.log_file.read_text()


@pytest.mark.peer
@pytest.mark.timeout(300)
def test_what_a_machine_held_that_stood_still_is_done_by_the_other_and_said_once(tmp_path, postgres, seed):
    with stage_in(tmp_path, PostgresPlace(postgres, "house_still")) as stage:
        log = play_well(stage, seed, studies=15, trick=Trick.FROZEN_MACHINE)

        assert stage.node.deaths == 0  # whoever came back went on
        # and threw away what it had: its lease had ended, or in the middle of a transaction that one
        assert '"study.lease_lost"' in log or '"database.away"' in log


@pytest.mark.peer
@pytest.mark.timeout(300)
def test_a_database_that_is_stopped_and_started_costs_time_and_nothing_else(tmp_path, postgres, seed):
    with stage_in(tmp_path, PostgresPlace(postgres, "house_stopped")) as stage:
        log = play_well(stage, seed, studies=4, trick=Trick.DATABASE_DOWN)

        assert stage.node.deaths == 0
        assert '"database.away"' in log


@pytest.mark.timeout(300)
def test_who_starts_the_processes_may_be_killed_and_started_again(tmp_path, seed):
    kill = Kill(target=Target.SUPERVISOR, moment=Moment.INFERRING, after_s=0, down_s=0.5)
    with stage_in(tmp_path, SqlitePlace(tmp_path / "database"), ("serve",)) as stage:
        log = play_well(stage, seed, studies=4, kills=(kill,))

    assert log.count('"receiver.started"') == 2


@pytest.fixture
def small_disk(tmp_path):
    """The folder of images and database on a disk of 64 MB, for whoever may mount one."""
    folder = tmp_path / "node" / "storage"
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small disk can only be mounted by root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.timeout(300)
def test_a_disk_that_is_full_for_a_while_costs_time_and_nothing_else(tmp_path, small_disk, seed):
    # without a reserve the database's own writing fails too
    no_reserve = {"ICH_NODE_STORAGE__RESERVE_MB": "0"}
    place = SqlitePlace(small_disk / "database")
    with stage_in(tmp_path, place, environment=no_reserve) as stage:
        log = play_well(stage, seed, studies=4, trick=Trick.DISK_FULL)
        assert stage.node.deaths == 0
        assert '"status": "A700"' in log
