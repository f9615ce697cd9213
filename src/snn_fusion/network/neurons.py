"""Neuron models as pure step functions, with the semantics of snnTorch's `Leaky`: what the network computes.

A step takes and returns the membrane potential *before* reset: a neuron that spiked at t is reset in t + 1. With the
reset to zero the spikes are those of a reset within the step, which is what the chips do. The scans run steps over
time in plain torch, on any device; `network.engine` gives the same results faster. tests/network pins both to snnTorch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

Reset = Literal["zero", "subtract", "none"]
RESETS: tuple[Reset, ...] = ("zero", "subtract", "none")


@dataclass(frozen=True)
class LIF:
    """Leaky integrate-and-fire: U[t] = beta * U[t-1] * (1 - S[t-1]) + I[t], S[t] = U[t] > threshold.

    `beta` is one decay for the layer, or one a neuron (N,), and counts as 0 below 0 and as 1 above 1. `slope` shapes
    the surrogate gradient and nothing else. That was the reset to zero; `subtract`: U[t] = beta * U[t-1] + I[t] -
    threshold * S[t-1]; `none`: U[t] = beta * U[t-1] + I[t]. The reset is not differentiated, as in snnTorch.
    """

    beta: Tensor
    threshold: float = 1.0
    slope: float = 25.0
    reset: Reset = "zero"


def lif_step(current: Tensor, state: Tensor, params: LIF) -> tuple[Tensor, Tensor]:
    """One step: input current and potential, any one shape -> (spikes of 0 and 1, potential)."""
    beta, spiked = params.beta.clamp(0, 1), (state > params.threshold).to(state.dtype)
    if params.reset == "zero":
        potential = beta * (state * (1 - spiked)) + current
    elif params.reset == "subtract":
        potential = beta * state + current - spiked * params.threshold
    else:
        potential = beta * state + current
    return spike(potential - params.threshold, params.slope), potential


def li_step(current: Tensor, state: Tensor, beta: Tensor) -> Tensor:
    """Leaky integrator, the readout: U[t] = beta * U[t-1] + I[t]."""
    return beta.clamp(0, 1) * state + current


def lif_scan(current: Tensor, params: LIF, recurrent: Tensor | None = None) -> Tensor:
    """`lif_step` over time from rest: currents (B, T, N) -> spikes (B, T, N).

    With `recurrent` (N, N) the spikes come back one step later as current.
    """
    spikes = state = torch.zeros_like(current[:, 0])
    out = []
    for now in current.unbind(1):
        spikes, state = lif_step(now if recurrent is None else now + spikes @ recurrent, state, params)
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
        return grads[0] / (ctx.slope * x.abs() + 1) ** 2, None
