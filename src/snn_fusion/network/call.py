"""One pass through a layer: what the kernels need to know beside weights, and arrays in their layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from snn_fusion.encoding.spikes import Spikes, side_by_side
from snn_fusion.network import forward_kernels
from snn_fusion.network.lanes import WIDTH
from snn_fusion.network.neurons import RESETS, Reset

Array = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]
DTYPES = {np.dtype(np.float32): torch.float32, np.dtype(np.float64): torch.float64}


def array(tensor: Tensor) -> Array:
    """The tensor's values for the kernels: contiguous, and without a copy where they are already."""
    values: Array = tensor.detach().contiguous().numpy()
    return values


def blocks(neurons: int) -> int:
    """Blocks of WIDTH neurons, the last one filled up."""
    return -(-neurons // WIDTH)


def room(*shape: int, dtype: Any) -> Array:
    """Memory, not filled. torch lays it at the beginning of a cache line, so that no block of neurons straddles two."""
    out: Array = torch.empty(shape, dtype=DTYPES[dtype]).numpy()
    return out


def packed(matrix: Tensor) -> Array:
    """(rows, N) -> (K, rows, WIDTH)."""
    values = array(matrix)
    out = room(blocks(values.shape[1]), len(values), WIDTH, dtype=values.dtype)
    forward_kernels.pack(values, out)
    return out


def per_neuron(beta: Tensor, neurons: int) -> Array:
    """One decay for all, or (N,) of them -> (K * WIDTH,), 0 where there is no neuron."""
    values = array(beta)
    out = np.zeros(blocks(neurons) * WIDTH, values.dtype)
    out[:neurons] = values
    return out


@dataclass(frozen=True)
class Fired:
    """Spikes of a layer as the kernels leave them: bit n of `bits[k, b, t]` is neuron k * WIDTH + n, (K, B, T)."""

    bits: npt.NDArray[np.uint32]
    neurons: int

    @cached_property
    def events(self) -> Spikes:
        """The same as events."""
        indptr, index = forward_kernels.events(self.bits)
        return Spikes(indptr, index, self.neurons)


@dataclass
class Call:
    """Sizes, neuron and input events of a pass; `fired`, the layer's spikes, is there after it.

    `sources` say of each source, and `active` of all together, which recordings bring any input. With `last` only the
    readout's last potential is wanted.
    """

    recordings: int
    steps: int
    threshold: float
    slope: float
    reset: Reset
    last: bool
    events: Spikes | None = None
    sources: list[Bools] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    active: Bools = field(init=False)
    fired: Fired = field(init=False)

    def __post_init__(self) -> None:
        self.active = np.ones(self.recordings, np.bool_)

    def set_events(self, events: Sequence[Spikes], active: Sequence[Bools | None]) -> None:
        """Put the channels of several sources side by side."""
        self.events, self.sizes = side_by_side(events), [one.channels for one in events]
        self.sources = [self.active if a is None else a for a in active]
        self.active = self.sources[0] if len(events) == 1 else np.logical_or.reduce(self.sources)

    @property
    def rows(self) -> int:
        return self.recordings * self.steps

    @property
    def input(self) -> tuple[Any, Any, Any]:
        """`active`, `indptr` and `index` for the kernels; no events where the current is given."""
        if self.events is None:
            return self.active, np.zeros(1, np.int32), np.zeros(0, np.int32)
        return self.active, self.events.indptr, self.events.index

    @property
    def spikes_in(self) -> int:
        """How many spikes come in; 0 where the current is given."""
        return 0 if self.events is None else len(self.events.index)

    @property
    def reset_code(self) -> int:
        return RESETS.index(self.reset)
