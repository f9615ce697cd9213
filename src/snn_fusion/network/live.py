"""The fusion network a step at a time: its state is kept by whoever feeds it, so that a recording may come in chunks.

The same sums in the same order as `FusionNetwork`: potentials do not depend on how a recording was cut, on what ran
beside it, or on the number of threads. No torch, no gradients.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from snn_fusion.data.recording import Sense
from snn_fusion.encoding.encoder import channels
from snn_fusion.encoding.spikes import Int32, Spikes
from snn_fusion.network.fusion import JOINT, READOUT
from snn_fusion.network.graph import Graph

Float32 = npt.NDArray[np.float32]
Bits = npt.NDArray[np.uint8]


@dataclass
class State:
    """Where a recording stands after `step` steps: potentials (N,) and last spikes (N,) of each layer, and its input
    spikes until now, which delay taps still reach back to."""

    potential: dict[str, Float32]
    fired: dict[str, Bits]
    seen: dict[Sense, Spikes]
    step: int = 0
    spikes: dict[str, int] = field(default_factory=dict)  # of each layer until now


@dataclass(frozen=True)
class _Layer:
    size: int
    beta: float
    back: Float32  # (N, N), or (0, N)


class Live:
    """A trained network, ready to be fed. Nothing in it changes: any number of threads may use it at once."""

    def __init__(self, graph: Graph) -> None:
        network = graph.network
        arrays = {k: np.ascontiguousarray(v.detach().numpy(), np.float32) for k, v in network.state_dict().items()}
        self.encoding, self.threshold = graph.encoding, np.float32(network.params.threshold)
        self.senses, self.classes = network.senses, len(graph.classes)
        self.into = {s: arrays[f"input.{s}"] for s in self.senses}  # (taps * channels, N)
        self.joined = {s: arrays[f"joint.{s}"] for s in self.senses}
        self.readout, self._taps = arrays["readout"], np.asarray(graph.encoding.taps, np.int64)
        sizes: dict[str, int] = {**{s: w.shape[1] for s, w in self.into.items()}, JOINT: len(self.readout)}
        beta = {name: float(arrays[f"beta.{name}"].clip(0, 1).item()) for name in (*sizes, READOUT)}
        self._readout_beta = np.float32(beta[READOUT])
        self.layers = {
            name: _Layer(size, beta[name], arrays.get(f"recurrent.{name}", np.zeros((0, size), np.float32)))
            for name, size in sizes.items()
        }

    def rest(self) -> State:
        """A recording of which nothing was seen."""
        sizes = {name: layer.size for name, layer in self.layers.items()}
        potential = {name: np.zeros(size, np.float32) for name, size in (*sizes.items(), (READOUT, self.classes))}
        fired = {name: np.zeros(size, np.uint8) for name, size in sizes.items()}
        seen = {s: Spikes.empty(0, channels(self.encoding, s)) for s in self.senses}
        return State(potential, fired, seen, spikes=dict.fromkeys(sizes, 0))

    def advance(self, state: State, rows: Mapping[Sense, Spikes], steps: int) -> Float32:
        """Feed the next `steps` steps of each sense (base spikes; one left out is silent) and update the state.

        Returns the readout's potential after each, (steps, classes).
        """
        joint = np.zeros((steps, self.layers[JOINT].size), np.float32)
        for sense in self.senses:
            seen = state.seen[sense]
            given = rows.get(sense, Spikes.empty(steps, seen.channels))
            if not len(seen.index) and not len(given.index) and not state.spikes[sense]:
                continue  # silence in, silence out
            before = seen if seen.rows == state.step else Spikes.empty(state.step, seen.channels)
            state.seen[sense] = seen = Spikes.concatenate([before, given])
            current = np.zeros((steps, self.layers[sense].size), np.float32)
            _arrive(seen.indptr, seen.index, state.step, self._taps, seen.channels, self.into[sense], current)
            _add(self._fire(sense, current, state), self.joined[sense], joint)
        fired = self._fire(JOINT, joint, state)
        potential = np.zeros((steps, self.classes), np.float32)
        _add(fired, self.readout, potential)
        _leak(potential, self._readout_beta, state.potential[READOUT])
        state.step += steps
        return potential

    def _fire(self, name: str, current: Float32, state: State) -> Bits:
        """(steps, N) of spikes."""
        layer, fired = self.layers[name], np.zeros(current.shape, np.uint8)
        before = state.potential[name], state.fired[name]
        state.spikes[name] += _scan(current, np.float32(layer.beta), self.threshold, layer.back, *before, fired)
        return fired


@njit(cache=True, nogil=True, error_model="numpy")
def _arrive(indptr: Int32, index: Int32, begin: int, taps: Any, channels: int, weights: Any, current: Any) -> None:
    """Add the rows of weights that steps from `begin` on reach through the taps into `current` (steps, N)."""
    for t in range(current.shape[0]):
        for k in range(len(taps)):
            row = begin + t - taps[k]
            if row >= 0:
                for i in range(indptr[row], indptr[row + 1]):
                    source = index[i] + k * channels
                    for j in range(current.shape[1]):
                        current[t, j] += weights[source, j]


# What follows keeps the interpreter's lock: to have it back takes longer, while other threads compute.
@njit(cache=True, error_model="numpy")
def _add(fired: Bits, weights: Any, current: Any) -> None:
    """Add the rows of weights of the neurons that fired into `current` (steps, M)."""
    for t in range(fired.shape[0]):
        for i in range(fired.shape[1]):
            if fired[t, i]:
                for j in range(current.shape[1]):
                    current[t, j] += weights[i, j]


@njit(cache=True, error_model="numpy")
def _scan(current: Any, beta: Any, threshold: Any, back: Any, potential: Any, last: Bits, fired: Bits) -> int:
    """LIF with reset to zero over the steps; `potential` and `last` (N,) are carried on. Returns the spikes."""
    count = 0
    for t in range(current.shape[0]):
        for i in range(len(back)):
            if last[i]:
                for j in range(current.shape[1]):
                    current[t, j] += back[i, j]
        for j in range(current.shape[1]):
            kept = np.float32(0) if last[j] else potential[j]
            potential[j] = beta * kept + current[t, j]
        for j in range(current.shape[1]):
            last[j] = potential[j] > threshold
            fired[t, j] = last[j]
            count += last[j]
    return count


@njit(cache=True, error_model="numpy")
def _leak(current: Any, beta: Any, potential: Any) -> None:
    """Leaky integration of `current` (steps, classes) in place; `potential` (classes,) is carried on."""
    for t in range(current.shape[0]):
        for j in range(current.shape[1]):
            potential[j] = beta * potential[j] + current[t, j]
            current[t, j] = potential[j]
