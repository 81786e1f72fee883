"""python -m model.train: image sets in, a bundle out. Exit status 0 done, 1 failed, 2 wrong use."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from model.errors import ModelError
from model.train.options import add_options, read_order, read_settings
from model.train.run import run_training


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; our own recipe is the default."""
    parser = argparse.ArgumentParser(
        prog="python -m model.train",
        description="Train DTViT on folders of slices and write a bundle. A killed run goes on when it "
        "is called again with the same arguments. On several GPUs: torchrun --nproc-per-node N -m "
        "model.train ...; they share each batch. Research software. Not for diagnostic use.",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder for bundle, curves.csv, progress.json, checkpoint",
    )
    parser.add_argument("--name", default=None, help="name of the bundle (default: the name of the folder)")
    add_options(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = build_parser()
    chosen = parser.parse_args(arguments)
    settings = read_settings(chosen)
    if problems := settings.problems():
        parser.error("; ".join(problems))
    order = read_order(chosen, chosen.name)
    try:
        manifest = run_training(order, settings)
    except ModelError as error:
        sys.stderr.write(f"model.train: {error}\n")
        return 1
    if manifest is not None:
        sys.stdout.write(f"bundle {manifest.name} written to {order.out}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
