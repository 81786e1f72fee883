"""tables.md and tables.json: the finished trainings as Tables 1 to 4, and what they say of themselves."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from model.evaluate.paper.metrics import KEYS, accuracy_intervals, dual_figures
from model.evaluate.paper.plan import Plan
from model.evaluate.paper.recipe import Case, Recipe
from model.evaluate.paper.results import Result
from model.evaluate.paper.tables import Judged, Table, table_1, table_2, table_3, table_4
from model.whole_file import write_atomically

SCHEMA = 1
INTRODUCTION = """# The paper's tables, and the same with patients kept apart

After Fan, Lu, Fan, Li: Dual-Task Vision Transformer for Rapid and Accurate Intracerebral Hemorrhage
Classification on CT Images (2024). Research software. Not for diagnostic use.
"""
NOTES = """## How these tables were made

- "Images at random" is the paper's split, 8:1:1 by slice: slices of one patient stand in training and in
  test. "Patients apart" is 8:1:1 by patient, class by class. Both use the same slices, contradicted ones
  included: the paper could not know them. The split column of the image set is not used.
- Augmentation is the paper's: copies to about 1:1:1 and 1:1, turns of up to 15 degrees, sharpness. Copies are
  made after the split and within the training part only. The paper's counts (30,222 slices) are those of
  copies made before it; split by slice after that, nearly every copied slice of the test part would also have
  been learnt. It prints those of Lobar and Subtentorial the wrong way round: 3 x 1,656 = 4,968 and
  12 x 495 = 5,940.
- The epoch of the lowest validation loss is kept; the test part is measured once, on it.
- Classifier 1: bleeding is the positive class, called from probability 0.5. Classifier 2: on slices that
  bleed at a known location, whatever classifier 1 says; precision, recall, F1 and specificity are means over
  the three locations. Specificity is TN / (TN + FP); the paper's equation 6 has it upside down.
- Table 4: loss is the sum of both cross-entropies, every other figure the mean of both classifiers; the paper
  does not say how it joins them.
- Intervals: 95 %, patients drawn with replacement. With images at random they are too narrow all the same:
  the patients of the test part were learnt.
"""


def judge(result: Result) -> Judged:
    """Return the figures of a result with their intervals."""
    return Judged(
        figures=dual_figures(result.scores), intervals=accuracy_intervals(result.scores, result.subjects)
    )


def write_tables(out: Path, recipe: Recipe, plan: Plan, results: Mapping[Case, Result]) -> None:
    """Write tables.md and tables.json from the predictions of the finished trainings."""
    judged = {case: judge(result) for case, result in results.items()}
    tables = [table_1(plan), table_2(recipe), table_3(judged), table_4(judged)]
    line = header_line(recipe)
    text = "\n".join([INTRODUCTION, *(_markdown(table, line) for table in tables), NOTES])
    write_atomically(out / "tables.md", text)
    facts = {
        "schema": SCHEMA,
        "header": recipe.header(),
        **{f"table{n}": asdict(table) for n, table in enumerate(tables, start=1)},
        "runs": {case.name: _run(results[case], judged[case]) for case in results},
    }
    write_atomically(out / "tables.json", json.dumps(facts, indent=1, allow_nan=False) + "\n")


def header_line(recipe: Recipe) -> str:
    """Return what stands under every table and figure: how this differs from the paper's own size."""
    header = recipe.header()
    start = header["start"]
    words = start if isinstance(start, str) else ", ".join(f"{name} {how}" for name, how in start.items())
    return (
        f"Encoder {recipe.encoder}, DenseNet as {recipe.densenet}; size {recipe.size} pixels, "
        f"epochs {recipe.epochs}, share {recipe.share:.0%}, seed {recipe.seed}; AdamW {recipe.rate:g}, decay "
        f"{recipe.weight_decay:g}, batch {recipe.batch} ({recipe.plain_batch} without augmentation), "
        f"{recipe.location_outputs} location outputs; {words}."
    )


def _run(result: Result, judged: Judged) -> dict[str, Any]:
    figures = judged.figures
    return {
        **result.facts,
        "curves": result.curves,
        "loss": figures.loss,
        "presence": asdict(figures.presence),
        "location": asdict(figures.location),
        "overall": {key: figures.overall(key) for key in KEYS},
        "accuracy_intervals": asdict(judged.intervals),
        "presence_confusion": figures.presence_confusion.tolist(),
        "location_confusion": figures.location_confusion.tolist(),
    }


def _markdown(table: Table, line: str) -> str:
    rows = [table.columns, ["---"] * len(table.columns), *table.rows]
    lines = ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]
    return "\n".join([f"## {table.title}", "", *lines, "", line, *(f"\n{note}" for note in table.notes), ""])


def _cell(value: object) -> str:
    match value:
        case None:
            return "–"
        case float():
            return f"{value:.4f}"
        case int():
            return f"{value:,}"
        case (float() as low, float() as high):
            return f"{low:.3f} to {high:.3f}"
    return str(value)
