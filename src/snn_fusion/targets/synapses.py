"""Spikes meet sparse synapses: the one inner loop of every simulator here."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
from numba import njit

Array = npt.NDArray[Any]


@njit(cache=True, nogil=True)
def arrive(sent: Array, t: int, indptr: Array, indices: Array, weights: Array, out: Array) -> None:
    """Add to `out` (n, target) the rows of the weights (source, target) that `sent` (n, T, source) meets in step t.

    What is sent counts with its value; silence costs nothing. The dtype of `out` is that of the sum.
    """
    for b in range(sent.shape[0]):
        for source in range(sent.shape[2]):
            value = out.dtype.type(sent[b, t, source])
            if value == 1:
                for k in range(indptr[source], indptr[source + 1]):
                    out[b, indices[k]] += weights[k]
            elif value != 0:
                for k in range(indptr[source], indptr[source + 1]):
                    out[b, indices[k]] += value * weights[k]
