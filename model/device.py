"""Which device computes, what it is called, and whether bfloat16 pays there."""

import platform
import time
from collections.abc import Callable

import torch

from model.errors import ModelError


def choose_device(name: str | None) -> torch.device:
    """Return the device of that name, else a CUDA card if there is one, else the CPU; ModelError."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelError(f"device: expected cpu, cuda or cuda:N, got {name!r}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ModelError("device: cuda was asked for, but torch finds no CUDA card")
    return device


def describe_device(device: torch.device) -> str:
    """Return a name for logs and reports: the card's, or the CPU with its architecture and threads."""
    if device.type == "cuda":
        return f"cuda: {torch.cuda.get_device_name(device)}"
    return f"{device.type}: {platform.machine()}, {torch.get_num_threads()} threads"


def bfloat16_pays(device: torch.device, work: Callable[[torch.dtype], None]) -> bool:
    """Measure whether `work` in bfloat16 is faster than in float32.

    A plain product is tried first: on processors with AVX2 alone bfloat16 is 50 times slower, which must
    not be found out with the whole network.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    matrix = torch.ones(384, 384)

    def product(dtype: torch.dtype) -> None:
        torch.matmul(matrix.to(dtype), matrix.to(dtype))

    return _faster(product) and _faster(work)


def _faster(work: Callable[[torch.dtype], None]) -> bool:
    return _seconds(work, torch.bfloat16) < 0.9 * _seconds(work, torch.float32)


def _seconds(work: Callable[[torch.dtype], None], dtype: torch.dtype) -> float:
    work(dtype)  # kernels are chosen in the first call
    started = time.perf_counter()
    work(dtype)
    return time.perf_counter() - started
