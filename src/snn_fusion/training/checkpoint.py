"""A training run's state in one file, so that it is whole or not there: safetensors, with the history in its header."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from snn_fusion.errors import BadInput
from snn_fusion.workspace import write_atomic


@dataclass
class Progress:
    """What a run needs beside weights and optimiser to go on: the epochs done, the best one (counted from 1; 0:
    none yet) and its weights."""

    history: list[dict[str, float]]
    best_epoch: int
    best_loss: float
    best: dict[str, Tensor]

    @property
    def epochs(self) -> int:
        return len(self.history)


def save_checkpoint(path: Path, network: nn.Module, optimiser: torch.optim.Optimizer, progress: Progress) -> None:
    """Replace the file at once; a kill leaves the checkpoint before."""
    tensors = {f"network/{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"best/{k}": v for k, v in progress.best.items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{index}/{k}": torch.as_tensor(v) for k, v in state.items()}
    header = {"history": progress.history, "best_epoch": progress.best_epoch, "best_loss": progress.best_loss}
    contiguous = {k: v.detach().contiguous() for k, v in tensors.items()}
    write_atomic(path, save(contiguous, {"progress": json.dumps(header)}))


def load_checkpoint(path: Path, network: nn.Module, optimiser: torch.optim.Optimizer) -> Progress | None:
    """Put the saved state back; None if there is no checkpoint. Raises BadInput if it is damaged."""
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            header: dict[str, Any] = json.loads(file.metadata()["progress"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        network.load_state_dict(_part(tensors, "network/"))
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _part(tensors, "optimiser/").items():
            index, key = name.split("/")
            state.setdefault(int(index), {})[key] = tensor
        optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise BadInput(path, f"damaged checkpoint: {error}", "remove it to train from the start") from error
    return Progress(header["history"], header["best_epoch"], header["best_loss"], _part(tensors, "best/"))


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
