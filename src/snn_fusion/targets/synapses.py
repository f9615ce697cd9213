"""Spikes meet sparse synapses: the inner loop of the simulators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numba import njit

from snn_fusion.targets.contract import Array

DENSE_SHARE = 0.25  # of a connection's possible synapses, from which its rows are filled up


def filled(indptr: Array, indices: Array, weights: Array, targets: int) -> tuple[Array, Array, Array]:
    """The same sparse rows; those of a connection with most of its synapses filled up with 0, so that each row is one
    of all targets, in order, and nothing is looked up."""
    sources = len(indptr) - 1
    if len(weights) <= DENSE_SHARE * sources * targets:
        return indptr, indices, weights
    dense = np.zeros((sources, targets), weights.dtype)
    dense[np.repeat(np.arange(sources), np.diff(indptr)), indices] = weights
    return np.arange(0, dense.size + 1, targets, dtype=np.int64), np.zeros(0, indices.dtype), dense.ravel()


def leads_back(meta: Mapping[str, Any]) -> bool:
    """Whether a connection of an artefact comes from a later population or its own; else each can run through all
    steps before the next one does."""
    order = {name: i for i, name in enumerate(meta["order"])}
    return any(
        order.get(way["source"], -1) >= order[name] for name in order for way in meta["populations"][name]["incoming"]
    )


@njit(cache=True, nogil=True, error_model="numpy")
def arrive(sent: Array, begin: int, delay: int, indptr: Array, indices: Array, weights: Array, out: Array) -> None:
    """Add to `out` (n, span, target), of the steps from `begin` on, the rows of the weights (source, target) that
    `sent` (n, T, source) of `delay` steps before meets.

    What is sent counts with its value; silence costs nothing. Indices of a row ascend, so a full row needs none of
    them. The dtype of `out` is that of the sum.
    """
    neurons = out.shape[2]
    for b in range(out.shape[0]):
        for s in range(max(delay - begin, 0), out.shape[1]):
            now, sums = sent[b, begin + s - delay], out[b, s]
            for source in range(now.shape[0]):
                if now[source] != 0:
                    value = out.dtype.type(now[source])
                    start, end = indptr[source], indptr[source + 1]
                    row = weights[start:end]
                    if end - start < neurons:
                        for k in range(end - start):
                            sums[indices[start + k]] += value * row[k]
                    elif value == 1:
                        for k in range(neurons):
                            sums[k] += row[k]
                    else:
                        for k in range(neurons):
                            sums[k] += value * row[k]
