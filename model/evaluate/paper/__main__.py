"""python -m model.evaluate.paper: the paper's tables. Exit status 0 done, 1 failed, 2 wrong use."""

import argparse
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from model.encoders import ENCODERS
from model.errors import ModelError
from model.evaluate.paper.recipe import NETWORKS, Recipe, small
from model.evaluate.paper.run import Order, run_plan

PAPER = Recipe()
DESCRIPTION = """\
Train and evaluate the recipe of the paper (Fan, Lu, Fan, Li: Dual-Task Vision Transformer, 2024) on image
sets: DTViT and the four baselines of its Table 4, with and without augmentation, with images split at random
as in the paper and with patients kept apart. Twenty trainings; then Tables 1 to 4 and Figures 1, 3 and 4,
both splits beside each other. Research software. Not for diagnostic use.
"""
EXAMPLES = """\
examples:
  a check of everything within an hour on two cores (ViT-Small, 64 pixels, two epochs, a tenth of the slices):
    python -m model.evaluate.paper --slices yulin/slices.csv --out out/paper-small --small
  the paper's form, on a GPU, with weights from timm's and torchvision's hubs:
    python -m model.evaluate.paper --slices yulin/slices.csv --out out/paper --hub
  ViT-Base from a file, first DTViT alone; the same command without --only goes on with the baselines:
    python -m model.evaluate.paper --slices yulin/slices.csv --out out/base --encoder vit_base_patch16_224 \\
        --weights dtvit=vit_base.safetensors --only dtvit

what is written to DIR:
  tables.md, tables.json      Tables 1 to 4; size, epochs and share stand under each
  figure1, figure3, figure4   as .png and .svg; figure 1 shows a slice of your data: keep it with the data
  runs/NAME/predictions.csv   every test slice's probabilities, from which any table can be computed again
  runs/NAME/result.json       curves, counts, seconds; a training that has one is not repeated
A killed command goes on from its last finished training when it is called again with the same arguments.
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; the paper's values are the defaults."""
    parser = argparse.ArgumentParser(
        prog="python -m model.evaluate.paper",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--slices", type=Path, action="append", required=True, metavar="CSV",
        help="a slices.csv; may be repeated",
    )  # fmt: skip
    add("--out", type=Path, required=True, metavar="DIR", help="folder to write, and to go on in")
    add(
        "--small", action="store_true",
        help="ViT-Small, DenseNet121, 64 pixels, 2 epochs, a tenth of the slices; an option beside it wins",
    )  # fmt: skip
    add(
        "--only", choices=NETWORKS, action="append", default=[], metavar="NETWORK",
        help=f"only this network ({', '.join(NETWORKS)}); may be repeated; the tables show what is there",
    )  # fmt: skip
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        "--weights", type=_network_file, action="append", default=[], metavar="NETWORK=FILE",
        help="pretrained backbone: safetensors or a state dict of tensors, in timm's names for dtvit, in "
        "torchvision's for the others; may be repeated. Without it: from scratch, and the tables say so",
    )  # fmt: skip
    start.add_argument(
        "--hub", action="store_true",
        help="fetch ImageNet weights over the network: timm's hub for dtvit, torchvision's for the others",
    )  # fmt: skip
    add("--device", default=None, help="cpu, cuda or cuda:N (default: a CUDA card if there is one)")
    add("--threads", type=int, default=0, help="of the CPU (default: torch's own choice)")
    _add_recipe(parser)
    return parser


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    # no defaults here: only what is given changes the paper's recipe, or that of --small
    group = parser.add_argument_group("the recipe (defaults: the paper's, section 3.1)")
    add = group.add_argument
    add("--encoder", choices=sorted(ENCODERS), help=f"of DTViT (default {PAPER.encoder})")
    add("--size", type=int, help=f"side of the picture in pixels (default {PAPER.size})")
    add("--epochs", type=int, help=f"passes over the training part (default {PAPER.epochs})")
    add("--batch", type=int, help=f"slices a step with augmentation (default {PAPER.batch})")
    add("--plain-batch", type=int, help=f"slices a step without augmentation (default {PAPER.plain_batch})")
    add("--rate", type=float, help=f"learning rate of AdamW (default {PAPER.rate:g})")
    add("--weight-decay", type=float, help=f"of AdamW (default {PAPER.weight_decay:g})")
    add(
        "--location-outputs", type=int, choices=(3, 4),
        help="3 as in the paper: only bleeding slices reach this loss; 4 as in the authors' code: the fourth "
        f"is none (default {PAPER.location_outputs})",
    )  # fmt: skip
    add(
        "--densenet", choices=("densenet121", "densenet161"),
        help=f"which DenseNet (default {PAPER.densenet}, the authors' code; the paper does not say)",
    )  # fmt: skip
    add("--share", type=float, help="share of the slices, the same for both splits (default 1)")
    add("--seed", type=int, help=f"seed of everything random (default {PAPER.seed})")


def _network_file(text: str) -> tuple[str, Path]:
    network, _, file = text.partition("=")
    if network not in NETWORKS or not Path(file).is_file():
        raise argparse.ArgumentTypeError(
            f"expected NETWORK=FILE with one of {', '.join(NETWORKS)} and a file that is there, got {text!r}"
        )
    return network, Path(file)


def read_recipe(chosen: argparse.Namespace) -> Recipe:
    """Return the recipe that the arguments ask for."""
    start = small(PAPER) if chosen.small else PAPER
    names = set(Recipe.__dataclass_fields__) - {"hub", "weights"}
    given = {name: value for name in names if (value := getattr(chosen, name)) is not None}
    hashes = tuple(sorted((network, _sha256(file)) for network, file in chosen.weights))
    return replace(start, hub=chosen.hub, weights=hashes, **given)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = build_parser()
    chosen = parser.parse_args(arguments)
    recipe = read_recipe(chosen)
    if problems := recipe.problems():
        parser.error("; ".join(problems))
    if chosen.threads > 0:
        torch.set_num_threads(chosen.threads)
    order = Order(
        tables=tuple(chosen.slices),
        out=chosen.out,
        only=tuple(chosen.only),
        weights=dict(chosen.weights),
        device=chosen.device,
    )
    try:
        trained = run_plan(order, recipe)
    except ModelError as error:
        sys.stderr.write(f"model.evaluate.paper: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(
            "model.evaluate.paper: stopped; the same command goes on from the last finished training\n"
        )
        return 1
    sys.stdout.write(f"trainings done: {len(trained)}; tables and figures are in {order.out}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
