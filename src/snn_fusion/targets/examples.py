"""Encoded recordings as a chip's inputs, and those by which its scales are chosen."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snn_fusion.data.recording import Sense
from snn_fusion.encoding.spikes import Spikes
from snn_fusion.targets.contract import Array
from snn_fusion.training.batches import Samples, TrainingData

EXAMPLES = 96


def spike_inputs(spikes: Mapping[Sense, Spikes], n: int, channels: Mapping[str, int]) -> dict[str, Array]:
    """Spikes of n recordings (n * T rows) as `input_SENSE` (n, T, channels) of 0 and 1; a sense left out is silent."""
    steps = next(iter(spikes.values())).rows // n
    found = {name: np.zeros((n, steps, size), np.int8) for name, size in channels.items()}
    for sense, one in spikes.items():
        values = found[f"input_{sense}"].reshape(n * steps, -1)
        values[np.repeat(np.arange(one.rows), np.diff(one.indptr)), one.index] = 1
    return found


def example_samples(data: TrainingData, seed: int) -> Samples:
    """Training recordings, as they are and varied, drawn by `seed`; what bounds and scales are taken from."""
    rng = np.random.default_rng([seed, 4])
    chosen = data.fit.part(np.sort(rng.permutation(len(data.fit))[:EXAMPLES]))
    return data.vary(chosen, rng, lowest=0)
