"""The brain window in which training and node meet, and the version of the preparation that follows it."""

import numpy as np
from numpy.typing import NDArray

CENTER_HU = 40.0
WIDTH_HU = 80.0
LOW_HU = CENTER_HU - WIDTH_HU / 2

PREPARATION_VERSION = 2
"""Raised whenever the same slice would be prepared differently."""

PREPARATIONS_READ = (1, PREPARATION_VERSION)
"""First and last that a bundle may have learned from.

Version 1 had the same skull without skin, nose and ears. The network that ships learned from it and reads
both alike (model/README.md, The brace); a hospital keeps the one that it retrained, and measures it again.
"""


def to_window(hu: NDArray[np.float32]) -> NDArray[np.float32]:
    """Clip HU to 0..80 and scale to 0..1, the window units of every other function here."""
    scaled: NDArray[np.float32] = (hu - np.float32(LOW_HU)) * np.float32(1 / WIDTH_HU)
    return np.clip(scaled, 0.0, 1.0, out=scaled)
