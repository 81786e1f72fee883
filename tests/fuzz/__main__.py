"""Mutated files and series against header reading and assembling: `make fuzz SECONDS=600`."""

import argparse
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

OUT = Path(__file__).parents[2] / "out" / "fuzz"
SHARES = {"headers": 0.35, "series": 0.6, "codestreams": 0.05}
LEAST_S = 2
ARTIFACT = re.compile(r"Test unit written to (\S+)")
PROGRESS = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)")
FIGURES = {"executions": "number_of_executed_units", "peak MB": "peak_rss_mb"}


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How the fuzzing of one target ended."""

    target: str
    status: int
    log: str


def main() -> None:
    """Fuzz every target in turn, or run one input; ends with 1 where something was found."""
    asked = _asked()
    OUT.mkdir(parents=True, exist_ok=True)
    if asked.replay is not None:
        sys.exit(_replay(asked.replay.resolve()))
    seed = asked.seed or random.randrange(1, 1 << 31)
    print(f"seed {seed}; corpus and logs in {OUT}", flush=True)
    ended = [_fuzz(target, round(asked.seconds * share), seed) for target, share in SHARES.items()]
    sys.exit(any(one.status for one in ended))


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=600, help="for all targets together")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the mutations; drawn and printed if not given"
    )
    parser.add_argument("--replay", type=Path, metavar="INPUT", help="run one input that was found, alone")
    return parser.parse_args()


def _child(target: str, *options: str, output: BinaryIO | None = None) -> int:
    """Run one target to its end; its files lie in memory where they can, as every input is written."""
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="ich-fuzz-", dir=memory) as folder:
        places = ("--out", str(OUT), "--folder", folder)
        command = [sys.executable, "-m", "fuzz.child", target, *places, *options]
        return subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False).returncode


def _replay(replayed: Path) -> int:
    """Run one input; its name begins with the target's."""
    target = replayed.name.split("-", 1)[0]
    if target not in SHARES or not replayed.is_file():
        sys.exit(f"{replayed} is no input of {', '.join(SHARES)}")
    return _child(target, "--replay", str(replayed))


def _fuzz(target: str, seconds: int, seed: int) -> Ended:
    log = OUT / f"{target}.log"
    with log.open("wb") as file:
        options = ("--seconds", str(max(LEAST_S, seconds)), "--seed", str(seed))
        status = _child(target, *options, output=file)
    ended = Ended(target=target, status=status, log=log.read_text("utf-8", "replace"))
    print("\n".join(_told(ended)), flush=True)
    return ended


def _told(ended: Ended) -> Iterator[str]:
    """A line of figures, and for a finding what broke, where the input lies and how to run it again."""
    figures = {name: _last(rf"stat::{stat}:\s+(\d+)", ended.log) for name, stat in FIGURES.items()}
    covered, features, corpus = (PROGRESS.findall(ended.log) or [("?", "?", "?")])[-1]
    figures |= {"edges covered": covered, "features": features, "inputs in the corpus": corpus}
    yield f"{ended.target}: " + ", ".join(f"{name} {figure}" for name, figure in figures.items())
    if not ended.status:
        return
    yield from _fault(ended.log)
    found = _last(ARTIFACT.pattern, ended.log)
    yield f"FOUND by {ended.target} (status {ended.status}); the whole log: {OUT / ended.target}.log"
    if found != "?":
        yield f"  input  {found}"
        yield f"  again  make fuzz ARGS='--replay {found}'"


def _last(pattern: str, log: str) -> str:
    return str((re.findall(pattern, log) or ["?"])[-1])


def _fault(log: str) -> Sequence[str]:
    """The traceback, or what libFuzzer says of memory and time."""
    lines = log.splitlines()
    starts = [
        number for number, line in enumerate(lines) if "Uncaught Python exception" in line or "ERROR:" in line
    ]
    return lines[starts[0] : starts[0] + 40] if starts else lines[-20:]


if __name__ == "__main__":
    main()
