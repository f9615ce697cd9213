"""Compiled forward passes of the event-driven engine: work is done only where spikes are.

No kernel holds Python's lock, and none reorders sums: what a recording gives depends neither on the threads that share
the work nor on the recordings beside it. Shapes: B recordings, T steps, C input channels, N neurons, O outputs; neurons
lie in K blocks of W = `lanes.WIDTH`, the last one filled up with zeros. A block's weights, (C, W) of (K, C, W), stay in
the caches next to the processor while all recordings pass; its potentials stay in registers from step to step.
`indptr`, `index` are `Spikes` of B * T rows; `active` (B,) is false for recordings that bring no input at all: nothing
happens in them. Arguments are checked before (`network.checks`), not here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from snn_fusion.network.lanes import (
    WIDTH,
    at,
    bits_above,
    count_bits,
    fill,
    load,
    load_first,
    lowest_bit,
    store,
    store_first,
    where_above,
    where_bits,
)

Floats = npt.NDArray[np.floating[Any]]
Int32 = npt.NDArray[np.int32]
Bits = npt.NDArray[np.uint32]
Bools = npt.NDArray[np.bool_]

ZERO, SUBTRACT, NONE = range(3)  # places in neurons.RESETS


@njit(cache=True, nogil=True, error_model="numpy")
def _row(matrix: Floats, row: int, columns: int, k: int) -> Any:
    """Block k of a row of (rows, columns)."""
    if (k + 1) * WIDTH <= columns:
        return load(matrix, row * columns + k * WIDTH)
    return load_first(matrix, row * columns + k * WIDTH, columns - k * WIDTH)


@njit(cache=True, nogil=True, error_model="numpy")
def pack(matrix: Floats, out: Floats) -> None:
    """(rows, N) -> (K, rows, W), filled up with zeros."""
    rows, columns = matrix.shape
    for k in range(out.shape[0]):
        for r in range(rows):
            store(out, (k * rows + r) * WIDTH, _row(matrix, r, columns, k))


@njit(cache=True, nogil=True, error_model="numpy")
def _sum_rows(total: Any, index: Int32, first: int, last: int, weights: Floats, begin: int) -> Any:
    """`total` and the weight rows of the spikes `index[first:last]`, of the block that begins at `begin`."""
    for k in range(first, last):
        total = total + load(weights, begin + at(index, k) * WIDTH)
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _lif(u: Any, now: Any, decay: Any, limit: Any, kept: Any, dropped: Any, zero: Any) -> Any:
    """The potential after a step from `u` with the current `now`; `kept`, `dropped`: what a spike does to u."""
    return decay * where_above(u, limit, u * kept, u) + now - where_above(u, limit, dropped, zero)


@njit(cache=True, nogil=True, error_model="numpy")
def _list_spikes(bits: Bits, b: int, t: int, index: Int32, i: int) -> int:
    """Write the neurons that spike in a step to index[i], index[i + 1] ...; where the next one goes."""
    for k in range(bits.shape[0]):
        left = bits[k, b, t]
        while left:
            index[i] = k * WIDTH + lowest_bit(left)
            left &= left - np.uint32(1)
            i += 1
    return i


@njit(cache=True, nogil=True, error_model="numpy")
def layer(
    active: Bools,
    indptr: Int32,
    index: Int32,
    current: Floats,  # (B, T, N), in place of events and weights; or (0, 0, N)
    weights: Floats,  # (K, C, W); or (K, 0, W)
    beta: Floats,  # (K * W,)
    threshold: float,
    reset: int,
    scan: bool,  # or leave the input current in `potential`
    potential: Floats,  # (K, B, T, W); or (K, 0, T, W): not kept
    bits: Bits,  # (K, B, T): bit n, whether neuron n of the block spikes
    first: int,
    last: int,
) -> None:
    """A spiking layer from rest, for the items first ... last - 1 of K blocks times B recordings."""
    _, recordings, steps = bits.shape
    kind = weights.dtype.type
    zero, one, limit = fill(kind(0)), fill(kind(1)), fill(kind(threshold))
    kept = zero if reset == ZERO else one  # of the potential of a neuron that spiked
    dropped = limit if reset == SUBTRACT else zero
    keep, channels, neurons = potential.shape[1] > 0, weights.shape[1], current.shape[2]
    for item in range(first, last):
        k, b = item // recordings, item % recordings
        if not active[b]:
            bits[k, b, :] = 0
            for t in range(steps if keep else 0):
                store(potential, (item * steps + t) * WIDTH, zero)
            continue
        decay, begin, u = load(beta, k * WIDTH), k * channels * WIDTH, zero
        for t in range(steps):
            row = b * steps + t
            if channels > 0:
                now = _sum_rows(zero, index, at(indptr, row), at(indptr, row + 1), weights, begin)
            else:
                now = _row(current, row, neurons, k)
            if scan:
                u = _lif(u, now, decay, limit, kept, dropped, zero)
                bits[k, b, t] = bits_above(u, limit)
            else:
                u = now
            if keep:
                store(potential, (item * steps + t) * WIDTH, u)


@njit(cache=True, nogil=True, error_model="numpy")
def recurrent_layer(
    active: Bools,
    recurrent: Floats,  # (K, N, W)
    beta: Floats,
    threshold: float,
    reset: int,
    potential: Floats,  # (K, B, T, W): input current comes in, potential goes out
    bits: Bits,
    first: int,
    last: int,
) -> None:
    """The same, where spikes come back one step later, for the recordings first ... last - 1."""
    blocks, recordings, steps = bits.shape
    neurons = recurrent.shape[1]
    kind = recurrent.dtype.type
    zero, one, limit = fill(kind(0)), fill(kind(1)), fill(kind(threshold))
    kept = zero if reset == ZERO else one
    dropped = limit if reset == SUBTRACT else zero
    fired = np.empty(blocks * WIDTH, np.int32)  # in the step before
    for b in range(first, last):
        if not active[b]:
            bits[:, b, :] = 0
            continue
        count = 0
        for t in range(steps):
            for k in range(blocks):
                here = ((k * recordings + b) * steps + t) * WIDTH
                u = load(potential, here - WIDTH) if t > 0 else zero
                now = _sum_rows(load(potential, here), fired, 0, count, recurrent, k * neurons * WIDTH)
                u = _lif(u, now, load(beta, k * WIDTH), limit, kept, dropped, zero)
                store(potential, here, u)
                bits[k, b, t] = bits_above(u, limit)
            count = _list_spikes(bits, b, t, fired, 0)


@njit(cache=True, nogil=True, error_model="numpy")
def readout(
    active: Bools,
    bits: Bits,  # (K, B, T)
    weights: Floats,  # (Q, N, W), Q blocks of outputs
    beta: float,
    output: Floats,  # (B, T, O)
    first: int,
    last: int,
) -> None:
    """The leaky integrator over a layer's spikes, for the recordings first ... last - 1."""
    blocks, _, steps = bits.shape
    kind = weights.dtype.type
    outputs, neurons, decay = output.shape[2], weights.shape[1], fill(kind(beta))
    for b in range(first, last):
        if not active[b]:
            output[b, :, :] = 0
            continue
        for q in range(weights.shape[0]):
            u = fill(kind(0))
            for t in range(steps):
                now = fill(kind(0))
                for k in range(blocks):
                    left = bits[k, b, t]
                    while left:
                        now = now + load(weights, (q * neurons + k * WIDTH + lowest_bit(left)) * WIDTH)
                        left &= left - np.uint32(1)
                u = decay * u + now
                place = (b * steps + t) * outputs + q * WIDTH
                store_first(output, place, u, min(WIDTH, outputs - q * WIDTH))


