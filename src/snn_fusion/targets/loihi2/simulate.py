"""Loihi 2's fixed-point arithmetic, many recordings at once, to the bit.

The equations are those of lava-nc's `PyLifModelBitAcc` and `PyDenseModelBitAcc`; `conform` holds this to them:

    a = the sums of each connection's groups of synapses, each times its power of two, rounded down
    u = sgn(u) * (|u| * (4096 - (du + 1)) >> 12) + (a << 6), wrapped once beyond +-2^23
    v = clip(sgn(v) * (|v| * (4096 - dv) >> 12) + u + (bias_mant << bias_exp), +-(2^23 - 1))
    a spike where v > vth << 6, and then v = 0; u stays
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from snn_fusion.errors import BadInput
from snn_fusion.targets.contract import Array, Artefact, Outputs
from snn_fusion.targets.inputs import named_inputs
from snn_fusion.targets.loihi2 import limits
from snn_fusion.targets.synapses import arrive, filled, leads_back

Int32 = npt.NDArray[np.int32]


def simulate(artefact: Artefact, inputs: Mapping[str, npt.NDArray[Any]]) -> Outputs:
    """Run on (n, T, channels) of whole numbers for each input, from rest. Raises BadInput."""
    meta = artefact.meta
    sent = {name: _whole(name, values) for name, values in named_inputs(inputs, meta["inputs"]).items()}
    n, steps = next(iter(sent.values())).shape[:2]
    potential: dict[str, Int32] = {}
    state = {}
    for name in meta["order"]:
        shape = (n, steps, meta["populations"][name]["size"])
        sent[name], potential[name] = np.zeros(shape, np.int8), np.zeros(shape, np.int32)
        state[name] = np.zeros((2, n, shape[2]), np.int64)
    synapses = {(name, i): _narrow(artefact, name, i) for name in meta["order"] for i in range(_ways(meta, name))}
    # Sums of spikes fit into 32 bits, those of graded inputs may not.
    wide = {
        name: np.int32 if name not in inputs or np.abs(sent[name]).max(initial=0) <= 1 else np.int64 for name in sent
    }
    span = 1 if leads_back(meta) else max(steps, 1)
    for t in range(0, steps, span):
        for name in meta["order"]:
            one = meta["populations"][name]
            arriving = np.zeros((n, span, one["size"]), np.int64)
            for i, way in enumerate(one["incoming"]):
                total = np.zeros(arriving.shape, wide[way["source"]])
                arrive(sent[way["source"]], t, way["delay"], *synapses[name, i], total)
                _add(total, way["exponent"], arriving)
            bias = (artefact.arrays[f"{name}.bias_mant"], artefact.arrays[f"{name}.bias_exp"])
            neuron = (one["du"], one["dv"], one["vth"], one["memory"])
            _step(arriving, state[name], *bias, *neuron, sent[name], potential[name], t)
    for name in meta["order"]:
        if not meta["populations"][name]["spikes"] and sent[name].any():
            bad = int(sent[name].any(axis=(1, 2)).sum())
            problem = f"its potential reached the chip's limit in {bad} of {n} recordings and was reset"
            raise BadInput(
                f"loihi2: {name}",
                problem,
                "compile with --examples that reach as high as these recordings: the scale is taken from them",
            )
    return Outputs({name: sent[name].astype(np.int32) for name in meta["order"]}, potential)


def _ways(meta: Mapping[str, Any], name: str) -> int:
    return len(meta["populations"][name]["incoming"])


def _narrow(artefact: Artefact, name: str, i: int) -> tuple[Array, Array, Array]:
    """indptr, indices and weights of a group of synapses; 16 bits, since memory is what takes time."""
    indptr, indices, weights = (artefact.arrays[f"{name}.{i}.{part}"] for part in ("indptr", "indices", "weights"))
    return filled(indptr, indices, weights.astype(np.int16), artefact.meta["populations"][name]["size"])


def _whole(name: str, values: npt.NDArray[Any]) -> Array:
    """Spikes in 8 bits: most of what is looked through is silence."""
    largest = max(float(values.max(initial=0)), -float(values.min(initial=0)))
    if largest >= limits.STATE_HIGH:
        raise BadInput(f"input {name}", f"holds {values.min():g} ... {values.max():g}", "a graded spike has 24 bits")
    whole: Array = values.astype(np.int8 if largest <= 1 else np.int32)
    if (whole != values).any():
        raise BadInput(f"input {name}", "holds fractions", "Loihi 2 takes spikes, or graded spikes of whole numbers")
    return whole


@njit(cache=True, nogil=True)
def _add(total: Array, exponent: int, arriving: npt.NDArray[np.int64]) -> None:
    """A group's sums times 2^exponent, rounded down."""
    flat, out = total.ravel(), arriving.ravel()
    for i in range(len(flat)):
        value = np.int64(flat[i])
        out[i] += value << exponent if exponent > 0 else value >> -exponent


@njit(cache=True, nogil=True)
def _step(
    arriving: npt.NDArray[np.int64],  # (n, span, N)
    state: npt.NDArray[np.int64],  # (2, n, N): u and v
    bias_mant: Int32,
    bias_exp: Int32,
    du: int,
    dv: int,
    vth: int,
    memory: bool,
    fired: Array,  # (n, T, N)
    potential: Int32,  # (n, T, N): v before the reset, or u where there is no memory
    begin: int,
) -> None:
    high = limits.STATE_HIGH
    for b in range(arriving.shape[0]):
        for t in range(arriving.shape[1]):
            for i in range(arriving.shape[2]):
                u, v = state[0, b, i], state[1, b, i]
                kept = (abs(u) * (limits.UNITY - (du + 1))) >> 12
                current = (kept if u >= 0 else -kept) + (arriving[b, t, i] << limits.ALIGNMENT)
                wrapped = current - 2 * high if current > high else current
                u = current + 2 * high if wrapped <= -high else wrapped
                kept = (abs(v) * (limits.UNITY - dv)) >> 12
                v = (kept if v >= 0 else -kept) + u + (np.int64(bias_mant[i]) << bias_exp[i])
                v = min(max(v, -high + 1), high - 1)
                potential[b, begin + t, i] = v if memory else u
                if v > vth << limits.ALIGNMENT:
                    v = 0  # of a readout too, if its potential ever reaches the highest threshold
                    fired[b, begin + t, i] = 1
                state[0, b, i], state[1, b, i] = u, v
