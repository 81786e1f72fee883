"""Which device computes, what it is called, and whether bfloat16 pays there."""

import platform
import time

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


def bfloat16_pays(device: torch.device, *, margin: float = 1.3) -> bool:
    """Measure whether a bfloat16 product clearly beats float32: with AVX2 alone it is 50 times slower."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        a = torch.ones(512, 512, dtype=dtype, device=device)
        a @ a  # first call: kernels are chosen
        started = time.perf_counter()
        for _ in range(3):
            a @ a
        seconds[dtype] = time.perf_counter() - started
    return seconds[torch.float32] > margin * seconds[torch.bfloat16]
