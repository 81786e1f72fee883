"""Tables 1 to 4 in the paper's form, every column once for each split, with the paper's own figures."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from model.encoders import ENCODERS
from model.evaluate.paper import printed
from model.evaluate.paper.metrics import KEYS, DualFigures, Intervals
from model.evaluate.paper.networks import build_network
from model.evaluate.paper.parts import NORMAL, UNPLACED, Indices, class_of, replicate
from model.evaluate.paper.plan import Plan
from model.evaluate.paper.recipe import DTVIT, NETWORKS, SPLIT_TITLES, SPLITS, TITLES, Case, Recipe
from model.network import HybridViT, build_encoder, count_parameters

HERE, PAPER = "here", "paper"
FIGURE_COLUMNS = ("Precision", "Recall", "F1 Score", "Specificity")
CLASSIFIERS = {"Classifier 1": "presence", "Classifier 2": "location"}
PLACES = {"Deep": "deep", "Lobar": "lobar", "Subtentorial": "subtentorial", "not known": UNPLACED}


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table as it is printed; None is what is not known or not trained yet."""

    title: str
    columns: list[str]
    rows: list[list[Any]]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The figures of one training."""

    figures: DualFigures
    intervals: Intervals


def table_1(plan: Plan) -> Table:
    """Return the distribution of the data: all of it as in the paper, then each part of each split."""
    parts = [
        (f"{SPLIT_TITLES[split]}: {title}", rows)
        for split in SPLITS
        for title, rows in _parts_of(plan, split).items()
    ]
    names = [class_of(row) for row in plan.rows]
    counts = Counter(names)
    bleeding = len(names) - counts[NORMAL]
    groups = {("ICH", "Yes"): {n for n in counts if n != NORMAL}, ("ICH", "No"): {NORMAL}}
    groups |= {("Hemorrhage Location", title): {name} for title, name in PLACES.items()}
    if not counts[UNPLACED]:
        del groups["Hemorrhage Location", "not known"]
    rows: list[list[Any]] = [
        ["Sex", value, None, None, None, *printed.TABLE_1["Sex", value], *([None] * len(parts))]
        for value in ("Male", "Female")
    ]
    for (attribute, value), members in groups.items():
        number = sum(counts[n] for n in members)
        share = number / (len(names) if attribute == "ICH" else max(bleeding, 1))
        people = {r.person for r, name in zip(plan.rows, names, strict=True) if name in members}
        paper = printed.TABLE_1.get((attribute, value), (None, None))
        each = [sum(names[i] in members for i in part) for _, part in parts]
        rows.append([attribute, value, number, f"{share:.2%}", len(people), *paper, *each])
    rows.append(_patients(plan, parts))
    return Table(
        title="Table 1: Data distribution of the dataset",
        columns=[
            "Attribute",
            "Value",
            "Number",
            "Percentage",
            "Patients",
            "Paper: Number",
            "Paper: Percentage",
            *(title for title, _ in parts),
        ],
        rows=rows,
        notes=[
            "Number, Percentage and the parts count slices; the image set does not hold the sex.",
            *_overlap(plan),
        ],
    )


def _parts_of(plan: Plan, split: str) -> dict[str, Indices]:
    parts = plan.parts[split]
    copied = replicate(plan.rows, parts.train)
    return {"train": parts.train, "with copies": copied, "val": parts.val, "test": parts.test}


def _patients(plan: Plan, parts: list[tuple[str, Indices]]) -> list[Any]:
    each = [len({plan.rows[i].person for i in part}) for _, part in parts]
    return ["Patients", "all", None, None, len({r.person for r in plan.rows}), None, None, *each]


def _overlap(plan: Plan) -> list[str]:
    sentences = []
    for split in SPLITS:
        trained = {plan.rows[i].person for i in plan.parts[split].train}
        tested = {plan.rows[i].person for i in plan.parts[split].test}
        sentences.append(
            f"{SPLIT_TITLES[split].capitalize()}: of the test part's {len(tested)} patients "
            f"{len(tested & trained)} have other slices in the training part."
        )
    return sentences


def table_2(recipe: Recipe) -> Table:
    """Return the encoder's configuration, and every network's parameters; the same for both splits."""
    with torch.device("meta"):  # counts need no values
        encoder = build_encoder(recipe.encoder, recipe.size, classes=1000)
        networks = {n: count_parameters(build_network(n, recipe.from_scratch(), None)) for n in NETWORKS}
    transformer = encoder.transformer if isinstance(encoder, HybridViT) else encoder
    block: Any = next(iter(transformer.blocks.children()))
    ours = {
        "Patch Size": ENCODERS[recipe.encoder].stride,
        "Embedding Dimension": transformer.embed_dim,
        "Attention Heads": block.attn.num_heads,
        "MLP Dimension": block.mlp.fc1.out_features,
        "Parameters": count_parameters(encoder),
    }
    rows: list[list[Any]] = [[name, value, printed.TABLE_2[name]] for name, value in ours.items()]
    rows += [[f"Parameters of {TITLES[n]} with both heads", count, None] for n, count in networks.items()]
    return Table(
        title=f"Table 2: Configuration and parameters of {recipe.encoder}",
        columns=["Configuration", "Value", "Paper: ViT-Large"],
        rows=rows,
        notes=[
            "Parameters: with a layer for ImageNet's 1,000 classes, as the paper counts. "
            "The networks of both splits are the same."
        ],
    )


def table_3(judged: Mapping[Case, Judged]) -> Table:
    """Return DTViT with and without augmentation on the test part, classifier by classifier."""
    rows: list[list[Any]] = []
    for classifier, attribute in CLASSIFIERS.items():
        for augmented in (True, False):
            start = [classifier, _yes(augmented)]
            groups = [
                _figures(judged.get(Case(network=DTVIT, split=s, augmented=augmented)), attribute)
                for s in SPLITS
            ]
            rows.append([*start, HERE, *groups[0], *groups[1]])
            accuracy, *others = printed.TABLE_3[classifier, augmented]
            rows.append([*start, PAPER, accuracy, None, *others, *([None] * len(groups[1]))])
    return Table(
        title="Table 3: DTViT with and without data augmentation (DA) on the testing dataset",
        columns=["Classifier", "DA", "From", *_columns(())],
        rows=rows,
    )


def table_4(judged: Mapping[Case, Judged]) -> Table:
    """Return all networks, with and without augmentation, on the test part."""
    rows: list[list[Any]] = []
    for network in NETWORKS:
        for augmented in (True, False):
            groups = [
                _overall(judged.get(Case(network=network, split=s, augmented=augmented))) for s in SPLITS
            ]
            rows.append([TITLES[network], _yes(augmented), HERE, *groups[0], *groups[1]])
        loss, accuracy, *others = printed.TABLE_4[network]
        rows.append(
            [TITLES[network], "Yes", PAPER, loss, accuracy, None, *others, *([None] * len(groups[1]))]
        )
    return Table(
        title="Table 4: Overall performance comparisons, with and without data augmentation (DA)",
        columns=["Model", "DA", "From", *_columns(("Loss",))],
        rows=rows,
    )


def _columns(first: tuple[str, ...]) -> list[str]:
    columns = (*first, "Accuracy", "95 % interval", *FIGURE_COLUMNS)
    return [f"{SPLIT_TITLES[s]}: {c}" for s in SPLITS for c in columns]


def _figures(judged: Judged | None, attribute: str) -> list[Any]:
    if judged is None:
        return [None] * (2 + len(FIGURE_COLUMNS))
    figures = getattr(judged.figures, attribute)
    values = [getattr(figures, key) for key in KEYS]
    return [values[0], getattr(judged.intervals, attribute), *values[1:]]


def _overall(judged: Judged | None) -> list[Any]:
    if judged is None:
        return [None] * (3 + len(FIGURE_COLUMNS))
    values = [judged.figures.overall(key) for key in KEYS]
    return [judged.figures.loss, values[0], judged.intervals.overall, *values[1:]]


def _yes(augmented: bool) -> str:
    return "Yes" if augmented else "No"
