"""Compiled gradients of the event-driven engine. Layouts and promises are those of `forward_kernels`.

The error of a neuron's current is delta[t] = g[t] / (slope * |U[t] - threshold| + 1)^2 + beta * kept[t] * delta[t+1],
where g is the gradient of its spikes, and kept[t] is 0 where a spike resets U to zero and 1 elsewhere; it goes to the
weights of the channels that spiked in step t. Blocks of neurons are shared out over threads, so that no two of them
add to one weight.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from snn_fusion.network.forward_kernels import ZERO, Bits, Bools, Floats, Int32, _row
from snn_fusion.network.lanes import (
    WIDTH,
    add_product,
    at,
    expect,
    fill,
    load,
    lowest_bit,
    magnitude,
    store,
    store_first,
    where_above,
    widened,
)

Float64 = npt.NDArray[np.float64]


@njit(cache=True, nogil=True, error_model="numpy")
def layer(
    active: Bools,
    indptr: Int32,
    index: Int32,
    potential: Floats,  # (K, B, T, W)
    beta: Floats,  # (K * W,)
    threshold: float,
    slope: float,
    reset: int,
    upstream: Floats,  # (B, T, N): gradient of the spikes; or (0, 0, N)
    readout: Floats,  # (K, O, W): transposed
    readout_delta: Floats,  # (B, T, O): gradient of the readout's current; or (B, 1, O) where only the last is read
    decay: Floats,  # (T,): in that case, what a current of step t leaves in the last potential
    delta: Floats,  # (B, T, N): gradient of the current, filled; or (0, T, N) where nobody wants it
    own: Floats,  # (K, C, W), room for sums
    grad_weights: Floats,  # (C, N), filled; or (0, N)
    grad_beta: Float64,  # (K * W,), filled
    first: int,
    last: int,
) -> None:
    """Gradients of a layer without recurrence, for the blocks first ... last - 1."""
    _, recordings, steps, _ = potential.shape
    channels, neurons = grad_weights.shape
    outputs = readout.shape[1]
    only_last = outputs > 0 and readout_delta.shape[1] == 1
    kind = potential.dtype.type
    zero, one, limit, steepness = fill(kind(0)), fill(kind(1)), fill(kind(threshold)), fill(kind(slope))
    kept = zero if reset == ZERO else one
    for k in range(first, last):
        own[k] = 0  # apart, and copied at the end: rows of the result share the caches' sets and push each other out
        grad_beta[k * WIDTH : (k + 1) * WIDTH] = 0
        factor = load(beta, k * WIDTH)
        for b in range(recordings):
            if not active[b]:
                continue
            later, total, through = zero, zero, zero
            if only_last:
                through = _weighted(readout_delta, b * outputs, readout, k * outputs, outputs)
            for t in range(steps - 1, -1, -1):
                row = b * steps + t
                if only_last:
                    gradient = fill(at(decay, t)) * through
                elif outputs > 0:
                    gradient = _weighted(readout_delta, row * outputs, readout, k * outputs, outputs)
                else:
                    gradient = _row(upstream, row, neurons, k)
                u = load(potential, ((k * recordings + b) * steps + t) * WIDTH)
                steep = steepness * magnitude(u - limit) + one
                back = where_above(u, limit, later * kept, later)
                total = total + back * u
                later = gradient / (steep * steep) + factor * back
                if delta.shape[0] > 0:
                    _put(delta, row, neurons, k, later)
                if channels > 0:
                    for i in range(at(indptr, row), at(indptr, row + 1)):
                        place = (k * channels + at(index, i)) * WIDTH
                        store(own, place, load(own, place) + later)
            _add(grad_beta, k * WIDTH, total)
        for c in range(channels):
            _put(grad_weights, c, neurons, k, load(own, (k * channels + c) * WIDTH))


@njit(cache=True, nogil=True, error_model="numpy")
def recurrent_layer(
    potential: Floats,  # (K, B, T, W)
    beta: Floats,  # (K * W,)
    threshold: float,
    slope: float,
    reset: int,
    upstream: Floats,
    readout: Floats,
    readout_delta: Floats,
    decay: Floats,  # these four as in `layer`
    recurrent: Floats,  # (K, N, W): transposed
    delta: Floats,  # (K, B, T, W): gradient of the current, filled
    grad_beta: Floats,  # (B, K * W), zeros
    first: int,
    last: int,
) -> None:
    """Errors of a layer whose neurons reach each other through the step before, for recordings first ... last - 1.

    Four recordings go together, so that a row of weights is read once for all of them.
    """
    blocks, recordings, steps, _ = potential.shape
    neurons, outputs, kind = recurrent.shape[1], readout.shape[1], potential.dtype.type
    only_last = outputs > 0 and readout_delta.shape[1] == 1
    zero, one, limit, steepness = fill(kind(0)), fill(kind(1)), fill(kind(threshold)), fill(kind(slope))
    kept = zero if reset == ZERO else one
    later = np.zeros((last - first, blocks * WIDTH), potential.dtype)  # delta[t + 1]
    now, through, arrived = np.zeros_like(later), np.zeros_like(later), np.zeros((4, WIDTH), potential.dtype)
    for item in range((last - first) * blocks if only_last else 0):
        b, k = first + item // blocks, item % blocks
        store(through, item * WIDTH, _weighted(readout_delta, b * outputs, readout, k * outputs, outputs))
    for t in range(steps - 1, -1, -1):
        for k in range(blocks):
            factor = load(beta, k * WIDTH)
            for group in range(first, last, 4):
                count = min(4, last - group)
                _products(later, group - first, count, recurrent, k, arrived)
                for i in range(count):
                    b = group + i
                    own = ((b - first) * blocks + k) * WIDTH
                    if only_last:
                        gradient = fill(at(decay, t)) * load(through, own)
                    elif outputs > 0:
                        place = (b * steps + t) * outputs
                        gradient = _weighted(readout_delta, place, readout, k * outputs, outputs)
                    else:
                        gradient = _row(upstream, b * steps + t, neurons, k)
                    here = ((k * recordings + b) * steps + t) * WIDTH
                    if t > 0:  # recordings lie far apart: the step before would be waited for
                        expect(potential, here - WIDTH)
                        expect(delta, here - WIDTH)
                    u = load(potential, here)
                    steep = steepness * magnitude(u - limit) + one
                    back = load(later, own)
                    back = where_above(u, limit, back * kept, back)
                    total = (b * blocks + k) * WIDTH
                    store(grad_beta, total, load(grad_beta, total) + back * u)
                    error = (gradient + load(arrived, i * WIDTH)) / (steep * steep) + factor * back
                    store(now, own, error)
                    store(delta, here, error)
        later, now = now, later


@njit(cache=True, nogil=True, error_model="numpy")
def _products(rows: Floats, row: int, count: int, weights: Floats, k: int, out: Floats) -> None:
    """out (4, W) = rows[row : row + count] (count, N and more) @ weights[k] (N, W)."""
    neurons, columns = weights.shape[1], rows.shape[1]
    zero = fill(weights.dtype.type(0))
    begin = row * columns
    if count == 4:
        a = b = c = d = zero
        for m in range(neurons):
            weight = load(weights, (k * neurons + m) * WIDTH)
            a = add_product(a, fill(at(rows, begin + m)), weight)
            b = add_product(b, fill(at(rows, begin + columns + m)), weight)
            c = add_product(c, fill(at(rows, begin + 2 * columns + m)), weight)
            d = add_product(d, fill(at(rows, begin + 3 * columns + m)), weight)
        store(out, 0, a)
        store(out, WIDTH, b)
        store(out, 2 * WIDTH, c)
        store(out, 3 * WIDTH, d)
        return
    for i in range(count):
        a = zero
        for m in range(neurons):
            a = add_product(a, fill(at(rows, begin + i * columns + m)), load(weights, (k * neurons + m) * WIDTH))
        store(out, i * WIDTH, a)


@njit(cache=True, nogil=True, error_model="numpy")
def unpack(blocks: Floats, out: Floats, first: int, last: int) -> None:
    """(K, B, T, W) -> (B, T, N), for the recordings first ... last - 1."""
    _, recordings, steps, _ = blocks.shape
    for b in range(first, last):
        for t in range(steps):
            for k in range(blocks.shape[0]):
                here = ((k * recordings + b) * steps + t) * WIDTH
                _put(out, b * steps + t, out.shape[2], k, load(blocks, here))


@njit(cache=True, nogil=True, error_model="numpy")
def scatter(
    indptr: Int32,
    index: Int32,
    delta: Floats,  # (K, B, T, W)
    delay: int,
    own: Floats,  # (K, C, W), room for sums
    grad: Floats,  # (C, N), filled
    first: int,
    last: int,
) -> None:
    """Gradient of weights from that of the current `delay` steps after each spike; blocks first ... last - 1."""
    _, recordings, steps, _ = delta.shape
    channels, neurons = grad.shape
    for k in range(first, last):
        own[k] = 0
        for b in range(recordings):
            for t in range(steps - delay):
                row = b * steps + t
                now = load(delta, ((k * recordings + b) * steps + t + delay) * WIDTH)
                for i in range(at(indptr, row), at(indptr, row + 1)):
                    place = (k * channels + at(index, i)) * WIDTH
                    store(own, place, load(own, place) + now)
        for c in range(channels):
            _put(grad, c, neurons, k, load(own, (k * channels + c) * WIDTH))


@njit(cache=True, nogil=True, error_model="numpy")
def readout(
    active: Bools,
    bits: Bits,  # (K, B, T)
    delta: Floats,  # (B, T, O): gradient of the readout's current
    grad: Floats,  # (N, O), filled
    first: int,
    last: int,
) -> None:
    """Gradient of the readout's weights, for the blocks of neurons first ... last - 1."""
    _, recordings, steps = bits.shape
    neurons, outputs = grad.shape
    blocks = (outputs + WIDTH - 1) // WIDTH
    own = np.zeros((WIDTH, blocks * WIDTH), grad.dtype)
    for k in range(first, last):
        own[:] = 0
        for b in range(recordings):
            for t in range(steps if active[b] else 0):
                left = bits[k, b, t]
                while left:
                    for q in range(blocks):
                        place = (lowest_bit(left) * blocks + q) * WIDTH
                        store(own, place, load(own, place) + _row(delta, b * steps + t, outputs, q))
                    left &= left - np.uint32(1)
        for n in range(min(WIDTH, neurons - k * WIDTH)):
            for q in range(blocks):
                _put(grad, k * WIDTH + n, outputs, q, load(own, (n * blocks + q) * WIDTH))


