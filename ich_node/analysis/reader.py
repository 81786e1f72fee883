"""Holds the network that reads, and swaps it between two studies. Loads torch; reads the bundle's folder."""

from ich_node.core.conclusion import Thresholds
from ich_node.log import logger
from ich_node.store.bundles import ServingBundle
from model.predict import Predictor


class Reader:
    """The loaded network; loading another bundle replaces it."""

    def __init__(self, device: str | None) -> None:
        self._device = device
        self._predictor: Predictor | None = None
        self._sha256 = ""

    def take(self, bundle: ServingBundle) -> Predictor:
        """The predictor of this bundle, loaded and checked unless it is in hand; raises BundleError."""
        if self._predictor is None or self._sha256 != bundle.sha256:
            self._predictor = None  # two large networks may not fit side by side
            self._predictor = Predictor.load(bundle.folder, self._device)
            self._sha256 = bundle.sha256
            logger().info("bundle.loaded", bundle=bundle.sha256[:12], device=self._predictor.device_name)
        return self._predictor


def study_thresholds(predictor: Predictor) -> Thresholds:
    """The operating points on the study score that travel with the bundle."""
    points = predictor.manifest.study_thresholds
    return Thresholds(low=points.low, high=points.high)
