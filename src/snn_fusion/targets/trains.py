"""Recordings that show what short random ones do not: long and sparse trains.

An error of a chip that is small in each step, or that comes in silence, adds up over the memory of a neuron.
"""

from __future__ import annotations

import numpy as np

from snn_fusion.targets.contract import Array
from snn_fusion.targets.populations import Program

PERIODS = (4, 6, 10, 20, 50, 100, 200, 500)  # mean steps between the spikes of a channel
VOLLEY = 0.2  # share of channels that spike together: the densest step that short recordings have
STEPS, FEWEST = 1000, 50  # of a train; fewer where the network is large
WORK = 5_000_000  # neurons times steps of all trains, if the network is not too large for one of each kind
MOST_ALIKE = 12  # trains of a kind and period


def trains(program: Program) -> dict[str, Array]:
    """Long recordings of 0 and 1, (recordings, steps, channels) an input; always the same.

    For each period: independent channels; channels that each spike regularly; and a group of channels that spike
    together, in half of the steps that are a period apart.
    """
    neurons = max(1, sum(one.size for one in program))
    steps = min(STEPS, max(FEWEST, WORK // (3 * len(PERIODS) * neurons)))
    alike = min(MOST_ALIKE, max(1, WORK // (3 * len(PERIODS) * steps * neurons)))
    rng, found = np.random.default_rng(1), {}
    for name, size in program.inputs.items():
        each = [_trains(rng, period, steps, size) for period in PERIODS for _ in range(alike)]
        found[name] = np.concatenate(each).astype(np.uint8)
    return found


def _trains(rng: np.random.Generator, period: int, steps: int, size: int) -> Array:
    """(3, steps, size), one of each kind."""
    time = np.arange(steps)[:, None]
    independent = rng.random((steps, size), np.float32) < 1 / period
    own = rng.integers(period // 2, 2 * period, size)
    regular = time % own == rng.integers(0, own)
    group = rng.random(size) < VOLLEY
    group[rng.integers(size)] = True
    apart = int(rng.integers(period // 2, period + 1))  # half of them are left out
    volleys = (time % apart == rng.integers(apart)) & (rng.random((steps, 1)) < 0.5) & group
    return np.stack([independent, regular, volleys])
