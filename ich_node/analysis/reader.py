"""What reads volumes, as the analysis sees it: a bundle in, what serves it out. Loads no torch."""

from collections.abc import Callable
from typing import Protocol

from ich_node.core.conclusion import Thresholds
from ich_node.store.bundles import ServingBundle
from model.manifest import Manifest
from model.prediction import Prediction
from model.volume import Volume


class Served(Protocol):
    """A bundle that is ready to read."""

    @property
    def manifest(self) -> Manifest:
        """The manifest of the bundle."""

    @property
    def device_name(self) -> str:
        """Where it reads."""

    def predict(self, volume: Volume, *, at: Callable[[str], None]) -> Prediction:
        """Score a volume; `at` hears the name of each stage as it begins. Raises what goes wrong."""


class Reader(Protocol):
    """Serves one bundle at a time, here (`loaded`) or in a process of its own (`reading`)."""

    def take(self, bundle: ServingBundle) -> Served:
        """Make this bundle ready unless it is; raises BundleError."""


def study_thresholds(served: Served) -> Thresholds:
    """The operating points on the study score that travel with the bundle."""
    points = served.manifest.study_thresholds
    return Thresholds(low=points.low, high=points.high)
