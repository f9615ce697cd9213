"""Training by several processes that `torchrun` started, each with a share of every batch; or by this one alone."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from snn_fusion.errors import BadInput


@dataclass(frozen=True)
class Team:
    """`size` processes of which this one is number `rank`; `local` of them are on this machine."""

    rank: int = 0
    size: int = 1
    local: int = 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network with gradients averaged over the team; a sense may be missing in one process's share alone."""
        return network if self.size == 1 else DistributedDataParallel(network, find_unused_parameters=True)

    def share(self, n: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """This process's part of n samples; never empty, so that every process takes part in every step."""
        mine = np.arange(self.rank, n, self.size)
        return mine if len(mine) else np.array([self.rank % n])

    def weight(self, n: int) -> float:
        """What makes the team's average of mean losses the mean over all n samples."""
        return len(range(self.rank, n, self.size)) * self.size / n

    def total(self, values: list[float]) -> list[float]:
        """Sums over the team."""
        if self.size == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(tensor)
        return [float(value) for value in tensor]

    def tell(self, value: Any = None) -> Any:
        """The leader's value, in every process; what it is told must be plain values."""
        if self.size == 1:
            return value
        said = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)  # not pickled
        size = torch.tensor([len(said)])
        dist.broadcast(size, src=0)
        said = said if self.leads else torch.empty(int(size), dtype=torch.uint8)
        dist.broadcast(said, src=0)
        return json.loads(said.numpy().tobytes())


@contextlib.contextmanager
def team() -> Iterator[Team]:
    """The team that torchrun's environment variables describe. Raises BadInput if they are not whole."""
    if "WORLD_SIZE" not in os.environ:
        yield Team()
        return
    try:
        size, rank = int(os.environ["WORLD_SIZE"]), int(os.environ["RANK"])
        local = int(os.environ.get("LOCAL_WORLD_SIZE", size))
    except (KeyError, ValueError) as error:
        raise BadInput(
            "environment", f"torchrun's variables are not whole: {error}", "start it with torchrun"
        ) from None
    if size == 1:
        yield Team()
        return
    dist.init_process_group("gloo")
    try:
        yield Team(rank, size, local)
    finally:
        dist.destroy_process_group()
