"""python -m model.evaluate: a bundle on image sets. Exit status 0 done, 1 failed, 2 wrong use."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from model.errors import ModelError
from model.evaluate.run import Order, run_evaluation, spare_workers
from model.evaluate.summary import STATED_PREVALENCE
from model.image_set import SPLITS


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = argparse.ArgumentParser(
        prog="python -m model.evaluate",
        description="Score slices with a bundle; write predictions.csv, summary.json, figures, index.html. "
        "All figures come from predictions.csv, with bootstrap intervals over subjects. What cannot be told "
        "(one class only, no location) is null; pictures that cannot be read are counted and named in "
        "unreadable.csv. Research software. Not for diagnostic use.",
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
    _add_ways(parser)
    return parser


def _add_ways(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--device", default=None, help="cpu, cuda or cuda:N (default: a CUDA card if there is one)")
    add(
        "--predictions",
        type=Path,
        default=None,
        metavar="CSV",
        help="a predictions.csv of these tables: figures anew, without the network and its audit",
    )
    add(
        "--prevalence",
        type=_prevalence,
        default=STATED_PREVALENCE,
        help=f"share of bleeding cases that PPV and NPV are stated for (default {STATED_PREVALENCE})",
    )
    add(
        "--workers",
        type=int,
        default=spare_workers(),
        help="processes that prepare slices (default %(default)s)",
    )
    add("--no-audit", dest="audit", action="store_false", help="leave out the search for shortcuts")
    add("--no-figures", dest="figures", action="store_false", help="leave out figures and index.html")
    add(
        "--curves",
        type=Path,
        default=None,
        metavar="CSV",
        help="curves.csv of the training (default: the one beside the weights, if there is one)",
    )


def _prevalence(text: str) -> float:
    share = float(text)
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"expected a share between 0 and 1, got {text}")
    return share


def _show(done: int, total: int) -> None:
    sys.stderr.write(f"scored {done} of {total} slices\n")
    sys.stderr.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    chosen = vars(build_parser().parse_args(arguments))
    order = Order(tables=tuple(chosen.pop("slices")), **chosen)
    try:
        summary = run_evaluation(order, _show)
    except (ModelError, OSError) as error:
        sys.stderr.write(f"model.evaluate: {error}\n")
        return 1
    sys.stdout.write(json.dumps(summary) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
