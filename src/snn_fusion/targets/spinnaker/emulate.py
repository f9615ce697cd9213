"""SpiNNaker's fixed-point arithmetic of an `IF_curr_delta` core, many recordings at once, to the bit.

    slot = min(sum of the words of a synapse type that arrive in a step, 65535)
    I = (excitatory slot << shift) - (inhibitory slot << shift)
    alpha = (I R >> 15) + V_rest
    V' = alpha - (exp_TC (alpha - V) >> 15)
    a spike where V' >= V_thresh, and then V' = V_reset

All in 32 bits that wrap around; >> rounds down. R = 1 and V_rest = V_reset = 0 here. Operations and their order are
those of `IF_curr_delta.aplx` of spynnaker 7.4.1: the code of its neuron update, executed in an ARM emulator on 200,000
random states, overflowing ones among them, gave the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from snn_fusion.targets.contract import Artefact, Outputs
from snn_fusion.targets.spinnaker.inputs import BIAS, spikes_of
from snn_fusion.targets.synapses import filled, leads_back

CHUNK = 32  # recordings at a time
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
UInt8 = npt.NDArray[np.uint8]
UInt16 = npt.NDArray[np.uint16]
UInt32 = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class Run:
    """Outputs, and by population how many slots of the ring buffer were full, of how many."""

    outputs: Outputs
    full: Mapping[str, int]
    slots: Mapping[str, int]


def emulate(artefact: Artefact, inputs: Mapping[str, npt.NDArray[Any]]) -> Run:
    """Run on spikes (n, T, channels) of 0 and 1 for each input, from rest. Raises BadInput."""
    meta = artefact.meta
    sent = dict(spikes_of(inputs, meta["inputs"]))
    n, steps = next(iter(sent.values())).shape[:2]
    sent[BIAS] = np.ones((n, steps, 1), np.uint8)
    potential: dict[str, Int32] = {}
    for name in meta["order"]:
        shape = (n, steps, meta["populations"][name]["size"])
        sent[name], potential[name] = np.zeros(shape, np.uint8), np.zeros(shape, np.int32)
    words = {name: _words(artefact, name) for name in meta["order"]}
    full = dict.fromkeys(meta["order"], 0)
    # Where no connection leads back, a population runs through all steps before the next one does.
    span = 1 if leads_back(meta) else max(steps, 1)
    for begin in range(0, n, CHUNK):
        rows = slice(begin, min(begin + CHUNK, n))
        size = rows.stop - begin
        state = {name: np.zeros((size, meta["populations"][name]["size"]), np.int64) for name in words}
        for t in range(0, steps, span):
            for name in meta["order"]:
                one = meta["populations"][name]
                sums = np.zeros((size, span, 2, one["size"]), np.uint32)
                for way, synapses in zip(one["incoming"], words[name], strict=True):
                    _arrive(sent[way["source"]][rows], t, way["delay"], *synapses, sums)
                neuron = (artefact.arrays[f"{name}.decay"], artefact.arrays[f"{name}.threshold"])
                left = (state[name], sent[name][rows], potential[name][rows])
                full[name] += _step(sums, *one["shifts"], *neuron, *left, t)
    spikes = {name: sent[name].astype(np.int32) for name in meta["order"]}
    return Run(Outputs(spikes, potential), full, {name: 2 * potential[name].size for name in meta["order"]})


def _words(artefact: Artefact, name: str) -> list[tuple[Int32, Int32, UInt16, UInt16]]:
    """Each connection's rows, excitatory and inhibitory words apart."""
    found = []
    size = artefact.meta["populations"][name]["size"]
    for i in range(len(artefact.meta["populations"][name]["incoming"])):
        indptr, indices, words = (artefact.arrays[f"{name}.{i}.{part}"] for part in ("indptr", "indices", "weights"))
        indptr, indices, words = filled(indptr, indices, words, size)
        found.append((indptr, indices, np.maximum(words, 0).astype(np.uint16), np.maximum(-words, 0).astype(np.uint16)))
    return found


@njit(cache=True, nogil=True)
def _arrive(
    spikes: UInt8,  # (n, T, sources)
    begin: int,
    delay: int,
    indptr: Int32,
    indices: Int32,
    excitatory: UInt16,
    inhibitory: UInt16,
    sums: UInt32,  # (n, span, 2, N), of the steps from `begin` on
) -> None:
    """Add the rows of words that the spikes of `delay` steps before meet."""
    size = sums.shape[3]
    for b in range(sums.shape[0]):
        for t in range(max(delay - begin, 0), sums.shape[1]):
            row, plus, minus = spikes[b, begin + t - delay], sums[b, t, 0], sums[b, t, 1]
            for source in range(row.shape[0]):
                if row[source] == 0:
                    continue
                met = slice(indptr[source], indptr[source + 1])
                more, less, targets = excitatory[met], inhibitory[met], indices[met]
                if len(more) == size:  # to all, in order
                    for i in range(size):
                        plus[i] += more[i]
                        minus[i] += less[i]
                else:
                    for k in range(len(more)):
                        plus[targets[k]] += more[k]
                        minus[targets[k]] += less[k]


@njit(cache=True, nogil=True)
def _step(
    sums: UInt32,  # (n, span, 2, N)
    excitatory: int,
    inhibitory: int,
    decay: Int32,
    threshold: Int32,
    state: Int64,  # (n, N): V
    fired: UInt8,  # (n, T, N)
    potential: Int32,  # (n, T, N): V before the reset
    begin: int,
) -> int:
    """Returns how many slots of the ring buffer were full."""
    full, most = 0, np.int64(0xFFFF)
    for b in range(sums.shape[0]):
        for t in range(sums.shape[1]):
            for i in range(sums.shape[3]):
                plus, minus = np.int64(sums[b, t, 0, i]), np.int64(sums[b, t, 1, i])
                full += int(plus > 0xFFFF) + int(minus > 0xFFFF)
                plus, minus = min(plus, most) << excitatory, min(minus, most) << inhibitory
                alpha = np.int64(np.int32(plus - minus))
                apart = np.int64(np.int32(alpha - state[b, i]))
                kept = np.int64(np.int32((decay[i] * apart) >> 15))
                v = np.int64(np.int32(alpha - kept))
                potential[b, begin + t, i] = v
                if v >= threshold[i]:
                    fired[b, begin + t, i] = 1
                    v = np.int64(0)
                state[b, i] = v
    return full
