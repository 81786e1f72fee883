"""python -m model.train: image sets in, a bundle out. Exit status 0 done, 1 failed, 2 wrong use."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from model.encoders import ENCODERS
from model.errors import ModelError
from model.manifest import VIEWS
from model.train.run import Order, run_training
from model.train.settings import TrainingSettings

DEFAULT = TrainingSettings()


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; the paper's values are the defaults."""
    parser = argparse.ArgumentParser(
        prog="python -m model.train",
        description="Train DTViT on folders of slices and write a bundle. A killed run goes on when it "
        "is called again with the same arguments. Research software. Not for diagnostic use.",
    )
    add = parser.add_argument
    add(
        "--slices",
        type=Path,
        action="append",
        required=True,
        metavar="CSV",
        help="a slices.csv; may be repeated",
    )
    add(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder for bundle, curves.csv, progress.json, checkpoint",
    )
    add("--name", default=None, help="name of the bundle (default: the name of the folder)")
    add("--encoder", choices=sorted(ENCODERS), default=None, help=f"default {DEFAULT.encoder}, the paper's")
    add(
        "--weights",
        type=Path,
        metavar="FILE",
        help="pretrained encoder: safetensors or a state dict of tensors",
    )
    add("--init", type=Path, metavar="BUNDLE", help="go on from this bundle: its encoder, size and weights")
    add("--device", default=None, help="cpu, cuda or cuda:N (default: a CUDA card if there is one)")
    add(
        "--precision",
        choices=("auto", "float32", "bfloat16"),
        default="auto",
        help="auto measures which is faster",
    )
    add("--cache", type=Path, metavar="DIR", help="keep prepared slices here for the next run")
    add("--workers", type=int, default=1, help="processes that prepare slices (default 1)")
    _add_settings(parser)
    return parser


def _add_settings(parser: argparse.ArgumentParser) -> None:
    def add(name: str, kind: type, text: str) -> None:
        attribute = name[2:].replace("-", "_")
        value = getattr(DEFAULT, attribute)
        parser.add_argument(name, type=kind, default=value, help=f"{text} (default {value})")

    add("--size", int, "side of the network's picture in pixels, 0: the encoder's own")
    add("--epochs", int, "passes over the data")
    add("--batch", int, "slices per step")
    add("--rate", float, "learning rate of AdamW")
    add("--weight-decay", float, "weight decay of AdamW")
    add("--warm-up", float, "share of the run in which the rate rises")
    add("--pretrained-rate", float, "times --rate: for the hybrid's pretrained stem")
    add("--frozen-stages", int, "stages of the hybrid's stem that do not learn")
    add("--ema", float, "decay of the running average of the weights, 0 for none")
    add("--label-smoothing", float, "share of the label given to the other classes")
    add("--location-weight", float, "weight of the location's loss")
    add("--evidence-weight", float, "weight of the evidence's loss")
    add("--synthetic-bleeds", float, "share of the bleed-free slices that get a drawn bleed")
    add("--mimics", float, "share of all slices that get something bright drawn that is no blood")
    add("--soft-tissue", float, "share of the bleed-free slices that become face or neck")
    add("--dropout", float, "dropout of the heads")
    add("--samples", int, "slices drawn per epoch, 0: as many as there are")
    add("--seed", int, "seed of everything random")
    parser.add_argument(
        "--schedule", choices=("cosine", "constant"), default=DEFAULT.schedule, help="of the rate"
    )
    parser.add_argument(
        "--views", choices=VIEWS, default=DEFAULT.views, help="what the three channels of the network show"
    )
    parser.add_argument(
        "--source-weight", action="append", default=[], type=_source_weight, metavar="SOURCE=WEIGHT",
        help="how often a source (the folder of its slices.csv) is drawn (default 1); may be repeated",
    )  # fmt: skip


def _source_weight(text: str) -> tuple[str, float]:
    source, _, weight = text.rpartition("=")
    return source, float(weight)


def read_settings(chosen: argparse.Namespace) -> TrainingSettings:
    """Return the settings that the arguments ask for."""
    names = set(TrainingSettings.__dataclass_fields__) - {"encoder", "source_weights"}
    values = {name: getattr(chosen, name) for name in names}
    return TrainingSettings(
        encoder=chosen.encoder or DEFAULT.encoder, source_weights=dict(chosen.source_weight), **values
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = build_parser()
    chosen = parser.parse_args(arguments)
    settings = read_settings(chosen)
    if problems := settings.problems():
        parser.error("; ".join(problems))
    order = Order(
        tables=tuple(chosen.slices),
        out=chosen.out,
        name=chosen.name or chosen.out.resolve().name,
        weights=chosen.weights,
        init=chosen.init,
        device=chosen.device,
        precision=chosen.precision,
        workers=chosen.workers,
        cache=chosen.cache,
    )
    try:
        manifest = run_training(order, settings)
    except ModelError as error:
        sys.stderr.write(f"model.train: {error}\n")
        return 1
    sys.stdout.write(f"bundle {manifest.name} written to {order.out}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
