"""What a chip runs: populations of neurons, and linear connections between them. Every graph becomes this.

NIR's linear nodes (Affine, Conv2d, AvgPool2d, ...) lie between neurons in any number; a chip has neither of them but
synapses. So a path of linear nodes from one population to the next is multiplied out to one sparse matrix.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

Float64 = npt.NDArray[np.float64]
Reset = Literal["zero", "subtract", "none"]


@dataclass(frozen=True)
class Connection:
    """`weights` (source, target) meet the spikes of `source`, a population or an input, `delay` steps later."""

    source: str
    weights: csr_array[Any, Any]
    delay: int = 0

    def __post_init__(self) -> None:
        """Targets of a row ascend, each once: the simulators' loops count on it, and products of matrices do not."""
        if not self.weights.has_canonical_format:
            ordered = self.weights.copy()
            ordered.sum_duplicates()
            object.__setattr__(self, "weights", ordered)


@dataclass(frozen=True)
class Population:
    """N neurons that update together; all parameters are (N,).

    A step: J = sum over connections of spikes times weights; I[t] = current_decay * I[t-1] + J; U[t] = decay * (U[t-1]
    after its reset) + I[t] + bias; a neuron spikes where U[t] > threshold. Without a threshold (`spikes` false) it is a
    readout: U is what it gives. Neurons of several `levels` are graded: above the threshold they send 1, and one more
    for each `step` above it, up to `levels`.
    """

    name: str
    decay: Float64
    current_decay: Float64
    bias: Float64
    threshold: Float64
    incoming: tuple[Connection, ...]
    spikes: bool = True
    levels: int = 1
    step: Float64 | None = None  # (N,), of graded neurons
    origin: Float64 | None = None  # (N,)

    @property
    def size(self) -> int:
        return len(self.decay)

    @property
    def fan_in(self) -> npt.NDArray[np.int64]:
        """Synapses that lead to each neuron, (N,)."""
        each = [np.bincount(c.weights.indices, minlength=self.size) for c in self.incoming]
        total: npt.NDArray[np.int64] = np.sum(each, axis=0, dtype=np.int64) if each else np.zeros(self.size, np.int64)
        return total


@dataclass(frozen=True)
class Program:
    """A network on its way to a chip. `populations` are in an order in which connections without delay lead on.

    `dt` is a step in seconds; `reset_delay` is 0 where a spike resets its neuron within the step and 1 where it does in
    the next one; `output` is the population whose potential, or spikes if it has a threshold, is the answer.
    """

    inputs: dict[str, int]
    populations: tuple[Population, ...]
    output: str
    dt: float
    reset: Reset
    reset_delay: int
    notes: tuple[str, ...] = ()  # what to say where a chip refuses it

    def __iter__(self) -> Iterator[Population]:
        return iter(self.populations)

    def __getitem__(self, name: str) -> Population:
        return next(one for one in self.populations if one.name == name)

    def size(self, name: str) -> int:
        """Channels of an input or neurons of a population."""
        return self.inputs[name] if name in self.inputs else self[name].size

    @property
    def depth(self) -> dict[str, int]:
        """Populations on the longest way without delay from the inputs to each one, itself counted."""
        found = dict.fromkeys(self.inputs, 0)
        for one in self.populations:
            before = [found.get(c.source, 0) for c in one.incoming if c.delay == 0]
            found[one.name] = 1 + max(before, default=0)
        return found
