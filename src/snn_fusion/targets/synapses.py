"""Spikes meet sparse synapses: the one inner loop of every simulator here."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
from numba import njit

Array = npt.NDArray[Any]


@njit(cache=True, nogil=True, error_model="numpy")
def arrive(sent: Array, t: int, indptr: Array, indices: Array, weights: Array, out: Array) -> None:
    """Add to `out` (n, target) the rows of the weights (source, target) that `sent` (n, T, source) meets in step t.

    What is sent counts with its value; silence costs nothing. Indices of a row ascend, so a full row needs none of
    them. The dtype of `out` is that of the sum.
    """
    neurons = out.shape[1]
    for b in range(sent.shape[0]):
        sums = out[b]
        for source in range(sent.shape[2]):
            if sent[b, t, source] != 0:
                value = out.dtype.type(sent[b, t, source])
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
