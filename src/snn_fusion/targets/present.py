"""Encoded recordings as the inputs that a compiled network takes: spikes in steps, or their counts in windows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from snn_fusion.data.recording import Sense
from snn_fusion.encoding.encoder import with_taps
from snn_fusion.encoding.spikes import Spikes
from snn_fusion.network.graph import Graph
from snn_fusion.targets.akida.present import Presentation, counts
from snn_fusion.targets.contract import Array
from snn_fusion.targets.examples import spike_inputs
from snn_fusion.training.batches import MISSING, Samples, TrainingData

SPIKES: dict[str, Any] = {"kind": "spikes"}  # with delay taps, a step of the recording is a step of the network


def windows(how: Presentation) -> dict[str, Any]:
    """Base spikes counted in windows, as it stands in a program's meta."""
    return {"kind": "windows", **how.as_meta()}


def present(how: Mapping[str, Any], base: Mapping[Sense, Spikes], n: int, graph: Graph) -> dict[str, Array]:
    """Base spikes of n recordings (n * steps rows a sense) as inputs (n, T, C); a sense left out is silent."""
    if how["kind"] == "windows":
        return dict(counts(base, n, Presentation(**{k: v for k, v in how.items() if k != "kind"})))
    channels = {f"input_{s}": len(graph.network.input[s]) for s in graph.network.senses}
    return spike_inputs({s: with_taps(one, graph.encoding) for s, one in base.items()}, n, channels)


def present_samples(how: Mapping[str, Any], data: TrainingData, samples: Samples, graph: Graph) -> dict[str, Array]:
    """The same for samples of the training data."""
    there = [s for s in data.senses if (samples.recording[s] != MISSING).any()]
    base = {s: data.stores[s].take(samples.recording[s]) for s in there}
    return present(how, base, len(samples), graph)
