"""The chain rule through a layer over time and its readout, written out: no graph of T steps is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from snn_fusion.encoding.spikes import Spikes
from snn_fusion.network import kernels
from snn_fusion.network.call import Call, array
from snn_fusion.network.threads import spread

NEURONS = 32  # fewer of them a thread cost more to hand over than it saves


@dataclass(frozen=True)
class Ran:
    """What a forward pass left: parameters as in `scan.scan`, potentials of neurons (B, T, N) and readout."""

    call: Call
    weights: Tensor | None
    recurrent: Tensor | None
    beta: Tensor
    readout: Tensor | None
    readout_beta: Tensor | None
    potential: Tensor
    output: Tensor
    sensitivity: Tensor

    @property
    def neuron(self) -> tuple[Any, ...]:
        """Decays, threshold, slope, reset."""
        beta = array(self.beta)
        return (beta, *self.call.neuron(beta.dtype.type))

    @property
    def decay(self) -> Tensor:
        """What a readout current of each step leaves in the last potential, (T,)."""
        left = torch.arange(self.call.steps - 1, -1, -1, dtype=self.potential.dtype)
        return left if self.readout_beta is None else self.readout_beta**left


@dataclass
class Gradients:
    current: Tensor | None = None  # (B, T, N)
    weights: Tensor | None = None
    recurrent: Tensor | None = None
    beta: Tensor | None = None
    readout: Tensor | None = None
    readout_beta: Tensor | None = None


def of_layer(ran: Ran, spikes: Tensor, output: Tensor, current_wanted: bool) -> Gradients:
    """From the gradient of the spikes (B, T, N), or that of the readout's potentials, to those of all parameters."""
    found = Gradients()
    readout_delta: Tensor | None = None
    if ran.readout is not None:
        readout_delta, found.readout_beta = _through_readout(ran, output.contiguous())
        found.readout = torch.zeros_like(ran.readout)
    if ran.weights is not None:
        found.weights = torch.zeros_like(ran.weights)
    beta = np.zeros(len(ran.beta))
    if ran.recurrent is None:
        _feed_forward(ran, spikes, readout_delta, current_wanted, found, beta)
    else:
        _recurrent(ran, spikes, readout_delta, found, beta)
    found.beta = torch.from_numpy(beta).to(ran.potential.dtype)
    return found


def of_sources(ran: Ran, current: Tensor | None, wanted: list[bool]) -> list[Tensor | None]:
    """Gradients of the sources' spikes; 0 for recordings in which a source had no input, since nothing leads on."""
    sent: list[Tensor | None] = [None] * len(wanted)
    if current is None or ran.weights is None:
        return sent
    ends = np.cumsum(ran.call.sizes)
    for i, (active, size) in enumerate(zip(ran.call.sources, ran.call.sizes, strict=True)):
        if not wanted[i]:
            continue
        back = ran.weights[ends[i] - size : ends[i]].t()
        if active.all():
            sent[i] = current @ back
        else:
            rows = torch.from_numpy(np.flatnonzero(active))
            grad = current.new_zeros((*current.shape[:2], size))
            grad[rows] = current[rows] @ back
            sent[i] = grad
    return sent


def _through_readout(ran: Ran, grad: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of the readout's current, (B, T, O) or with `last` (B, 1, O), and of its decay."""
    assert ran.readout_beta is not None
    if ran.call.last:
        return grad, (grad[:, 0] * ran.sensitivity).sum()
    delta = torch.empty_like(grad)
    kernels.leaky_backward(grad.numpy(), grad.numpy().dtype.type(ran.readout_beta.item()), delta.numpy())
    return delta, (delta[:, 1:] * ran.output[:, :-1]).sum()


def _feed_forward(
    ran: Ran,
    spikes: Tensor,
    readout_delta: Tensor | None,
    current_wanted: bool,
    found: Gradients,
    beta: npt.NDArray[np.float64],
) -> None:
    """Fill `found` and `beta`, neurons shared out over threads."""
    b, t, n = ran.potential.shape
    new = ran.potential.new_empty
    delta = new((b if current_wanted else 0, t, n))
    given = (
        *ran.neuron,
        array(new((0, 0, 0)) if ran.readout is not None else spikes),
        array(new((0, n)) if ran.readout is None else ran.readout.t()),
        array(new((b, t, 0)) if readout_delta is None else readout_delta),
        array(ran.decay),
        delta.numpy(),
        array(new((0, n)) if found.weights is None else found.weights),
        array(new((n, 0)) if found.readout is None else found.readout),
        beta,
    )
    potential = ran.potential.numpy()
    spread(lambda first, last: kernels.backward(*ran.call.input, potential, *given, first, last), n, NEURONS)
    found.current = delta if current_wanted else None


def _recurrent(
    ran: Ran, spikes: Tensor, readout_delta: Tensor | None, found: Gradients, beta: npt.NDArray[np.float64]
) -> None:
    """Fill `found` and `beta`, step by step from the end: every error reaches every neuron through the step before."""
    assert ran.recurrent is not None
    b, t, n = ran.potential.shape
    call, upstream = ran.call, spikes
    if readout_delta is not None and ran.readout is not None and found.readout is not None:
        if call.last:
            readout_delta = readout_delta * ran.decay[:, None]  # (B, T, O)
        upstream = readout_delta @ ran.readout.t()
        _scatter(call.fired, readout_delta.contiguous(), 0, found.readout)
    delta, later = torch.empty_like(ran.potential), ran.potential.new_zeros((b, n))
    gradient, back, neuron = torch.empty_like(later), ran.recurrent.t().contiguous(), ran.neuron
    arrays = (gradient.numpy(), ran.potential.numpy(), *neuron, later.numpy(), delta.numpy(), beta)
    for step in range(t - 1, -1, -1):
        torch.addmm(upstream[:, step], later, back, out=gradient)
        kernels.backward_step(step, *arrays)
    found.current, found.recurrent = delta, torch.zeros_like(ran.recurrent)
    _scatter(call.fired, delta, 1, found.recurrent)
    if found.weights is not None and call.events is not None:
        _scatter(call.events, delta, 0, found.weights)


def _scatter(spikes: Spikes, delta: Tensor, delay: int, grad: Tensor) -> None:
    arrays = (spikes.indptr, spikes.index, delta.numpy(), delay, grad.numpy())
    spread(lambda first, last: kernels.scatter(*arrays, first, last), delta.shape[2], NEURONS)
