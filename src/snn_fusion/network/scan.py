"""The compiled scan over time as one differentiable function: spikes or current in, spikes or potentials out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from snn_fusion.encoding.spikes import Spikes
from snn_fusion.network import gradients, kernels
from snn_fusion.network.call import Call, array
from snn_fusion.network.threads import spread

RECORDINGS = 8  # fewer of them a thread cost more to hand over than it saves


def scan(
    call: Call,
    current: Tensor | None,  # (B, T, N), in place of events and weights
    weights: Tensor | None,  # (C, N)
    recurrent: Tensor | None,  # (N, N)
    beta: Tensor,  # (N,), or one for all
    readout: Tensor | None,  # (N, O)
    readout_beta: Tensor | None,
    handles: Sequence[Tensor | None],  # of each source of events, (B, T, channels), for its gradient
) -> tuple[Tensor | None, Tensor]:
    """Spikes (B, T, N) and readout potentials (B, T, O), or (B, 1, O) with `call.last`.

    With a readout, or without gradients, there is no tensor of spikes: they are in `call.fired` as events.
    """
    source = weights if current is None else current
    assert source is not None
    tensors = (current, weights, recurrent, beta, readout, readout_beta)
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (*tensors, *handles)):
        each = beta.expand(source.shape[-1])
        layer = (current, weights, recurrent, each, readout, readout_beta)
        spikes, output = _Scan.apply(call, *layer, *handles)  # type: ignore[no-untyped-call]
        return (spikes if readout is None else None), output
    _, output, _ = _run(call, *tensors, keep=False)
    return None, torch.from_numpy(output)


def _run(
    call: Call,
    current: Tensor | None,
    weights: Tensor | None,
    recurrent: Tensor | None,
    beta: Tensor,
    readout: Tensor | None,
    readout_beta: Tensor | None,
    keep: bool,
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Potentials of the layer and of the readout, and the last readout potential's derivative by its decay."""
    source = array(weights if current is None else current)  # type: ignore[arg-type]
    b, t, n, dtype = call.recordings, call.steps, source.shape[-1], source.dtype
    decays = array(beta) if beta.ndim else np.full(n, beta.item(), dtype)
    kept = t if keep else min(t, 2)
    potential = np.empty((b, kept, n), dtype) if current is None else source.copy()
    fired, counts = np.empty((b, t * n), np.int32), np.empty(b * t, np.int32)
    outward = np.empty((n, 0), dtype) if readout is None else array(readout)
    output = np.empty((b, 1 if call.last else t, outward.shape[1]), dtype)
    sensitivity = np.empty((b, outward.shape[1]), dtype)
    inward = np.empty((0, n), dtype) if weights is None else source
    back = np.empty((0, 0), dtype) if recurrent is None else array(recurrent)
    outer = dtype.type(0.0 if readout_beta is None else readout_beta.item())
    threshold, _, reset = call.neuron(dtype.type)
    layer = (inward, back, decays, threshold, reset)
    filled = (potential, fired, counts, output, sensitivity)

    def work(first: int, last: int) -> None:
        kernels.forward(*call.input, *layer, outward, outer, *filled, first, last)

    spread(work, b, RECORDINGS)
    indptr, index = kernels.compact(fired, counts)
    call.fired = Spikes(indptr, index, n)
    return potential, output, sensitivity


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: Call, *tensors: Any) -> tuple[Tensor, Tensor]:
        current, weights, recurrent, beta, readout, readout_beta, *handles = tensors
        arrays = _run(call, current, weights, recurrent, beta, readout, readout_beta, keep=True)
        potential, output, sensitivity = map(torch.from_numpy, arrays)
        ctx.call, ctx.wanted = call, [h is not None and h.requires_grad for h in handles]
        ctx.save_for_backward(weights, recurrent, beta, readout, readout_beta, potential, output, sensitivity)
        if readout is not None:
            spikes = potential.new_empty(0)
            ctx.mark_non_differentiable(spikes)
        else:
            spikes = (potential > call.threshold).to(potential.dtype)
        return spikes, output

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        ran = gradients.Ran(ctx.call, *ctx.saved_tensors)
        current_wanted = ctx.needs_input_grad[1]
        found = gradients.of_layer(ran, grads[0], grads[1], current_wanted or any(ctx.wanted))
        sent = gradients.of_sources(ran, found.current, ctx.wanted)
        current = found.current if current_wanted else None
        layer = (found.weights, found.recurrent, found.beta, found.readout, found.readout_beta)
        return None, current, *layer, *sent
