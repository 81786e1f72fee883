"""python -m model.evaluate.card: a bundle's model card from its manifest and from evaluations' summaries.

The prose stands in card.md; no number does: each comes from a file.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from model.errors import ImageSetError, ModelError
from model.evaluate.lines import lines, with_interval
from model.manifest import Manifest, bundle_sha256, read_manifest

TEMPLATE = Path(__file__).with_name("card.md")
VALIDATION = "validation (thresholds and temperature were fitted here)"
OVERVIEW = (  # of what, which figure, and its interval
    ("AUC, slices", "slice", "auc", "auc_ci"),
    ("AUC, subjects", "subject", "auc", "auc_ci"),
    ("Sensitivity, subjects", "subject", "sensitivity", "sensitivity_ci"),
    ("Specificity, subjects", "subject", "specificity", "specificity_ci"),
    ("Location, balanced accuracy", "location", "balanced_accuracy", "ci"),
)
MEASURED = frozenset({"slice", "subject", "location"})
"""What every summary holds, that of a cross-validation too."""
WHOLE = MEASURED | {"calibration", "thresholds"}
"""What a section of its own needs besides."""
Summary = Mapping[str, Any]


def card(
    manifest: Manifest, sha256: str, evaluations: Mapping[str, Summary], also: Mapping[str, Summary]
) -> str:
    """Return the card's Markdown; `evaluations` maps the reader's names to summaries, as does `also`.

    Those of `also` stand in the table of all alone: other seeds, and cross-validations.
    """
    training = manifest.training
    shown = _with_validation(manifest, evaluations)
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        name=manifest.name,
        aggregation=manifest.aggregation,
        facts=_facts(manifest, sha256),
        sources=", ".join(f"`{source}`" for source in training["sources"]),
        subjects=training["subjects"],
        slices=training["slices"],
        prevalence=f"{manifest.prevalence_in_training:.0%}",
        seed=training["seed"],
        licence=manifest.licence,
        overview=_overview({**shown, **also}),
        evaluations="\n\n".join(_section(name, found, sha256) for name, found in shown.items()),
    )


def _with_validation(manifest: Manifest, evaluations: Mapping[str, Summary]) -> dict[str, Summary]:
    validation = manifest.metrics.get("validation")
    return {**evaluations, VALIDATION: validation} if validation else dict(evaluations)


def _facts(manifest: Manifest, sha256: str) -> str:
    study, each = manifest.study_thresholds, manifest.slice_thresholds
    facts = {
        "Bundle": f"`{manifest.name}`, SHA-256 `{sha256}`",
        "Made": manifest.created,
        "Encoder": f"`{manifest.encoder}`",
        "Input": f"{manifest.input.size} x {manifest.input.size} pixels, window "
        f"{manifest.input.window_center:g} / {manifest.input.window_width:g} HU",
        "Thresholds of a study": f"low {study.low:.3f}, high {study.high:.3f}",
        "Thresholds of a slice": f"low {each.low:.3f}, high {each.high:.3f}",
        "Temperature": f"{manifest.temperature:.3f}",
        "Parent": f"`{manifest.parent}`" if manifest.parent else "none",
    }
    return "\n".join(f"| {name} | {value} |" for name, value in facts.items())


def _overview(evaluations: Mapping[str, Summary]) -> str:
    head = [
        "| evaluation |" + "".join(f" {name} |" for name, *_ in OVERVIEW),
        "|---" * (1 + len(OVERVIEW)) + "|",
    ]
    rows = [
        f"| {name} |" + "".join(f" {_figure(found.get(of) or {}, *keys)} |" for _, of, *keys in OVERVIEW)
        for name, found in evaluations.items()
    ]
    return "\n".join([*head, *rows])


def _figure(figures: Mapping[str, Any], key: str, interval: str) -> str:
    return with_interval(figures.get(key), figures.get(interval))


def _section(name: str, summary: Summary, sha256: str) -> str:
    measured = summary.get("bundle_sha256", sha256)
    other = "" if measured == sha256 else f" Measured on another bundle, `{summary.get('bundle', measured)}`."
    checks = summary.get("audit")
    verdict = checks["verdict"] if checks else ["No shortcut audit was made with this evaluation."]
    return "\n".join(
        [
            f"### {name[0].upper()}{name[1:]}",
            "",
            f"{summary['slices']} slices of {summary['subjects']} subjects.{other}",
            "",
            "| of | figure | value (interval) |",
            "|---|---|---|",
            *(f"| {line.group} | {line.name} | {line.value} |" for line in lines(summary)),
            "",
            "Shortcut audit:",
            "",
            *(f"- {sentence}" for sentence in verdict),
        ]
    )


def read_evaluation(folder: Path, parts: frozenset[str] = WHOLE) -> Summary:
    """Read the summary.json of an evaluation's folder, that must hold these parts; raises ImageSetError."""
    try:
        found = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ImageSetError(f"{folder}: expected a readable summary.json: {error}") from error
    if not isinstance(found, dict) or not parts <= found.keys():
        raise ImageSetError(f"{folder}: summary.json is not one of model.evaluate")
    return found


def _named(text: str) -> tuple[str, Path]:
    name, separator, folder = text.rpartition("=")
    if not name or not separator:
        raise argparse.ArgumentTypeError(f"expected NAME=DIR, got {text!r}")
    return name, Path(folder)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = argparse.ArgumentParser(prog="python -m model.evaluate.card", description=__doc__)
    add = parser.add_argument
    add("--bundle", type=Path, required=True, metavar="DIR", help="folder of the bundle")
    add(
        "--evaluation",
        type=_named,
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="what was evaluated, in words, and the folder that model.evaluate wrote; may be repeated",
    )
    add(
        "--also",
        type=_named,
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="as --evaluation, but in the table of all alone: another seed, or what "
        "model.train.crossvalidate wrote; may be repeated",
    )
    add("--out", type=Path, required=True, metavar="FILE", help="the card to write, as CARD.md")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    chosen = build_parser().parse_args(arguments)
    try:
        evaluations = {name: read_evaluation(folder) for name, folder in chosen.evaluation}
        also = {name: read_evaluation(folder, MEASURED) for name, folder in chosen.also}
        text = card(read_manifest(chosen.bundle), bundle_sha256(chosen.bundle), evaluations, also)
        chosen.out.write_text(text, encoding="utf-8")
    except (ModelError, OSError) as error:
        sys.stderr.write(f"model.evaluate.card: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
