"""The compiled scan over time as one differentiable function: spikes or current in, spikes or potentials out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from snn_fusion.network import forward_kernels as kernels
from snn_fusion.network import gradients
from snn_fusion.network.call import Array, Call, Fired, array, blocks, packed, per_neuron, room
from snn_fusion.network.lanes import WIDTH
from snn_fusion.network.threads import spread


def scan(
    call: Call,
    current: Tensor | None,  # (B, T, N), in place of events and weights
    weights: Tensor | None,  # (C, N)
    recurrent: Tensor | None,  # (N, N)
    beta: Tensor,  # (N,), or one for all
    readout: Tensor | None,  # (N, O)
    readout_beta: Tensor | None,
    handles: Sequence[Tensor | None],  # of each source of events, (B, T, channels), for its gradient
) -> tuple[Tensor | None, Tensor | None]:
    """A link (B, T, N) for gradients by the spikes, or readout potentials (B, T, O), with `call.last` (B, 1, O).

    The spikes are in `call.fired`. With a readout, or without gradients, there is no link.
    """
    tensors = (current, weights, recurrent, beta, readout, readout_beta)
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (*tensors, *handles)):
        result: Tensor = _Scan.apply(call, *tensors, *handles)  # type: ignore[no-untyped-call]
        return (result, None) if readout is None else (None, result)
    output = _run(call, False, *tensors).output
    return None, None if output is None else torch.from_numpy(output)


@dataclass(frozen=True)
class Passed:
    """What a forward pass leaves: `potential` (K, B, T, WIDTH), readout potentials, and with `call.last` the traces."""

    potential: Array
    output: Array | None = None
    trace: Array | None = None  # (B, K * WIDTH)
    sensitivity: Array | None = None  # (B, O): d output / d readout_beta, if that is wanted


def _run(
    call: Call,
    keep: bool,  # potentials, for the gradient
    current: Tensor | None,
    weights: Tensor | None,
    recurrent: Tensor | None,
    beta: Tensor,
    readout: Tensor | None,
    readout_beta: Tensor | None,
) -> Passed:
    source = weights if current is None else current
    assert source is not None
    n, b, t, decays = source.shape[-1], call.recordings, call.steps, per_neuron(beta, source.shape[-1])
    k, dtype = blocks(n), decays.dtype
    potential = room(k, b if keep or recurrent is not None else 0, t, WIDTH, dtype=dtype)
    bits = np.empty((k, b, t), np.uint32)
    given = np.empty((0, 0, n), dtype) if current is None else array(current)
    rows = np.empty((k, 0, WIDTH), dtype) if weights is None else packed(weights)
    neuron, left = (decays, call.threshold, call.reset_code), (potential, bits)
    inward = (*call.input, given, rows, *neuron, recurrent is None, *left)
    spread(lambda first, last: kernels.layer(*inward, first, last), k * b, k * (call.spikes_in + 6 * call.rows))
    if recurrent is not None:
        back = (call.active, packed(recurrent), *neuron, *left)
        spread(lambda first, last: kernels.recurrent_layer(*back, first, last), b, 12 * k * call.rows)
    call.fired = Fired(bits, n)
    if readout is None or readout_beta is None:
        return Passed(potential)
    if call.last:
        return Passed(potential, *_read_last(call, readout, readout_beta))
    output = np.empty((b, t, readout.shape[1]), dtype)
    outward = (call.active, bits, packed(readout), readout_beta.item(), output)
    spread(lambda first, last: kernels.readout(*outward, first, last), b, 8 * k * call.rows)
    return Passed(potential, output)


def _read_last(call: Call, readout: Tensor, readout_beta: Tensor) -> tuple[Array, Array, Array | None]:
    """The readout's last potential (B, 1, O) by what each neuron leaves in it: it is linear in the spikes."""
    bits, b, rows, derive = call.fired.bits, call.recordings, packed(readout), readout_beta.requires_grad
    trace = room(b, len(bits) * WIDTH, dtype=rows.dtype)
    slope = room(b if derive else 0, len(bits) * WIDTH, dtype=rows.dtype)
    traced = (call.active, bits, readout_beta.item(), trace, slope)
    spread(lambda first, last: kernels.traces(*traced, first, last), len(bits) * b, 8 * bits.size)
    sensitivity = _times(slope, rows, readout.shape[1]) if derive else None
    return _times(trace, rows, readout.shape[1])[:, None], trace, sensitivity


def _times(rows: Array, weights: Array, columns: int) -> Array:
    out = np.empty((len(rows), columns), rows.dtype)
    operations = len(rows) * weights.size // WIDTH
    spread(lambda first, last: kernels.times(rows, weights, out, first, last), len(rows), operations)
    return out


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: Call, *tensors: Any) -> Tensor:
        layer, handles = tensors[:6], tensors[6:]
        passed = _run(call, True, *layer)
        ctx.call, ctx.wanted = call, [h is not None and h.requires_grad for h in handles]
        left = (passed.potential, passed.output, passed.trace, passed.sensitivity)
        kept = [None if one is None else torch.from_numpy(one) for one in left]
        ctx.save_for_backward(*layer[1:], *kept)
        if kept[1] is not None:
            return kept[1]  # the one that is saved, so that torch sees it if somebody writes to it
        link: Tensor = layer[3].new_zeros(()).expand(call.recordings, call.steps, call.fired.neurons)
        return link

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Any) -> Any:
        tensors = ctx.saved_tensors
        left = (None if one is None else one.numpy() for one in tensors[5:])
        ran = gradients.Ran(ctx.call, *tensors[:5], *left)
        wanted = gradients.Wanted(ctx.needs_input_grad[1], any(ctx.wanted), *ctx.needs_input_grad[4:7:2])
        found = gradients.of_layer(ran, grads[0], wanted)
        sent = gradients.of_sources(ran, found.current, ctx.wanted)
        current = found.current if wanted.current else None
        given = (current, found.weights, found.recurrent, found.beta, found.readout, found.readout_beta)
        return None, *(None if one is None else torch.from_numpy(np.asarray(one)) for one in given), *sent
