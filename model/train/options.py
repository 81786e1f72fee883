"""The options of a training and of a cross-validation: where it starts, how it computes, its settings."""

import argparse
from pathlib import Path

from model.encoders import ENCODERS
from model.train.run import Order
from model.train.settings import SCHEDULES, TrainingSettings

DEFAULT = TrainingSettings()


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add all options but --out, --name and what only one of the commands knows."""
    add = parser.add_argument
    add(
        "--slices",
        type=Path,
        action="append",
        required=True,
        metavar="CSV",
        help="a slices.csv; may be repeated",
    )
    add("--encoder", choices=sorted(ENCODERS), default=DEFAULT.encoder, help=f"default {DEFAULT.encoder}")
    add(
        "--weights",
        type=Path,
        metavar="FILE",
        help="pretrained encoder: safetensors or a state dict of tensors",
    )
    add(
        "--init",
        type=Path,
        metavar="BUNDLE",
        help="go on from this bundle: its encoder, size and weights; choose a lower --rate then",
    )
    add("--device", default=None, help="cpu, cuda or cuda:N (default: a CUDA card if there is one)")
    add(
        "--precision",
        choices=("auto", "float32", "bfloat16"),
        default="auto",
        help="auto measures which is faster",
    )
    add("--cache", type=Path, metavar="DIR", help="keep prepared slices here for the next run")
    add(
        "--workers",
        type=int,
        default=None,
        help="processes that prepare slices and, for a CUDA card, draw those of the next steps "
        "(default 1, for a CUDA card one for each processor, eight at most)",
    )
    add_settings(parser)


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add an option for every setting of a training."""

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
    parser.add_argument("--schedule", choices=SCHEDULES, default=DEFAULT.schedule, help="of the rate")
    parser.add_argument(
        "--source-weight", action="append", default=[], type=_source_weight, metavar="SOURCE=WEIGHT",
        help="how often a source (the folder of its slices.csv) is drawn (default 1); may be repeated",
    )  # fmt: skip


def _source_weight(text: str) -> tuple[str, float]:
    source, _, weight = text.rpartition("=")
    return source, float(weight)


def read_settings(chosen: argparse.Namespace) -> TrainingSettings:
    """Return the settings that the arguments ask for."""
    names = set(TrainingSettings.__dataclass_fields__) - {"source_weights"}
    values = {name: getattr(chosen, name) for name in names}
    return TrainingSettings(source_weights=dict(chosen.source_weight), **values)


def read_order(chosen: argparse.Namespace, name: str | None = None) -> Order:
    """Return what the arguments ask for beside the settings; without a name the folder's is the bundle's."""
    return Order(
        tables=tuple(chosen.slices),
        out=chosen.out,
        name=name or chosen.out.resolve().name,
        weights=chosen.weights,
        init=chosen.init,
        device=chosen.device,
        precision=chosen.precision,
        workers=chosen.workers,
        cache=chosen.cache,
    )
