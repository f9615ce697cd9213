"""Synaptic operations and sparsity, by NeuroBench's definitions.

NeuroBench (Yik et al. 2025, Nature Communications 16, 1545; neurobench 2.3.0, docs/metrics/workload_metrics):
effective operations are presynaptic activations that are not zero times synapses that are not zero, summed over all
steps of a recording and averaged over recordings. They are accumulates (ACs) where the activation is binary, as every
spike is, else multiply-accumulates (MACs). Dense counts every synapse in every step, as hardware that does not know
sparsity works. Biases and neuron updates are not synaptic operations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from snn_fusion.data.recording import Sense
from snn_fusion.encoding.spikes import Spikes
from snn_fusion.network.spike_train import SpikeTrain

SOURCE = "torch network"
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Connection:
    """One weight matrix, (source neurons, target neurons): `fan_out` (source neurons,) counts its non-zero synapses."""

    source: str
    fan_out: Float64
    synapses: int


@dataclass
class Tally:
    """Spikes of every source (a layer, or `input:<sense>`) by neuron, summed over recordings and steps."""

    steps: int
    recordings: int = 0
    spikes: dict[str, Float64] = field(default_factory=dict)

    def add(self, n: int, inputs: Mapping[Sense, Spikes], layers: Mapping[str, SpikeTrain]) -> None:
        """Count n recordings: `inputs` n * T rows with delay taps, `layers` the spikes of each layer."""
        self.recordings += n
        for sense, spikes in inputs.items():
            self._count(f"input:{sense}", np.bincount(spikes.index, minlength=spikes.channels))
        for name, fired in layers.items():
            self._count(name, fired.per_neuron())

    def _count(self, source: str, spikes: npt.NDArray[Any]) -> None:
        self.spikes[source] = self.spikes.get(source, 0.0) + spikes.astype(np.float64)

    def effective(self, connection: Connection) -> float:
        """Effective operations of a connection, a recording. A source that never was active counts as silent."""
        fired = self.spikes.get(connection.source)
        return 0.0 if fired is None else float(fired @ connection.fan_out) / self.recordings


def connections(network: Any) -> dict[str, Connection]:
    """Every weight matrix of a FusionNetwork, by the name of its parameter."""
    weights = {name: w.detach().numpy() for name, w in network.named_parameters()}
    return {
        name: Connection(source, (weights[name] != 0).sum(axis=1).astype(np.float64), weights[name].size)
        for name, (source, _) in network.fan_out.items()
    }


def workload(tally: Tally, wires: Mapping[str, Connection], neurons: Mapping[str, int]) -> dict[str, Any]:
    """NeuroBench's workload metrics of one view, a recording; `neurons` is the size of each spiking layer."""
    by_connection = {
        name: {"effective_acs": tally.effective(wire), "dense": wire.synapses * tally.steps}
        for name, wire in wires.items()
    }
    fired = {name: float(tally.spikes[name].sum()) if name in tally.spikes else 0.0 for name in neurons}
    moments = tally.recordings * tally.steps
    return {
        "effective_acs": measured(sum(c["effective_acs"] for c in by_connection.values()), "operations/recording"),
        # Every activation is a spike, 0 or 1; nothing is multiplied.
        "effective_macs": measured(0.0, "operations/recording"),
        "dense": measured(sum(c["dense"] for c in by_connection.values()), "operations/recording"),
        "activation_sparsity": measured(1 - sum(fired.values()) / (moments * sum(neurons.values())), "1"),
        "firing_rate": {
            name: measured(fired[name] / (moments * neurons[name]), "spikes/neuron/step") for name in neurons
        },
        "connections": by_connection,
        "recordings": tally.recordings,
    }


def static(network: Any, wires: Mapping[str, Connection]) -> dict[str, Any]:
    """NeuroBench's static metrics: bytes of parameters and buffers, share of the synapses that are zero."""
    tensors = [*network.parameters(), *network.buffers()]
    synapses = sum(wire.synapses for wire in wires.values())
    used = sum(float(wire.fan_out.sum()) for wire in wires.values())
    return {
        "footprint": measured(sum(t.numel() * t.element_size() for t in tensors), "bytes"),
        "synapses": measured(synapses, "1"),
        "connection_sparsity": measured(1 - used / synapses, "1"),
    }


def measured(value: float, unit: str) -> dict[str, Any]:
    """A number that was counted on the trained network itself."""
    return {"value": value, "unit": unit, "provenance": "measured", "source": SOURCE}
