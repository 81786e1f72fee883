"""Loaded by Python under libfaketime, whose 0.9.10 takes sleeping by the steady clock for the wall's.

The wait of `select` it leaves alone.
"""

import select
import time


def _sleep(seconds: float) -> None:
    select.select([], [], [], seconds)


time.sleep = _sleep
