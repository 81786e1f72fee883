"""Holds the network that reads, in this process, and swaps it between two studies. Loads torch."""

from ich_node.store.bundles import ServingBundle
from model.predict import Predictor


class LoadedReader:
    """The loaded network; another bundle replaces it. `device`: None takes a card where there is one."""

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
        return self._predictor
