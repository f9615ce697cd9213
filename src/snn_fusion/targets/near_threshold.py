"""Where a neuron of the reference comes close to its threshold, does the chip decide as the reference does?

Only there does a small error of a state change a spike. In most recordings such moments are too few to show in the
share of spikes that differ, so they are looked for and counted by themselves.

A chip holds a network's numbers with a resolution that it states. The reference with the nearest of these numbers shows
how far rounding alone moves a potential: closer to the threshold than that, a decision says nothing about the chip.
Everywhere else a chip that works as stated decides as the reference does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snn_fusion.targets.contract import Array
from snn_fusion.targets.populations import Population, Reset

BAND = 1 / 256  # of the threshold: decisions up to here, beyond what rounding moves, are close ones
COARSEST = 1 / 64  # of the threshold: what rounding moves beyond it counts as an error, even if the chip states it
ENOUGH = 200  # decisions of a layer; of fewer, a single wrong one would say more than it can


@dataclass
class Decisions:
    """Of one layer: moments in which the reference is close to its threshold, below or above, and wrong decisions."""

    close: int = 0
    wrong: int = 0

    def share(self) -> float | None:
        """Of wrong decisions; None where no neuron came close."""
        return round(self.wrong / max(self.close, ENOUGH), 6) if self.close else None

    def add(self, one: Population, reset: Reset, found: Array, wanted: Array, u: Array, rounded: Array) -> Array:
        """Count a layer that was given the reference's spikes.

        `found` and `wanted` are the chip's and the reference's spikes, `u` the reference's potential, and `rounded` how
        far the chip's stated resolution moves it, all (n, T, N). Returns where the spikes decide something: where the
        neuron's state was that of the reference until then, and rounding alone does not explain what it did.
        """
        differs = (found != 0) != (wanted != 0)
        distance = np.abs(u / one.threshold - 1)
        unclear = np.minimum(rounded / np.abs(one.threshold), COARSEST)
        counts = in_step(one, reset, differs, wanted != 0) & ((distance > unclear) | (one.levels > 1))
        wrong = counts & differs
        self.close += int((counts & ((distance <= unclear + BAND) | differs)).sum())
        self.wrong += int(wrong.sum())
        return np.asarray(counts)


def in_step(one: Population, reset: Reset, differs: Array, fired: Array) -> Array:
    """(n, T, N): whether a neuron's state is that of the reference, but for rounding, when a step begins.

    It is not after a spike that only one of the two sent, until both are reset to zero in the same step.
    """
    if not (one.decay > 0).any():
        return np.ones(differs.shape, bool)
    same, found = np.ones((len(differs), differs.shape[2]), bool), np.empty(differs.shape, bool)
    for t in range(differs.shape[1]):
        found[:, t] = same
        again = fired[:, t] & ~differs[:, t] if reset == "zero" else False
        same = (same & ~differs[:, t]) | again
    return found
