"""Synaptic operations by hand, and against NeuroBench's own recipe: the forward pass of everything made binary."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from snn_fusion.benchmark.operations import Connection, Tally, connections, static, workload
from snn_fusion.data.recording import Sense
from snn_fusion.encoding.spikes import Spikes
from snn_fusion.network.graph import Graph
from snn_fusion.network.spike_train import SpikeTrain


def train(spikes: np.ndarray) -> SpikeTrain:
    return SpikeTrain.from_dense(torch.from_numpy(spikes.astype(np.float32)))


def test_neurobenchs_example_gives_4_effective_and_9_dense_operations() -> None:
    # docs/metrics/workload_metrics/synaptic_operations.rst of neurobench 2.3.0, with its activations as spikes
    weights = np.array([[1.3, 0, -3.2], [0, 1.2, -5.1], [-1.1, 2.7, 0]]).T  # ours are (source, target)
    wire = Connection("input:audio", (weights != 0).sum(1).astype(float), weights.size)
    tally = Tally(steps=1)
    tally.add(1, {"audio": Spikes.from_dense(np.array([[False, True, True]]))}, {"layer": train(np.zeros((1, 1, 3)))})
    found = workload(tally, {"wire": wire}, {"layer": 3})
    assert (found["effective_acs"]["value"], found["dense"]["value"]) == (4, 9)
    assert found["effective_macs"]["value"] == 0


def test_counts_by_hand_for_two_recordings() -> None:
    wires = {
        "in": Connection("input:audio", np.array([2.0, 1.0]), 4),  # one of its four synapses is zero
        "out": Connection("layer", np.array([3.0, 3.0]), 6),
        "unused": Connection("input:imu", np.array([5.0]), 5),  # a silent sense
    }
    spikes = Spikes.from_dense(np.array([[1, 0], [1, 1], [0, 0], [0, 1]], bool))  # 2 recordings of 2 steps
    fired = np.array([[[0, 0], [1, 1]], [[0, 0], [0, 1]]], np.float32)
    tally = Tally(steps=2)
    tally.add(1, {"audio": Spikes(spikes.indptr[:3], spikes.index[:3], 2)}, {"layer": train(fired[:1])})
    tally.add(1, {"audio": Spikes(spikes.indptr[2:] - 3, spikes.index[3:], 2)}, {"layer": train(fired[1:])})
    found = workload(tally, wires, {"layer": 2, "silent": 4})
    assert found["connections"]["in"] == {"effective_acs": (2 + 2 + 1 + 1) / 2, "dense": 8}
    assert found["connections"]["out"] == {"effective_acs": 3 * 3 / 2, "dense": 12}
    assert found["connections"]["unused"] == {"effective_acs": 0, "dense": 10}
    assert (found["effective_acs"]["value"], found["dense"]["value"]) == (7.5, 30)
    assert found["firing_rate"]["layer"]["value"] == 3 / (2 * 2 * 2)
    assert found["firing_rate"]["silent"]["value"] == 0
    assert found["activation_sparsity"]["value"] == 1 - 3 / (2 * 2 * 6)


def test_effective_operations_are_those_of_the_binary_forward_pass(graph: Graph) -> None:
    network, steps, n = graph.network, graph.encoding.steps, 3
    with torch.no_grad():
        network.joint["audio"][::2] = 0  # pruned synapses do not count
    rng = np.random.default_rng(0)
    inputs: dict[Sense, Spikes] = {
        "audio": Spikes.from_dense(rng.random((n * steps, len(network.input["audio"]))) < 0.1),
        "imu": Spikes.from_dense(rng.random((n * steps, len(network.input["imu"]))) < 0.1),
    }
    with torch.no_grad():
        _, layers = network(inputs, n)
    tally = Tally(steps)
    tally.add(n, inputs, layers)
    fired = {name: one.as_events().dense() for name, one in layers.items()}
    sources = {**{f"input:{s}": one.dense() for s, one in inputs.items()}, **fired}
    for name, wire in connections(network).items():
        binary = (network.get_parameter(name).detach().numpy() != 0).astype(float)
        active = sources.get(wire.source, np.zeros(len(binary))) != 0
        assert tally.effective(wire) == pytest.approx((active @ binary).sum() / n)
        assert wire.synapses == binary.size


def test_static_metrics_count_bytes_and_zero_weights(graph: Graph) -> None:
    with torch.no_grad():
        graph.network.readout[:] = 0
    found = static(graph.network, connections(graph.network))
    parameters = sum(p.numel() for p in graph.network.parameters())
    betas = len(graph.network.beta)
    assert found["footprint"]["value"] == 4 * parameters
    assert found["synapses"]["value"] == parameters - betas
    assert found["connection_sparsity"]["value"] == pytest.approx(9 * 10 / (parameters - betas))


def test_every_number_says_how_it_was_obtained(graph: Graph) -> None:
    found = static(graph.network, connections(graph.network))
    assert all(one["provenance"] == "measured" and one["source"] == "torch network" for one in found.values())
