"""Ties a process to the one that started it, by the kernel (Linux)."""

import ctypes
from signal import Signals

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def end_with_parent(by: Signals) -> None:
    """Have this process sent a signal when the thread that started it ends, however it ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, by)
