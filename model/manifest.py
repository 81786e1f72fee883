"""The manifest of a bundle, checked field by field; no torch, so that any process may list bundles."""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from model.encoders import ENCODERS
from model.errors import BundleError
from model.window import CENTER_HU, PREPARATION_VERSION, PREPARATIONS_READ, WIDTH_HU

SCHEMA = 1
HEMORRHAGE_CLASSES = ("absent", "present")
LOCATIONS = ("deep", "lobar", "subtentorial")
WEIGHTS_FILE = "weights.safetensors"
MANIFEST_FILE = "manifest.json"
AGGREGATIONS = ("run3_mean", "top3_mean", "top_third_mean")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class InputFormat:
    """What the network is fed: square gray pictures of `size`, window units minus `mean` over `std`."""

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: int = 3
    window_center: float = CENTER_HU
    window_width: float = WIDTH_HU


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Scores below `low` are negative, from `high` on positive, between them indeterminate."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """All that reading needs beside the weights; names as in the bundle contract.

    `heat_map`: the map of evidence was taught where blood is and, on validation, mostly shows it.
    """

    name: str
    created: str
    encoder: str
    input: InputFormat
    slice_thresholds: Thresholds
    study_thresholds: Thresholds
    aggregation: str
    temperature: float
    prevalence_in_training: float
    training: Mapping[str, Any]
    metrics: Mapping[str, Any]
    licence: str
    parent: str | None
    weights_sha256: str
    preparation_version: int = PREPARATION_VERSION
    heat_map: bool = False

    def to_json(self) -> str:
        """Write the manifest as it stands in the bundle folder."""
        document = {
            "schema": SCHEMA,
            "name": self.name,
            "created": self.created,
            "encoder": self.encoder,
            "input": {
                "size": self.input.size,
                "mean": list(self.input.mean),
                "std": list(self.input.std),
                "window": {"center": self.input.window_center, "width": self.input.window_width},
                "channels": self.input.channels,
            },
            "classes": {"hemorrhage": list(HEMORRHAGE_CLASSES), "location": list(LOCATIONS)},
            "preparation_version": self.preparation_version,
            "thresholds": {
                "slice": {"low": self.slice_thresholds.low, "high": self.slice_thresholds.high},
                "study": {"low": self.study_thresholds.low, "high": self.study_thresholds.high},
            },
            "aggregation": self.aggregation,
            "temperature": self.temperature,
            "heat_map": self.heat_map,
            "prevalence_in_training": self.prevalence_in_training,
            "training": dict(self.training),
            "metrics": dict(self.metrics),
            "licence": self.licence,
            "parent": self.parent,
            "weights_sha256": self.weights_sha256,
        }
        return json.dumps(document, indent=1, allow_nan=False) + "\n"


class _Fields:
    """One JSON object under reading: every get names where it stands when it refuses."""

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise BundleError(f"{where}: expected an object, got {type(value).__name__}")
        self._value, self._where = value, where

    def _get(self, key: str) -> object:
        if key not in self._value:
            raise BundleError(f"{self._where}: {key} is missing")
        return self._value[key]

    def _refuse(self, key: str, expected: str, got: object) -> BundleError:
        return BundleError(f"{self._where}: {key}: expected {expected}, got {got!r}")

    def fields(self, key: str) -> "_Fields":
        return _Fields(self._get(key), f"{self._where}: {key}")

    def number(self, key: str, low: float = -math.inf, high: float = math.inf) -> float:
        value = self._get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise self._refuse(key, f"a number within {low} to {high}", value)
        if not math.isfinite(value):
            raise self._refuse(key, "a finite number", value)
        return float(value)

    def whole(self, key: str, low: int, high: int) -> int:
        value = self._get(key)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self._refuse(key, f"a whole number within {low} to {high}", value)
        return value

    def text(self, key: str, pattern: re.Pattern[str] | None = None) -> str:
        value = self._get(key)
        if not isinstance(value, str) or not value or (pattern and not pattern.fullmatch(value)):
            raise self._refuse(key, pattern.pattern if pattern else "a text", value)
        return value

    def one_of(self, key: str, allowed: Sequence[str]) -> str:
        value = self.text(key)
        if value not in allowed:
            raise self._refuse(key, f"one of {', '.join(allowed)}", value)
        return value

    def flag(self, key: str, *, absent: bool) -> bool:
        value = self._value.get(key, absent)
        if not isinstance(value, bool):
            raise self._refuse(key, "true or false", value)
        return value

    def exactly(self, key: str, expected: object) -> None:
        if (value := self._get(key)) != expected:
            raise self._refuse(key, repr(expected), value)

    def numbers(self, key: str, count: int, low: float, high: float) -> tuple[float, ...]:
        value = self._get(key)
        if not isinstance(value, list) or len(value) != count:
            raise self._refuse(key, f"{count} numbers", value)
        return tuple(_Fields({key: v}, self._where).number(key, low, high) for v in value)

    def mapping(self, key: str) -> dict[str, Any]:
        value = self._get(key)
        if not isinstance(value, dict):
            raise self._refuse(key, "an object", value)
        return value

    def sha_or_none(self, key: str) -> str | None:
        return None if self._get(key) is None else self.text(key, _SHA256)

    def thresholds(self, key: str) -> Thresholds:
        pair = self.fields(key)
        found = Thresholds(low=pair.number("low", 0.0, 1.0), high=pair.number("high", 0.0, 1.0))
        if found.low > found.high:
            raise self._refuse(key, "low not above high", (found.low, found.high))
        return found


def parse_manifest(text: str) -> Manifest:
    """Parse a manifest and check every field; raises BundleError naming the first that does not fit."""
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise BundleError(f"{MANIFEST_FILE}: no JSON: {error}") from error
    top = _Fields(document, MANIFEST_FILE)
    top.exactly("schema", SCHEMA)
    top.exactly("classes", {"hemorrhage": list(HEMORRHAGE_CLASSES), "location": list(LOCATIONS)})
    version = top.whole("preparation_version", PREPARATIONS_READ[0], PREPARATIONS_READ[-1])
    thresholds = top.fields("thresholds")
    encoder = top.one_of("encoder", tuple(ENCODERS))
    return Manifest(
        name=top.text("name", _NAME),
        created=_created(top),
        encoder=encoder,
        input=_input_format(top.fields("input"), ENCODERS[encoder].stride),
        slice_thresholds=thresholds.thresholds("slice"),
        study_thresholds=thresholds.thresholds("study"),
        aggregation=top.one_of("aggregation", AGGREGATIONS),
        temperature=top.number("temperature", 1e-3, 1e3),
        prevalence_in_training=top.number("prevalence_in_training", 0.0, 1.0),
        training=_training(top),
        metrics=top.mapping("metrics"),
        licence=top.text("licence"),
        parent=top.sha_or_none("parent"),
        weights_sha256=top.text("weights_sha256", _SHA256),
        preparation_version=version,
        heat_map=top.flag("heat_map", absent=False),
    )


def _created(top: _Fields) -> str:
    text = top.text("created")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise BundleError(f"{MANIFEST_FILE}: created: expected an ISO 8601 time, got {text!r}") from error
    if moment.tzinfo is None:
        raise BundleError(f"{MANIFEST_FILE}: created: expected a time with its offset, got {text!r}")
    return text


def _input_format(fields: _Fields, stride: int) -> InputFormat:
    size = fields.whole("size", stride, 1024)
    if size % stride:
        raise BundleError(f"{MANIFEST_FILE}: input: size: expected a multiple of {stride}, got {size}")
    window = fields.fields("window")
    window.exactly("center", CENTER_HU)
    window.exactly("width", WIDTH_HU)
    fields.exactly("channels", 3)
    return InputFormat(
        size=size,
        mean=fields.numbers("mean", 3, -10.0, 10.0),
        std=fields.numbers("std", 3, 1e-3, 10.0),
    )


def _training(top: _Fields) -> dict[str, Any]:
    fields = top.fields("training")
    fields.whole("subjects", 0, 10**9)
    fields.whole("slices", 0, 10**9)
    fields.whole("seed", 0, 2**63)
    fields.text("code_version")
    fields.mapping("settings")
    training = top.mapping("training")
    if not isinstance(training.get("sources"), list):
        raise BundleError(
            f"{MANIFEST_FILE}: training: sources: expected a list, got {training.get('sources')!r}"
        )
    return training


def read_manifest(folder: Path) -> Manifest:
    """Read and check `folder`/manifest.json; raises BundleError. The weights are not looked at."""
    return parse_manifest(_read(folder / MANIFEST_FILE).decode("utf-8", errors="replace"))


def bundle_sha256(folder: Path) -> str:
    """Return the identity of a bundle that reports name: the hash of manifest and weights as stored."""
    return identity(_read(folder / MANIFEST_FILE), _read(folder / WEIGHTS_FILE))


def identity(manifest: bytes, weights: bytes) -> str:
    """Return the identity of a bundle of these two files."""
    digest = hashlib.sha256()
    for name, content in ((MANIFEST_FILE, manifest), (WEIGHTS_FILE, weights)):
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"{path.name}: expected a readable file in {path.parent.name}: {error.strerror}"
        ) from error
