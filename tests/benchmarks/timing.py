"""How long work takes: the best of several tries, which what else runs on the machine disturbs least."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True)
class Spent:
    """Seconds by the clock on the wall, and of all cores of this process together."""

    wall: float
    cpu: float


def best_of(tries: int, work: Callable[[], object]) -> Spent:
    """Do the work once to warm up, then `tries` times; a CUDA card is waited for."""
    return min((_once(work) for _ in range(tries + 1)), key=lambda spent: spent.wall)


def _once(work: Callable[[], object]) -> Spent:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return Spent(wall=time.perf_counter() - wall, cpu=time.process_time() - cpu)


def product_rate(device: torch.device, dtype: torch.dtype, *, side: int) -> float:
    """Return the floating-point operations per second of a product of two square matrices."""
    matrix = torch.rand(side, side, device=device, dtype=dtype)
    return 2 * side**3 / best_of(3, lambda: matrix @ matrix).wall
