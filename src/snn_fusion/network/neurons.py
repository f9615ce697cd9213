"""Neuron models as pure step functions, with the semantics of snnTorch's `Leaky(reset_mechanism="zero")`.

A step takes and returns the membrane potential *before* reset: a neuron that spiked at t starts t + 1 from zero. So
the spikes are those of a reset within the step, which is what the chips do. tests/network pins trajectories and
gradients to snnTorch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from snn_fusion.network import kernels


@dataclass(frozen=True)
class LIF:
    """Leaky integrate-and-fire: U[t] = beta * U[t-1] * (1 - S[t-1]) + I[t], S[t] = U[t] > threshold.

    `beta` in [0, 1] is one decay for the layer; `slope` shapes the surrogate gradient and nothing else.
    """

    beta: Tensor
    threshold: float = 1.0
    slope: float = 25.0


def lif_step(current: Tensor, state: Tensor, params: LIF) -> tuple[Tensor, Tensor]:
    """One step: input current and potential, any one shape -> (spikes of 0 and 1, potential)."""
    kept = state * (state <= params.threshold)  # the reset is not differentiated, as in snnTorch
    potential = params.beta.clamp(0, 1) * kept + current
    return spike(potential - params.threshold, params.slope), potential


def li_step(current: Tensor, state: Tensor, beta: Tensor) -> Tensor:
    """Leaky integrator, the readout: U[t] = beta * U[t-1] + I[t]."""
    return beta.clamp(0, 1) * state + current


def lif_scan(current: Tensor, params: LIF) -> Tensor:
    """`lif_step` over time from rest: currents (B, T, N) -> spikes (B, T, N); an analytic backward pass."""
    spikes: Tensor = _LIFScan.apply(  # type: ignore[no-untyped-call]
        current, params.beta.clamp(0, 1), params.threshold, params.slope
    )
    return spikes


def lif_recurrent(current: Tensor, recurrent: Tensor, params: LIF) -> Tensor:
    """`lif_scan` of a layer whose spikes come back one step later through `recurrent` (N, N)."""
    spikes = potential = torch.zeros_like(current[:, 0])
    out = []
    for now in current.unbind(1):
        spikes, potential = lif_step(now + spikes @ recurrent, potential, params)
        out.append(spikes)
    return torch.stack(out, 1)


def li_scan(current: Tensor, beta: Tensor) -> Tensor:
    """`li_step` over time from rest: currents (B, T, N) -> potentials (B, T, N)."""
    state, out = torch.zeros_like(current[:, 0]), []
    for now in current.unbind(1):
        state = li_step(now, state, beta)
        out.append(state)
    return torch.stack(out, 1)


def spike(x: Tensor, slope: float) -> Tensor:
    """1 where x > 0, with the gradient of a fast sigmoid, 1 / (slope * |x| + 1)^2 (Zenke and Ganguli 2018)."""
    spikes: Tensor = _Spike.apply(x, slope)  # type: ignore[no-untyped-call]
    return spikes


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.slope = slope
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (x,) = ctx.saved_tensors
        return grads[0] * _surrogate(x, ctx.slope), None


def _surrogate(x: Tensor, slope: float) -> Tensor:
    return 1 / (slope * x.abs() + 1) ** 2


class _LIFScan(torch.autograd.Function):
    """The chain rule through `lif_step` over time, written out: no graph of T steps is kept."""

    @staticmethod
    def forward(ctx: Any, current: Tensor, beta: Tensor, threshold: float, slope: float) -> Tensor:
        potential = torch.empty(current.shape, dtype=current.dtype)
        spikes = torch.empty_like(potential)
        ctx.scalars = [_scalar(x, potential) for x in (beta.item(), threshold, slope)]
        arrays = (current.detach().contiguous().numpy(), *ctx.scalars[:2], potential.numpy(), spikes.numpy())
        kernels.lif_forward(*arrays)
        ctx.save_for_backward(potential)
        return spikes

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (potential,) = ctx.saved_tensors
        delta = torch.empty_like(potential)
        grad_beta = kernels.lif_backward(grads[0].contiguous().numpy(), potential.numpy(), *ctx.scalars, delta.numpy())
        return delta, torch.tensor(grad_beta, dtype=delta.dtype), None, None


def _scalar(value: float, like: Tensor) -> Any:
    """In the tensor's own precision, so that the kernels round as torch does."""
    return like.numpy().dtype.type(value)
