"""Golden studies give golden scores on this machine: drawn heads, read whole, compared with what is stored.

Beside a bundle lies `golden.json`: what the bundle's network said of each golden head on the machine where it
was stored. The heads are drawn anew from their seeds, so that no image has to be kept.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from ich_node.cli.check import Check
from ich_node.demo.phantom import HeadPhantom, head_phantom
from ich_node.retraining.bundle_folders import GOLDEN_FILE
from ich_node.vocabulary import Location
from model.predict import Predictor
from model.prediction import Prediction
from model.volume import Volume

_SCHEMA: Final = 1
_HEADS: Final = ((3, Location.DEEP), (4, None))
_SIZE: Final = 256
# float32: measured 3e-7 between one thread and two, 6e-6 between AVX-512 and a processor without AVX
FLOAT32_TOLERANCE: Final = 1e-4
# bfloat16, in which a CUDA card computes, keeps 8 bits of a number: with autocast on a CPU five heads were
# up to 0.05 from float32; not yet measured on a card
BFLOAT16_TOLERANCE: Final = 0.1


@dataclass(frozen=True, kw_only=True)
class Golden:
    """What one golden head gave: `volume_sha256` of its voxels, int16 little endian, foot to head."""

    head: str
    volume_sha256: str
    score: float
    location_scores: Mapping[str, float]
    slice_scores: tuple[float, ...]

    def distance(self, other: "Golden") -> float:
        """The largest difference of study and location scores, or the mean one of slices if that is more."""
        if len(self.slice_scores) != len(other.slice_scores):
            return float("inf")
        slices = np.abs(np.subtract(self.slice_scores, other.slice_scores)).mean()
        places = (abs(self.location_scores[name] - other.location_scores[name]) for name in Location)
        return float(max(abs(self.score - other.score), slices, *places))


def check_constancy(predictor: Predictor, folder: Path, *, store: bool) -> Check:
    """Read the golden heads and compare; with `store` write down the scores of a bundle that has none."""
    file = folder / GOLDEN_FILE
    if store and file.exists():
        words = f"{file} holds golden scores already, and they are not replaced; remove it to store new ones"
        return _check(words, passed=False)
    if store:
        return _store(predictor, file)
    if not file.exists():
        words = (
            "no golden scores are stored for this bundle; `ich-node doctor --constancy --store` stores them"
        )
        return _check(words, passed=False)
    try:
        device, known = _read(file, predictor.sha256)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return _check(f"{file} cannot be used: {error}; remove it and store the scores again", passed=False)
    allowed = max(tolerance_of(device), tolerance_of(predictor.device_name))
    return _compare(known, list(_measure(predictor)), predictor.device_name, allowed)


def tolerance_of(device: str) -> float:
    """How far scores may lie from the stored ones on a device, as the predictor names it."""
    return BFLOAT16_TOLERANCE if device.startswith("cuda") else FLOAT32_TOLERANCE


def _check(words: str, *, passed: bool) -> Check:
    return Check(subject="constancy", passed=passed, words=words)


def _measure(predictor: Predictor) -> Iterator[Golden]:
    for seed, bleed in _HEADS:
        phantom = head_phantom(seed, bleed, size=_SIZE)
        said = predictor.predict(_volume(phantom))
        yield _golden(f"{seed} {bleed or 'none'}", phantom, said)


def _volume(phantom: HeadPhantom) -> Volume:
    return Volume(
        hu=phantom.hu.astype(np.float32),
        positions_mm=np.array([z for _, _, z in phantom.positions_mm]),
        spacing_mm=(phantom.pixel_spacing_mm, phantom.pixel_spacing_mm),
    )


def _golden(head: str, phantom: HeadPhantom, said: Prediction) -> Golden:
    return Golden(
        head=head,
        volume_sha256=hashlib.sha256(phantom.hu.astype("<i2").tobytes()).hexdigest(),
        score=said.score,
        location_scores=said.location_scores,
        slice_scores=tuple(float(score) for score in said.slice_scores),
    )


def _store(predictor: Predictor, file: Path) -> Check:
    content = {
        "schema": _SCHEMA,
        "bundle_sha256": predictor.sha256,
        "device": predictor.device_name,
        "heads": [vars(one) for one in _measure(predictor)],
    }
    partial = file.with_name(f"{file.name}.part")
    try:
        partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        partial.replace(file)
    except OSError as error:
        return _check(f"the scores could not be stored at {file}: {error.strerror}", passed=False)
    words = f"golden scores of {len(_HEADS)} heads stored at {file}; later runs are compared with them"
    return _check(words, passed=True)


def _read(file: Path, bundle_sha256: str) -> tuple[str, list[Golden]]:
    """The device of the stored scores, and the scores; raises what a damaged file leads to."""
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    if content["schema"] != _SCHEMA or content["bundle_sha256"] != bundle_sha256:
        raise ValueError("it is of another bundle or another version")
    known = [Golden(**{**one, "slice_scores": tuple(one["slice_scores"])}) for one in content["heads"]]
    if [one.head for one in known] != [f"{seed} {bleed or 'none'}" for seed, bleed in _HEADS]:
        raise ValueError("it names other golden heads")
    return str(content["device"]), known


def _compare(known: list[Golden], found: list[Golden], device: str, allowed: float) -> Check:
    """Tell a network that reads otherwise from heads that are drawn otherwise."""
    farthest = max(one.distance(other) for one, other in zip(known, found, strict=True))
    seen = f"{len(found)} golden heads on {device}: farthest {farthest:.1e}, {allowed:.0e} allowed"
    redrawn = [one.volume_sha256 for one in known] != [one.volume_sha256 for one in found]
    drawn = "; the heads are drawn with other roundings here (processor, numpy or scipy)" if redrawn else ""
    if farthest <= allowed:
        return _check(seen + drawn, passed=True)
    if redrawn:
        advice = ", so this says nothing of the network: compare on another machine, or store new scores"
    else:
        advice = (
            "; the same heads are scored otherwise: do not read with this machine before torch, driver and "
            'processor are what they were; `analysis.device = "cpu"` tells whether the card is the cause'
        )
    return _check(seen + drawn + advice, passed=False)
