"""Compiled loops of the event-driven engine: each goes through memory once and does work only where spikes are.

No kernel holds Python's lock or lets the compiler reorder sums: the result does not depend on how many threads share
the work. Forward passes are shared out over recordings; gradients over neurons, so
that no two threads add to the same weight. Shapes: B recordings, T steps, C input channels, N neurons, O outputs;
`indptr`, `index` are `Spikes` of B * T rows; `active` (B,) is false for recordings that bring no input at all: nothing
happens in them. Arguments are checked before (`network.checks`), not here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

Floats = npt.NDArray[np.floating[Any]]
Int32 = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]

RESETS = ("zero", "subtract", "none")
ZERO, SUBTRACT, NONE = range(3)


@njit(cache=True, nogil=True, error_model="numpy")
def forward(
    active: Bools,
    indptr: Int32,
    index: Int32,
    weights: Floats,  # (C, N), or (0, N): `potential` comes in holding the current
    recurrent: Floats,  # (N, N), or (0, 0)
    beta: Floats,  # (N,)
    threshold: float,
    reset: int,
    readout: Floats,  # (N, O), O may be 0
    readout_beta: float,
    potential: Floats,  # (B, T, N), or (B, 2, N) where only the last two steps are kept
    fired: Int32,  # (B, T * N): neurons that spike, step after step
    fired_counts: Int32,  # (B * T,)
    output: Floats,  # (B, T, O) readout potentials, or (B, 1, O): the last one
    sensitivity: Floats,  # (B, O): d output[last] / d readout_beta; filled where only the last one is kept
    first: int,
    last: int,
) -> None:
    """A spiking layer from rest and the leaky integrator over it, for the recordings first ... last - 1."""
    depth, neurons = potential.shape[1], potential.shape[2]
    outputs, steps = readout.shape[1], fired_counts.shape[0] // potential.shape[0]
    zero = threshold * 0
    keep_all = output.shape[1] == steps
    kept_if_fired = zero if reset == ZERO else zero + 1
    drop_if_fired = threshold if reset == SUBTRACT else zero
    spiked = np.zeros((neurons + 7) // 8 * 8, np.uint8)
    blocks = spiked.view(np.uint64)
    for b in range(first, last):
        begin = end = 0  # of this recording's spikes in the step before
        for c in range(outputs):
            output[b, 0, c] = zero
            sensitivity[b, c] = zero
        for t in range(steps):
            row, at, before = b * steps + t, t % depth, (t - 1) % depth
            if not active[b]:
                if depth == steps:
                    for n in range(neurons):
                        potential[b, t, n] = zero
                fired_counts[row] = 0
                if keep_all:
                    for c in range(outputs):
                        output[b, t, c] = zero
                continue
            if weights.shape[0] > 0:
                _sum_rows(index, indptr[row], indptr[row + 1], weights, potential[b, at], True)
            if recurrent.shape[0] > 0:
                _sum_rows(fired[b], begin, end, recurrent, potential[b, at], False)
            if t > 0:
                for n in range(neurons):
                    u = potential[b, before, n]
                    factor = kept_if_fired if u > threshold else zero + 1
                    drop = drop_if_fired if u > threshold else zero
                    potential[b, at, n] = beta[n] * (u * factor) + potential[b, at, n] - drop
            begin = end
            for n in range(neurons):
                spiked[n] = potential[b, at, n] > threshold
            for block in range(len(blocks)):
                if blocks[block]:  # few of eight neighbours spike: most blocks are passed over at once
                    for n in range(8 * block, min(8 * block + 8, neurons)):
                        fired[b, end] = n
                        end += spiked[n]
            fired_counts[row] = end - begin
            if outputs > 0:
                o, o_before = (t, t - 1) if keep_all else (0, 0)
                for c in range(outputs):
                    u = output[b, o_before, c] if t > 0 else zero
                    sensitivity[b, c] = readout_beta * sensitivity[b, c] + u
                    output[b, o, c] = readout_beta * u
                for k in range(begin, end):
                    n = fired[b, k]
                    for c in range(outputs):
                        output[b, o, c] += readout[n, c]


@njit(cache=True, nogil=True, error_model="numpy")
def _sum_rows(index: Int32, begin: int, end: int, weights: Floats, out: Floats, fresh: bool) -> None:
    """out[n] (+)= sum of weights[index[k], n]; four rows at a time, for fewer passes over `out`."""
    neurons = out.shape[0]
    k = begin
    if fresh:
        if end - begin >= 2:
            i, j = index[k], index[k + 1]
            for n in range(neurons):
                out[n] = weights[i, n] + weights[j, n]
            k += 2
        elif end - begin == 1:
            i = index[k]
            for n in range(neurons):
                out[n] = weights[i, n]
            k += 1
        else:
            for n in range(neurons):
                out[n] = 0
    while k + 4 <= end:
        h, i, j, m = index[k], index[k + 1], index[k + 2], index[k + 3]
        for n in range(neurons):
            out[n] += (weights[h, n] + weights[i, n]) + (weights[j, n] + weights[m, n])
        k += 4
    while k < end:
        i = index[k]
        for n in range(neurons):
            out[n] += weights[i, n]
        k += 1


@njit(cache=True, nogil=True, error_model="numpy")
def backward(
    active: Bools,
    indptr: Int32,
    index: Int32,
    potential: Floats,  # (B, T, N)
    beta: Floats,  # (N,)
    threshold: float,
    slope: float,
    reset: int,
    upstream: Floats,  # (B, T, N): gradient of the spikes, or (0, 0, 0)
    readout: Floats,  # (O, N), transposed
    readout_delta: Floats,  # (B, T, O): gradient of the readout's current, or (B, 1, O) where only the last is read
    decay: Floats,  # (T,): in that case, what a current of step t leaves in the last potential
    delta: Floats,  # (B, T, N): gradient of the current, filled; or (0, T, N) where nobody wants it
    grad_weights: Floats,  # (C, N), zeros; or (0, N): the current was given
    grad_readout: Floats,  # (N, O), zeros
    grad_beta: npt.NDArray[np.float64],  # (N,), zeros
    first: int,
    last: int,
) -> None:
    """Gradients of a layer without recurrence, for the neurons first ... last - 1.

    delta[t] = g[t] / (slope * |U[t] - threshold| + 1)^2 + beta * kept[t] * delta[t+1], where g is the gradient of
    the spikes, and kept[t] is 0 where a spike resets U to zero and 1 elsewhere.
    """
    recordings, steps, neurons = potential.shape
    outputs, zero = readout.shape[0], threshold * 0
    only_last = readout_delta.shape[1] == 1 and steps > 1
    one = zero + 1
    kept_if_fired = zero if reset == ZERO else one
    through, gradient = np.zeros(neurons, potential.dtype), np.zeros(neurons, potential.dtype)
    later, total, trace = gradient.copy(), gradient.copy(), gradient.copy()
    begin, end = np.uint64(first), np.uint64(last)  # unsigned: no test for an index from the end, which keeps SIMD
    # Of its own, and copied at the end: threads that write to halves of the same rows would wait for each other.
    own = np.zeros((grad_weights.shape[0], last - first), potential.dtype)
    errors = np.empty((steps, last - first), potential.dtype)
    for b in range(recordings):
        if not active[b]:
            continue
        for n in range(begin, end):
            total[n] = trace[n] = later[n] = zero
        if only_last:
            _times(readout_delta[b, 0], readout, begin, end, through)
        for t in range(steps - 1, -1, -1):
            if only_last:
                for n in range(begin, end):
                    gradient[n] = decay[t] * through[n]
                    trace[n] += decay[t] if potential[b, t, n] > threshold else zero
            elif outputs > 0:
                _times(readout_delta[b, t], readout, begin, end, gradient)
                for n in range(begin, end):
                    if potential[b, t, n] > threshold:
                        for c in range(outputs):
                            grad_readout[n, c] += readout_delta[b, t, c]
            if upstream.shape[0] > 0:
                for n in range(begin, end):
                    gradient[n] = (gradient[n] if outputs > 0 else zero) + upstream[b, t, n]
            for n in range(begin, end):
                u = potential[b, t, n]
                steep = slope * abs(u - threshold) + one
                back = later[n] * (kept_if_fired if u > threshold else one)
                total[n] += back * u
                later[n] = gradient[n] / (steep * steep) + beta[n] * back
                errors[t, n - begin] = later[n]
        if delta.shape[0] > 0:
            for t in range(steps):
                for n in range(begin, end):
                    delta[b, t, n] = errors[t, n - begin]
        for n in range(begin, end):
            grad_beta[n] += total[n]
        if only_last:
            for n in range(begin, end):
                for c in range(outputs):
                    grad_readout[n, c] += trace[n] * readout_delta[b, 0, c]
        if grad_weights.shape[0] > 0:
            _scatter(indptr, index, b * steps, errors, 0, own)
    for i in range(grad_weights.shape[0]):
        for n in range(begin, end):
            grad_weights[i, n] = own[i, n - begin]


@njit(cache=True, nogil=True, error_model="numpy")
def scatter(indptr: Int32, index: Int32, delta: Floats, delay: int, grad: Floats, first: int, last: int) -> None:
    """Gradient of weights (C, N), zeros, from that of the current, (B, T, N), `delay` steps after each spike."""
    recordings, steps, _ = delta.shape
    begin, end = np.uint64(first), np.uint64(last)
    own, errors = np.zeros((grad.shape[0], last - first), grad.dtype), np.empty((steps, last - first), grad.dtype)
    for b in range(recordings):
        for t in range(steps):
            for n in range(begin, end):
                errors[t, n - begin] = delta[b, t, n]
        _scatter(indptr, index, b * steps, errors, delay, own)
    for i in range(grad.shape[0]):
        for n in range(begin, end):
            grad[i, n] = own[i, n - begin]


@njit(cache=True, nogil=True, error_model="numpy")
def _scatter(indptr: Int32, index: Int32, row: int, errors: Floats, delay: int, grad: Floats) -> None:
    for t in range(errors.shape[0] - delay):
        for k in range(indptr[row + t], indptr[row + t + 1]):
            i = index[k]
            for n in range(grad.shape[1]):
                grad[i, n] += errors[t + delay, n]


@njit(cache=True, nogil=True, error_model="numpy")
def _times(factors: Floats, rows: Floats, begin: int, end: int, out: Floats) -> None:
    """out[n] = sum over c of factors[c] * rows[c, n]."""
    for n in range(begin, end):
        out[n] = factors[0] * rows[0, n]
    c = 1
    while c + 2 <= factors.shape[0]:
        x, y = factors[c], factors[c + 1]
        for n in range(begin, end):
            out[n] += x * rows[c, n] + y * rows[c + 1, n]
        c += 2
    if c < factors.shape[0]:
        x = factors[c]
        for n in range(begin, end):
            out[n] += x * rows[c, n]


@njit(cache=True, nogil=True, error_model="numpy")
def backward_step(
    t: int,
    gradient: Floats,  # (B, N): of the spikes of step t
    potential: Floats,  # (B, T, N)
    beta: Floats,  # (N,)
    threshold: float,
    slope: float,
    reset: int,
    later: Floats,  # (B, N): delta[t + 1] comes in, delta[t] goes out
    delta: Floats,  # (B, T, N)
    grad_beta: npt.NDArray[np.float64],  # (N,)
) -> None:
    """One step of `backward`, for layers whose neurons reach each other through the step before."""
    zero = threshold * 0
    one = zero + 1
    kept_if_fired = zero if reset == ZERO else one
    for b in range(later.shape[0]):
        for n in range(later.shape[1]):
            u = potential[b, t, n]
            steep = slope * abs(u - threshold) + one
            back = later[b, n] * (kept_if_fired if u > threshold else one)
            grad_beta[n] += back * u
            later[b, n] = gradient[b, n] / (steep * steep) + beta[n] * back
            delta[b, t, n] = later[b, n]


@njit(cache=True, nogil=True, error_model="numpy")
def leaky_backward(grad: Floats, beta: float, delta: Floats) -> None:
    """Gradient of a leaky integrator's current from that of its potentials, both (B, T, O)."""
    for b in range(grad.shape[0]):
        for c in range(grad.shape[2]):
            later = grad[b, 0, c] * 0
            for t in range(grad.shape[1] - 1, -1, -1):
                later = grad[b, t, c] + beta * later
                delta[b, t, c] = later


@njit(cache=True, nogil=True, error_model="numpy")
def compact(fired: Int32, counts: Int32) -> tuple[Int32, Int32]:
    """`indptr` and `index` of what `forward` left in `fired` (B, T * N) and `counts` (B * T,)."""
    indptr = np.zeros(len(counts) + 1, np.int32)
    for row in range(len(counts)):
        indptr[row + 1] = indptr[row] + counts[row]
    steps = len(counts) // fired.shape[0]
    index = np.empty(indptr[-1], np.int32)
    for b in range(fired.shape[0]):
        first, last = indptr[b * steps], indptr[(b + 1) * steps]
        for k in range(last - first):
            index[first + k] = fired[b, k]
    return indptr, index
