"""Puts pynetdicom's settings for the whole process back as they were: our processes set them once."""

from collections.abc import Iterator

import pytest
from pynetdicom import _config

from ich_node.network import adjust_pynetdicom

_ADJUSTED = (
    "LOG_HANDLER_LEVEL",
    "UNRESTRICTED_STORAGE_SERVICE",
    "STORE_SEND_CHUNKED_DATASET",
)


@pytest.fixture(autouse=True)
def _as_in_our_processes() -> Iterator[None]:
    before = {name: getattr(_config, name) for name in _ADJUSTED}
    validators = dict(_config.VALIDATORS)
    adjust_pynetdicom()
    yield
    for name, value in before.items():
        setattr(_config, name, value)
    _config.VALIDATORS.update(validators)
