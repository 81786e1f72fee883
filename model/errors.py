"""The exceptions of this package; messages say what was expected and what came, never who the patient is.

ModelError
├── BundleError       a bundle folder is not what its manifest and this code say
├── ImageSetError     a slices.csv or a picture in it cannot be used
├── TrainingError     training or evaluation cannot do what was asked
└── ModelFailure      the network ran and gave something that is no result
"""


class ModelError(Exception):
    """The model package could not do what was asked."""


class BundleError(ModelError):
    """The bundle does not match its manifest or this code."""


class ImageSetError(ModelError):
    """The image set cannot be used."""


class TrainingError(ModelError):
    """Training or evaluation cannot do what was asked."""


class ModelFailure(ModelError):
    """The network gave no usable result."""
