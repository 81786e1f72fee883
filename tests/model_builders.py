"""What the model's tests are made of: drawn heads and headrests, a tiny bundle, a tiny image set."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from model.bundle import stored_weights, write_bundle
from model.manifest import InputFormat, Manifest, Thresholds
from model.network import DTViT
from model.volume import Volume

TINY = "hybrid_lite0_vit192"
TINY_SIZE = 32
PICTURE_SIZE = 96  # of an image set's pictures
SPOT = (40, 52, 50, 62)  # top, bottom, left, right of their bleeds
HEADRESTS = ("none", "plate", "cradle", "touching cradle", "side bars", "thick shell", "closed ring")


def drawn_head(
    headrest: str = "none",
    *,
    size: int = 512,
    radii: tuple[float, float] = (0.34, 0.27),
    tilt_deg: float = 0.0,
    center: tuple[float, float] = (0.5, 0.5),
    seed: int = 0,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return a slice in HU (size, size) and the mask of the head (skull and all inside) in it.

    `radii` and `center` are shares of the side: (row, column).
    """
    rows, columns = np.mgrid[:size, :size] / size
    y, x = rows - center[0], columns - center[1]
    angle = np.deg2rad(tilt_deg)
    y, x = y * np.cos(angle) + x * np.sin(angle), x * np.cos(angle) - y * np.sin(angle)
    distance = np.sqrt((y / radii[0]) ** 2 + (x / radii[1]) ** 2)
    head = distance < 1
    hu = np.full((size, size), -1000.0)
    hu[distance < 1.09] = -90.0  # scalp fat, then skin
    hu[(distance > 1.07) & (distance < 1.09)] = 30.0
    hu[head] = 900.0
    brain = distance < 0.88
    hu[brain] = 32.0
    hu[(np.abs(y) < radii[0] * 0.25) & (np.abs(np.abs(x) - radii[1] * 0.15) < radii[1] * 0.06)] = 5.0
    hu[_headrest(headrest, rows, columns, center, radii)] = 200.0
    random = np.random.default_rng(seed)
    hu[hu > -200] += random.normal(0, 5, (hu > -200).sum())
    return hu.astype(np.float32), head


def _headrest(
    kind: str,
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
    center: tuple[float, float],
    radii: tuple[float, float],
) -> NDArray[np.bool_]:
    y, x = rows - center[0], columns - center[1]
    reach = np.sqrt((y / (radii[0] * 1.09)) ** 2 + (x / (radii[1] * 1.09)) ** 2)
    behind = y > radii[0] * 0.2
    match kind:
        case "none":
            return np.zeros(rows.shape, dtype=bool)
        case "plate":
            return np.abs(y - radii[0] * 1.22) < 0.006
        case "cradle":
            return (np.abs(reach - 1.18) < 0.012) & behind
        case "touching cradle":
            return (np.abs(reach - 1.01) < 0.012) & behind
        case "side bars":
            return (np.abs(np.abs(x) - radii[1] * 1.4) < 0.009) & (np.abs(y) < radii[0])
        case "thick shell":
            return (np.abs(reach - 1.25) < 0.02) & behind
        case "closed ring":
            return np.abs(reach - 1.3) < 0.008
    raise ValueError(kind)


def drawn_volume(
    slices: int = 12, *, size: int = 128, step_mm: float = 6.0, tissue_hu: float = 32.0
) -> Volume:
    """Return a volume of equal drawn heads, 230 mm wide, whose brain has a mean of `tissue_hu`."""
    hu, _ = drawn_head("cradle", size=size)
    hu = np.where((hu > 15) & (hu < 60), hu - 32.0 + tissue_hu, hu)
    spacing = 230.0 / size
    return Volume(
        hu=np.repeat(hu[None], slices, axis=0).astype(np.float32),
        positions_mm=np.arange(slices) * step_mm,
        spacing_mm=(spacing, spacing),
    )


def tiny_manifest(**changes: object) -> Manifest:
    """Return the manifest of a tiny bundle."""
    manifest = Manifest(
        name="tiny",
        created="2026-11-24T12:00:00+00:00",
        encoder=TINY,
        input=InputFormat(size=TINY_SIZE, mean=(0.5,) * 3, std=(0.5,) * 3),
        slice_thresholds=Thresholds(low=0.3, high=0.6),
        study_thresholds=Thresholds(low=0.2, high=0.7),
        aggregation="run3_mean",
        temperature=1.0,
        prevalence_in_training=0.5,
        training={
            "sources": ["drawn"],
            "subjects": 1,
            "slices": 1,
            "code_version": "0",
            "settings": {},
            "seed": 0,
        },
        metrics={},
        licence="none stated",
        parent=None,
        weights_sha256="0" * 64,
    )
    return replace(manifest, **changes)  # type: ignore[arg-type]


def tiny_bundle(folder: Path, *, log_odds: float | None = None, **changes: object) -> Path:
    """Write a bundle of untrained weights and return its folder; `log_odds` of blood lie on every patch."""
    torch.manual_seed(7)
    network = DTViT(TINY, TINY_SIZE)
    if log_odds is not None:
        torch.nn.init.constant_(network.evidence.answer.bias, log_odds)
    write_bundle(folder, tiny_manifest(**changes), stored_weights(network))
    return folder


def image_set(
    folder: Path,
    *,
    subjects: dict[str, str],
    slices: int = 8,
    bleeding: int = 4,
    labelled: bool = True,
    located: bool = True,
    boxed: bool = False,
) -> Path:
    """Write slices.csv with drawn heads; every second subject bleeds, in turn at each location.

    `subjects` maps names to splits; a bleeding subject's first `bleeding` slices hold a bright spot, and
    with `boxed` a boxes.csv says where.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, (subject, split) in enumerate(subjects.items()):
        place = ("deep", "lobar", "subtentorial")[number // 2 % 3]
        for index in range(slices):
            bleeds = number % 2 == 1 and index < bleeding
            path = f"{subject}-{index}.png"
            _draw_picture(folder / path, bleeds=bleeds, seed=number * 100 + index)
            lines.append(
                {
                    "path": path,
                    "subject": subject,
                    "hemorrhage": int(bleeds) if labelled else "",
                    "location": place if bleeds and located else "",
                    "other_finding": "",
                    "split": split,
                }
            )
    table = folder / "slices.csv"
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    if boxed:
        _write_boxes(folder / "boxes.csv", [line["path"] for line in lines if line["hemorrhage"] == 1])
    return table


def _write_boxes(file: Path, paths: list[object]) -> None:
    top, bottom, left, right = SPOT
    box = f"{left},{top},{right - 1},{bottom - 1},{PICTURE_SIZE}"
    file.write_text("\n".join(["path,x_min,y_min,x_max,y_max,frame_size", *(f"{p},{box}" for p in paths)]))


def _draw_picture(file: Path, *, bleeds: bool, seed: int) -> None:
    hu, _ = drawn_head("cradle", size=PICTURE_SIZE, seed=seed)
    if bleeds:
        top, bottom, left, right = SPOT
        hu[top:bottom, left:right] = 70.0
    Image.fromarray((np.clip(hu, 0, 80) / 80 * 255).astype(np.uint8)).save(file)
