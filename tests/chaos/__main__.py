"""Kill the node's processes at random moments, round after round, and count from outside what was lost.

    make chaos ROUNDS=200 DATABASE=postgresql ARGS="--seed 7"

A line for each round; the last line of the output is JSON, after Ctrl-C too, at the end of the round. Exit
status 1 where anything was lost, doubled or stuck: the folder with the node's log is kept then, and studies
are named by their number.
"""

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import reduce
from itertools import takewhile
from operator import or_
from pathlib import Path

from chaos.databases import Place, PostgresPlace, SqlitePlace
from chaos.node import ALL, Node
from chaos.observer import Findings
from chaos.plan import TRICKS, TRICKS_ON_A_SERVER, Round, Trick, plan
from chaos.rounds import Stage, play
from model_builders import tiny_bundle
from peers import PostgresServer

from ich_node.demo.pacs import stand_in_pacs
from model.manifest import Thresholds

# the untrained weights give every head 0.07 to 0.08: so some are positive, some negative, some neither
THRESHOLDS = Thresholds(low=0.073, high=0.0765)


def main(arguments: Sequence[str] | None = None) -> int:
    """Play all rounds; 0 where something was acknowledged and nothing is lost, doubled or stuck."""
    chosen = _parse(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # no process of the node is left behind
    enough = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: enough.set())
    folder = Path(tempfile.mkdtemp(prefix="ich-chaos-"))
    print(f"seed {chosen.seed}, {chosen.database}, in {folder}", flush=True)
    with _place(folder, chosen.database) as place, stage_in(folder, place) as stage:
        tricks = TRICKS if chosen.database == "sqlite" else TRICKS_ON_A_SERVER
        rounds = (plan(chosen.seed, number + 1, tricks) for number in range(chosen.rounds))
        played = [_play(stage, drawn) for drawn in takewhile(lambda _: not enough.is_set(), rounds)]
        stage.node.stop()
        found = reduce(or_, played, stage.look(stage.sent))
        _tell_outcomes(stage)
    if found or chosen.keep:
        print("\n".join([*found.words(), f"kept: {folder}"]))
    else:
        shutil.rmtree(folder, ignore_errors=True)
    acknowledged = sum(len(study.acknowledged) for study in stage.sent)
    print(json.dumps({"rounds": len(played), "acknowledged": acknowledged, **found.counts()}))
    return 1 if found or not acknowledged else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="chaos", description="Kill the node at random and count the losses")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--seed", type=int, default=random.randrange(1, 1 << 30), help="default: drawn")
    parser.add_argument("--keep", action="store_true", help="keep the folder with the node's log")
    return parser.parse_args(arguments)


@contextmanager
def stage_in(
    folder: Path, place: Place, processes: Sequence[str] = ALL, environment: Mapping[str, str] | None = None
) -> Iterator[Stage]:
    """A node of these processes, with this beside their environment, over this database; and a PACS."""
    bundle = tiny_bundle(folder / "bundle", study_thresholds=THRESHOLDS)
    with stand_in_pacs(folder / "pacs") as pacs:
        node = Node(
            folder / "node",
            database_url=place.url,
            pacs_port=pacs.port,
            bundle=bundle,
            environment=environment,
        )
        node.migrate()
        node.start(*processes)
        node.await_receiver()
        try:
            yield Stage(node=node, place=place, pacs=pacs)
        finally:
            node.stop()


@contextmanager
def _place(folder: Path, database: str) -> Iterator[Place]:
    if database == "sqlite":
        yield SqlitePlace(folder / "database")
        return
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs:
        sys.exit("PostgreSQL (Debian package postgresql) is not installed")
    # not below our own folder: the user postgres may not enter it
    with tempfile.TemporaryDirectory(prefix="ich-chaos-postgres-", ignore_cleanup_errors=True) as data:
        server = PostgresServer(programs[-1].parent, Path(data))
        server.start()
        try:
            yield PostgresPlace(server)
        finally:
            server.stop()


def _play(stage: Stage, drawn: Round) -> Findings:
    started = time.monotonic()
    found = play(stage, drawn)
    print(_line(drawn, time.monotonic() - started, found), flush=True)
    return found


def _line(drawn: Round, seconds: float, found: Findings) -> str:
    kills = ", ".join(f"{kill.target} while {kill.moment}" for kill in drawn.kills)
    trick = f"; {drawn.trick}" if drawn.trick is not Trick.NONE else ""
    verdict = "; ".join(found.words()) or "all there"
    what = f"{len(drawn.studies)} studies; {kills}{trick}"
    return f"round {drawn.number:3d}  {seconds:5.1f} s  {verdict}  ({what})"


def _tell_outcomes(stage: Stage) -> None:
    """Say how the studies ended: chaos in which nothing is read proves nothing."""
    counted = stage.place.rows(
        "select coalesce(outcome, 'none'), coalesce(reason, ''), count(*) from studies "
        "where state in %s group by 1, 2 order by 1, 2",
        ["receiving", "ready", "finished"],
    )
    print(
        "outcomes: "
        + ", ".join(f"{number} {outcome} {reason}".strip() for outcome, reason, number in counted)
    )
    if stage.refused:
        print(f"images that scanners tried for a minute to send, in vain: {stage.refused}")
    if stage.node.deaths:
        print(f"processes that died by themselves: {stage.node.deaths}")


if __name__ == "__main__":
    raise SystemExit(main())
