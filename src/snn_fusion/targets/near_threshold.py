"""Where a neuron of the reference comes close to its threshold, does the chip decide as the reference does?

Only there does a small error of a state change a spike. In most recordings such moments are too few to show in the
share of spikes that differ, so they are looked for and counted by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from snn_fusion.targets.contract import Array, Outputs
from snn_fusion.targets.populations import Population, Program
from snn_fusion.targets.reference import Traces

NEAREST, FARTHEST = 1 / 1024, 1 / 256  # of the threshold, below or above: nearer ones are up to rounding
ENOUGH = 200  # decisions of a layer; of fewer, a single wrong one would say more than it can


@dataclass
class Decisions:
    """Of one layer: moments in which the reference is close to its threshold, below or above."""

    close: int = 0
    wrong: int = 0

    def share(self) -> float | None:
        """Of wrong decisions; None where no neuron came close."""
        return round(self.wrong / max(self.close, ENOUGH), 6) if self.close else None


def decide(program: Program, found: Outputs, wanted: Traces, sums: Mapping[str, Decisions]) -> None:
    """Add to `sums` the decisions of each spiking layer.

    Only those count of neurons that have spiked, and whose input has been, as in the reference until then: what follows
    from an earlier difference says nothing about this one.
    """
    differs = {one.name: (found.spikes[one.name] != 0) != (wanted.spikes[one.name] != 0) for one in program}
    for one in program:
        if not one.spikes:
            continue
        distance = np.abs(wanted.potential[one.name] / one.threshold - 1)
        near = (distance >= NEAREST) & (distance <= FARTHEST)
        if not near.any():
            continue
        near &= _in_step(one, differs)
        sums[one.name].close += int(near.sum())
        sums[one.name].wrong += int((near & differs[one.name]).sum())


def _in_step(one: Population, differs: dict[str, Array]) -> Array:
    """(n, T, N): whether all that a neuron's state depends on has been the same, up to its own spike in that step."""
    own: Array = _earlier(differs[one.name], 1)
    for connection in one.incoming:
        if connection.source in differs:
            heard: Array = np.any(differs[connection.source], axis=2, keepdims=True)
            own = np.logical_or(own, _earlier(heard, connection.delay))
    same: Array = ~own
    return same


def _earlier(differs: Array, delay: int) -> Array:
    """Whether anything differed `delay` or more steps before each step."""
    ever = np.logical_or.accumulate(differs, axis=1)
    if delay == 0:
        return ever
    late = np.zeros_like(ever)
    late[:, delay:] = ever[:, :-delay]
    return late
