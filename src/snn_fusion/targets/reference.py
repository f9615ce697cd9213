"""The reference: a program in floating point, as its equations stand. What every chip is held to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from snn_fusion.targets.populations import Population, Program
from snn_fusion.targets.synapses import arrive, filled

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Traces:
    """What a run left, by population, (n, T, N) each: `spikes`, 0 and 1 or a graded neuron's level, `potential` before
    any reset, `current` without the bias."""

    spikes: Mapping[str, Array]
    potential: Mapping[str, Array]
    current: Mapping[str, Array]


def simulate(program: Program, inputs: Mapping[str, Array], dtype: Any = np.float64) -> Traces:
    """Run `program` from rest on `inputs`, (n, T, channels) of spikes or real-valued currents for each input."""
    n, steps = next(iter(inputs.values())).shape[:2]
    sent = {name: np.asarray(values, dtype) for name, values in inputs.items()}
    potential, currents = {}, {}
    for one in program:
        shape = (n, steps, one.size)
        sent[one.name], potential[one.name], currents[one.name] = (np.zeros(shape, dtype) for _ in range(3))
    rows = {
        id(c): filled(c.weights.indptr, c.weights.indices, c.weights.data.astype(dtype), one.size)
        for one in program
        for c in one.incoming
    }
    cells = {one.name: _Cell(one, program, n, dtype) for one in program}
    for t in range(steps):
        for one in program:
            current = np.zeros((n, one.size), dtype)
            for connection in one.incoming:
                if t >= connection.delay:
                    arrive(sent[connection.source], t, connection.delay, *rows[id(connection)], current[:, None])
            spikes, u = cells[one.name].step(current)
            sent[one.name][:, t], potential[one.name][:, t] = spikes, u
            currents[one.name][:, t] = cells[one.name].current
    return Traces({one.name: sent[one.name] for one in program}, potential, currents)


class _Cell:
    """The state of a population: current and potential, (n, N)."""

    def __init__(self, one: Population, program: Program, n: int, dtype: Any) -> None:
        self.decay, self.current_decay, self.bias, self.threshold = (
            values.astype(dtype) for values in (one.decay, one.current_decay, one.bias, one.threshold)
        )
        self.levels, self.step_size = one.levels, None if one.step is None else one.step.astype(dtype)
        remembers = one.spikes and bool((one.decay > 0).any())  # without memory there is nothing to reset
        self.reset, self.delayed = program.reset if remembers else "none", program.reset_delay > 0
        self.current, self.u, self.fired = (np.zeros((n, one.size), dtype) for _ in range(3))

    def step(self, arriving: Array) -> tuple[Array, Array]:
        self.current = self.current_decay * self.current + arriving
        kept = self.u
        if self.reset == "zero":  # the same a step later: what is kept of U is 0 either way
            kept = kept * (1 - self.fired)
        elif self.reset == "subtract" and not self.delayed:
            kept = np.where(self.fired > 0, kept - self.threshold, kept)
        u = self.decay * kept + self.current + self.bias
        if self.reset == "subtract" and self.delayed:
            u = np.where(self.fired > 0, u - self.threshold, u)
        self.u, self.fired = u, (u > self.threshold).astype(u.dtype)
        if self.step_size is None:
            return self.fired, u
        above = np.floor((u - self.threshold) / self.step_size)
        return np.where(self.fired > 0, np.clip(1 + above, 1, self.levels), 0).astype(u.dtype), u