@njit(cache=True, nogil=True, error_model="numpy")
def traces(
    active: Bools,
    bits: Bits,
    beta: float,
    trace: Floats,  # (B, K * W): what is left of a neuron's spikes after the last step
    slope: Floats,  # (B, K * W): its derivative by beta; or (0, K * W)
    first: int,
    last: int,
) -> None:
    """Leaky sums of each neuron's spikes, for the items first ... last - 1 of K blocks times B recordings."""
    blocks, recordings, steps = bits.shape
    kind = trace.dtype.type
    zero, one, decay = fill(kind(0)), fill(kind(1)), fill(kind(beta))
    for item in range(first, last):
        k, b = item // recordings, item % recordings
        left = changes = zero
        for t in range(steps if active[b] else 0):
            changes = decay * changes + left
            left = decay * left + where_bits(bits[k, b, t], one, zero)
        store(trace, (b * blocks + k) * WIDTH, left)
        if slope.shape[0] > 0:
            store(slope, (b * blocks + k) * WIDTH, changes)


@njit(cache=True, nogil=True, error_model="numpy")
def times(
    rows: Floats,  # (B, M)
    weights: Floats,  # (Q, N, W), N up to M
    output: Floats,  # (B, O)
    first: int,
    last: int,
) -> None:
    """rows @ weights, for the rows first ... last - 1; each row's result is the same whatever the others are."""
    outputs, neurons, columns = output.shape[1], weights.shape[1], rows.shape[1]
    for b in range(first, last):
        for q in range(weights.shape[0]):
            total = fill(weights.dtype.type(0))
            for n in range(neurons):
                total = total + fill(at(rows, b * columns + n)) * load(weights, (q * neurons + n) * WIDTH)
            store_first(output, b * outputs + q * WIDTH, total, min(WIDTH, outputs - q * WIDTH))


@njit(cache=True, nogil=True, error_model="numpy")
def events(bits: Bits) -> tuple[Int32, Int32]:
    """`indptr` and `index` of a layer's spikes."""
    blocks, recordings, steps = bits.shape
    indptr = np.zeros(recordings * steps + 1, np.int32)
    for k in range(blocks):
        for b in range(recordings):
            for t in range(steps):
                indptr[b * steps + t + 1] += count_bits(bits[k, b, t])
    for row in range(recordings * steps):
        indptr[row + 1] += indptr[row]
    index, i = np.empty(indptr[-1], np.int32), 0
    for b in range(recordings):
        for t in range(steps):
            i = _list_spikes(bits, b, t, index, i)
    return indptr, index