@njit(cache=True, nogil=True, error_model="numpy")
def outer(trace: Floats, delta: Floats, grad: Floats) -> None:
    """The same from what each neuron leaves in the last potential, (B, N and more), and its gradient (B, O)."""
    neurons, outputs = grad.shape
    columns = trace.shape[1]
    for n in range(neurons):
        for q in range((outputs + WIDTH - 1) // WIDTH):
            total = fill(grad.dtype.type(0))
            for b in range(trace.shape[0]):
                total = add_product(total, fill(at(trace, b * columns + n)), _row(delta, b, outputs, q))
            _put(grad, n, outputs, q, total)


@njit(cache=True, nogil=True, error_model="numpy")
def leaky(grad: Floats, beta: float, delta: Floats) -> None:
    """Gradient of a leaky integrator's current from that of its potentials, both (B, T, O)."""
    for b in range(grad.shape[0]):
        for c in range(grad.shape[2]):
            later = grad[b, 0, c] * 0
            for t in range(grad.shape[1] - 1, -1, -1):
                later = grad[b, t, c] + beta * later
                delta[b, t, c] = later


@njit(cache=True, nogil=True, error_model="numpy")
def _weighted(factors: Floats, place: int, rows: Floats, row: int, count: int) -> Any:
    """Sum over i of factors[place + i] * rows[row + i], rows of WIDTH; `count` is at least 1."""
    total = fill(at(factors, place)) * load(rows, row * WIDTH)
    for i in range(1, count):
        total = add_product(total, fill(at(factors, place + i)), load(rows, (row + i) * WIDTH))
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _put(matrix: Floats, row: int, columns: int, k: int, lanes: Any) -> None:
    """Block k of a row of (rows, columns)."""
    if (k + 1) * WIDTH <= columns:
        store(matrix, row * columns + k * WIDTH, lanes)
    else:
        store_first(matrix, row * columns + k * WIDTH, lanes, columns - k * WIDTH)


@njit(cache=True, nogil=True, error_model="numpy")
def _add(sums: Float64, place: int, lanes: Any) -> None:
    """Add WIDTH numbers to sums of double precision."""
    store(sums, place, load(sums, place) + widened(lanes))
