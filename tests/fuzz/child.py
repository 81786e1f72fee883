"""One target under libFuzzer, in a process of its own: libFuzzer ends the process that it runs in."""

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import atheris

LONGEST_S, HANGS_AFTER_S, RSS_LIMIT_MB = 5.0, 60, 1024

with atheris.instrument_imports(include=["ich_node", "model", "pydicom"]):
    from fuzz import seeds, targets

    from ich_node.analysis.explain import explain_folder


def main(arguments: Sequence[str]) -> None:
    """Fuzz one target for some seconds, or run one input of it; does not return."""
    asked = _asked(arguments)
    target = targets.TARGETS[asked.target]
    options = [f"-timeout={HANGS_AFTER_S}", f"-rss_limit_mb={RSS_LIMIT_MB}", f"-max_len={target.longest}"]
    if asked.replay is not None:
        _tell(asked.target, asked.replay)
        options.append(str(asked.replay))
    else:
        options += _fuzzing(asked)
    _check_seeds(asked.folder)
    atheris.Setup([sys.argv[0], *options], lambda content: _timed(target, content, asked.folder))
    atheris.Fuzz()


class TooSlow(Exception):
    """An input took longer than a header or a few small slices may."""


def _timed(target: targets.Target, content: bytes, folder: Path) -> None:
    """Run one input, against the clock of this process: a busy machine is no finding."""
    begun = time.process_time()
    target.run(content, folder)
    if (taken := time.process_time() - begun) > LONGEST_S:
        raise TooSlow(f"{taken:.1f} s of the processor")


def _asked(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("target", choices=targets.TARGETS)
    parser.add_argument("--out", type=Path, required=True, help="for seeds, corpus and findings")
    parser.add_argument(
        "--folder", type=Path, required=True, help="for the files of an input, removed by others"
    )
    parser.add_argument("--seconds", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--replay", type=Path)
    return parser.parse_args(arguments)


def _fuzzing(asked: argparse.Namespace) -> list[str]:
    """Lay out seeds, corpus and dictionary; returns the options that name them."""
    corpus, given = asked.out / "corpus" / asked.target, asked.out / "seeds" / asked.target
    contents = {"headers": seeds.headers, "codestreams": seeds.codestreams}
    corpus.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(given, ignore_errors=True)
    seeds.write(seeds.draws(asked.seed) if asked.target == "series" else contents[asked.target](), given)
    words = asked.out / "dictionary.txt"
    words.write_text(seeds.dictionary(), encoding="ascii")
    return [
        *(f"-max_total_time={asked.seconds}", f"-seed={asked.seed}", f"-dict={words}"),
        *(
            f"-artifact_prefix={asked.out}/{asked.target}-",
            "-print_final_stats=1",
            f"-report_slow_units={HANGS_AFTER_S}",
        ),
        *(str(corpus), str(given)),
    ]


def _check_seeds(folder: Path) -> None:
    """A series that is not read as it was built would be declined before anything is assembled."""
    targets.write_series(targets.drawn_series(b"").mutated, folder)
    (study,) = explain_folder(folder, targets.RULES).studies
    assert study.verdict == "read", f"the unchanged series is {study.verdict}: {study.reason}"


def _tell(target: str, replayed: Path) -> None:
    """Say what is wrong with a series, and keep its files for a look at them."""
    if target != "series":
        return
    drawn = targets.drawn_series(replayed.read_bytes())
    kept = replayed.with_name(f"{replayed.name}.files")
    kept.mkdir(exist_ok=True)
    targets.write_series(drawn.mutated, kept)
    how = f"early={drawn.early}, trust_headers={drawn.trust_headers}"
    print("\n".join([*drawn.mutated.changes, how, f"the files are in {kept}"]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
