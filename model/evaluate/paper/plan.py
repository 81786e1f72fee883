"""Which slices are used, how they are split both ways, and what each case trains on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model.errors import ImageSetError
from model.evaluate.paper.parts import Parts, draw_share, replicate, split_rows
from model.evaluate.paper.recipe import SPLITS, Case, Recipe, fingerprint
from model.evaluate.paper.training import Course
from model.evaluate.paper.treatment import Crop, read_crops
from model.image_set import SliceRow, read_slices


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`rows` and their crops, the parts by split, and a hash that results must carry to belong here."""

    rows: list[SliceRow]
    crops: list[Crop | None]
    parts: dict[str, Parts]
    fingerprint: str


def make_plan(tables: Sequence[Path], recipe: Recipe) -> Plan:
    """Read the tables, draw the share, and split it both ways; raises ImageSetError.

    The tables' own split is not used. Contradicted slices stay: the paper could not know them.
    """
    read = [row for table in tables for row in read_slices(table)]
    crops = {path: crop for table in tables for path, crop in _crops(table).items()}
    rows = draw_share(read, recipe.share, recipe.seed)
    parts = {kind: split_rows(rows, kind, recipe.seed) for kind in SPLITS}
    for kind, part in parts.items():
        _check(kind, part, rows)
    return Plan(
        rows=rows,
        crops=[crops.get(row.file) for row in rows],
        parts=parts,
        fingerprint=fingerprint(recipe, rows),
    )


def _crops(table: Path) -> dict[Path, Crop]:
    try:
        return {table.parent / path: crop for path, crop in read_crops(table).items()}
    except ValueError as error:
        raise ImageSetError(
            f"{table.name}: frame and crop columns: expected whole numbers: {error}"
        ) from error


def _check(kind: str, parts: Parts, rows: Sequence[SliceRow]) -> None:
    for name, part in (("train", parts.train), ("val", parts.val), ("test", parts.test)):
        if {rows[i].hemorrhage for i in part} != {0, 1}:
            raise ImageSetError(
                f"the {name} part of the split {kind!r} lacks slices with or without a hemorrhage: give more "
                "images (at least three subjects of each kind) or a larger --share"
            )


def course_of(case: Case, plan: Plan, recipe: Recipe) -> Course:
    """Return what a case trains on: with augmentation, copies within the training part, each changed anew."""
    parts = plan.parts[case.split]
    return Course(
        train=replicate(plan.rows, parts.train) if case.augmented else parts.train,
        val=parts.val,
        batch=recipe.batch if case.augmented else recipe.plain_batch,
        augmented=case.augmented,
    )
