"""What a compiled network did: spikes, synaptic operations, and layers that have fallen silent or always fire."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snn_fusion.targets.contract import Array, Artefact, Measurement, Outputs, Violation

SATURATED = 0.9  # share of steps in which a layer's neurons spike


def unusual(artefact: Artefact, outputs: Outputs) -> list[Violation]:
    """Warnings of layers without a spike in any recording, and of layers that spike nearly always."""
    found = []
    for name, one in artefact.meta["populations"].items():
        if one["spikes"]:
            share = float((outputs.spikes[name] != 0).mean())
            if share == 0:
                found.append(Violation(name, "silent", "a spike in the examples", "none", True))
            elif share > SATURATED:
                limit = f"spikes in {SATURATED:.0%} of steps"
                found.append(Violation(name, "saturated", limit, f"{share:.0%}", True))
    return found


def activity(artefact: Artefact, inputs: Mapping[str, Array], outputs: Outputs, simulator: str) -> list[Measurement]:
    """Spikes, synaptic operations, neuron updates and sparsity, a recording, as `simulator` counted them.

    NeuroBench's definitions (see benchmark.operations): an operation is a presynaptic activation that is not zero at a
    synapse that is not zero; an accumulate where the activation is a spike, a multiply-accumulate where it is graded.
    """
    meta = artefact.meta
    n, steps = next(iter(inputs.values())).shape[:2]
    layers = [name for name, one in meta["populations"].items() if one["spikes"]]
    neurons = sum(one["size"] for one in meta["populations"].values())
    fired = sum(int((outputs.spikes[name] != 0).sum()) for name in layers)
    possible = n * steps * sum(meta["populations"][name]["size"] for name in layers)
    acs, macs = _operations(artefact, {**inputs, **outputs.spikes})
    values = (
        ("spikes", fired / n, "a recording"),
        ("effective ACs", acs / n, "a recording"),
        ("effective MACs", macs / n, "a recording"),
        ("neuron updates", neurons * steps, "a recording"),
        ("activation sparsity", 1 - fired / possible if possible else 1.0, "1"),
    )
    return [Measurement(metric, value, unit, "emulated", simulator) for metric, value, unit in values]


def _operations(artefact: Artefact, sent: Mapping[str, Array]) -> tuple[float, float]:
    """Accumulates and multiply-accumulates of all recordings. A source that is not in `sent` is a bias: always on."""
    acs = macs = 0.0
    n, steps = next(iter(sent.values())).shape[:2]
    for name, one in artefact.meta["populations"].items():
        for i, way in enumerate(one["incoming"]):
            indptr, weights = (artefact.arrays[f"{name}.{i}.{part}"] for part in ("indptr", "weights"))
            counted = np.concatenate([[0], np.cumsum(weights != 0)])
            fan_out = counted[indptr[1:]] - counted[indptr[:-1]]
            kept = max(steps - way["delay"], 0)  # what comes later is not in the recording
            values = sent.get(way["source"], np.ones((n, steps, 1), np.int8))[:, :kept]
            operations = float((values != 0).sum(axis=(0, 1)) @ fan_out)
            if values.max(initial=0) > 1 or values.min(initial=0) < 0:
                macs += operations
            else:
                acs += operations
    return acs, macs
