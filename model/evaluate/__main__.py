"""python -m model.evaluate: a bundle on image sets. Exit status 0 done, 1 failed, 2 wrong use."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from model.errors import ModelError
from model.evaluate.run import Order, run_evaluation
from model.image_set import SPLITS


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = argparse.ArgumentParser(
        prog="python -m model.evaluate",
        description="Score slices with a bundle; write predictions.csv and summary.json. What cannot be told "
        "(one class only, no location) is null. Research software. Not for diagnostic use.",
    )
    add = parser.add_argument
    add(
        "--bundle",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder with weights.safetensors and manifest.json",
    )
    add(
        "--slices",
        type=Path,
        action="append",
        required=True,
        metavar="CSV",
        help="a slices.csv; may be repeated",
    )
    add("--split", choices=SPLITS, default=None, help="only this split (default: all slices)")
    add("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    add("--device", default=None, help="cpu, cuda or cuda:N (default: a CUDA card if there is one)")
    return parser


def _show(done: int, total: int) -> None:
    sys.stderr.write(f"scored {done} of {total} slices\n")
    sys.stderr.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    chosen = build_parser().parse_args(arguments)
    order = Order(
        bundle=chosen.bundle,
        tables=tuple(chosen.slices),
        split=chosen.split,
        out=chosen.out,
        device=chosen.device,
    )
    try:
        summary = run_evaluation(order, _show)
    except ModelError as error:
        sys.stderr.write(f"model.evaluate: {error}\n")
        return 1
    sys.stdout.write(json.dumps(summary) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
