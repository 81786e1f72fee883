"""Several processes on one training, started by torchrun: who writes, and how their parts become one batch.

Batch statistics: on CUDA they are taken over all ranks (SyncBatchNorm), elsewhere over each rank's own part,
and the running ones are rank 0's. Dropout is drawn by each rank for itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from timm.layers import convert_sync_batchnorm
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from model.device import choose_device

# one rank may prepare all slices while the others wait
LONGEST_WAIT = timedelta(hours=6)


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """Which of `world` processes this is."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Say whether this process writes, validates and speaks."""
        return self.rank == 0

    def wrap(self, network: nn.Module, device: torch.device) -> nn.Module:
        """Return what training calls: the network, or one whose gradients are the mean of all ranks'."""
        if self.world == 1:
            return network
        if device.type != "cuda":
            return DistributedDataParallel(network)
        synchronous = convert_sync_batchnorm(network)  # timm's: it keeps the activations in its norms
        return DistributedDataParallel(synchronous, device_ids=[device.index])

    def cases(self, count: Tensor) -> Tensor:
        """Return what a rank's summed loss is divided by, so that the mean over ranks is that of the batch.

        `count` is the rank's own number of cases; a batch without any counts as one.
        """
        if self.world == 1:
            return count.clamp(min=1)
        total = count.float()
        dist.all_reduce(total)
        return total.clamp(min=1) / self.world

    def mean(self, value: Tensor) -> float:
        """Return the mean of a value (a scalar) over all ranks."""
        value = value.detach().clone()
        if self.world > 1:
            dist.all_reduce(value)
        return float(value) / self.world

    def agreed(self, word: str) -> str:
        """Return what rank 0 says."""
        words = [word]
        if self.world > 1:
            dist.broadcast_object_list(words)
        return words[0]

    def wait(self) -> None:
        """Wait until all ranks are here."""
        if self.world > 1:
            dist.barrier()


@contextmanager
def joined(device: str | None) -> Iterator[tuple[Ranks, torch.device]]:
    """Join the other processes that torchrun started, if it did; give this one's place and device.

    Raises ModelError for a device that is not there.
    """
    chosen = choose_device(device)
    if not dist.is_torchelastic_launched():
        yield Ranks(), chosen
        return
    if chosen.type == "cuda":
        chosen = torch.device("cuda", dist.get_node_local_rank())
        torch.cuda.set_device(chosen)
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=LONGEST_WAIT)
    try:
        yield Ranks(rank=dist.get_rank(), world=dist.get_world_size()), chosen
    finally:
        dist.destroy_process_group()
