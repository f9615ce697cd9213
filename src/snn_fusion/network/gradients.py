"""The chain rule through a layer over time and its readout, written out: no graph of T steps is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from snn_fusion.encoding.spikes import Spikes
from snn_fusion.network import backward_kernels as kernels
from snn_fusion.network.call import Array, Call, array, packed, per_neuron, room
from snn_fusion.network.lanes import WIDTH
from snn_fusion.network.threads import spread


class Wanted(NamedTuple):
    """Which gradients somebody asks for, beside those of the weights."""

    current: bool
    sources: bool
    beta: bool
    readout_beta: bool


@dataclass(frozen=True)
class Ran:
    """What a forward pass left: parameters as in `scan.scan`, the rest as in `scan.Passed`."""

    call: Call
    weights: Tensor | None
    recurrent: Tensor | None
    beta: Tensor
    readout: Tensor | None
    readout_beta: Tensor | None
    potential: Array
    output: Array | None
    trace: Array | None
    sensitivity: Array | None

    @property
    def neurons(self) -> int:
        return self.call.fired.neurons

    @property
    def neuron(self) -> tuple[Any, ...]:
        """Decays, threshold, slope, reset."""
        call = self.call
        return per_neuron(self.beta, self.neurons), call.threshold, call.slope, call.reset_code

    @property
    def decay(self) -> Array:
        """What a readout current of each step leaves in the last potential, (T,)."""
        assert self.readout_beta is not None
        left = np.arange(self.call.steps - 1, -1, -1, dtype=self.potential.dtype)
        decay: Array = self.potential.dtype.type(self.readout_beta.item()) ** left
        return decay

    def empty(self, *shape: int) -> Array:
        return room(*shape, dtype=self.potential.dtype)

    def spread(self, kernel: Any, given: tuple[Any, ...], operations: int) -> None:
        """A kernel's work, shared out over blocks of neurons."""
        k = len(self.potential)
        spread(lambda first, last: kernel(*given, first, last), k, k * operations)


@dataclass
class Gradients:
    current: Array | None = None  # (B, T, N)
    weights: Array | None = None
    recurrent: Array | None = None
    beta: Array | None = None
    readout: Array | None = None
    readout_beta: Array | None = None


def of_layer(ran: Ran, grad: Tensor, wanted: Wanted) -> Gradients:
    """From the gradient of the spikes (B, T, N), or that of the readout's potentials, to those of all parameters."""
    found, upstream = Gradients(), array(grad)
    outside = _outside(ran, upstream) if ran.readout is None else _through_readout(ran, upstream, wanted, found)
    current_wanted = wanted.current or wanted.sources
    run = _feed_forward if ran.recurrent is None else _recurrent
    beta = run(ran, outside, current_wanted, found)
    if wanted.beta:
        each = beta[: ran.neurons] if ran.beta.ndim else beta.sum()
        found.beta = each.astype(ran.potential.dtype)
    return found


def of_sources(ran: Ran, current: Array | None, wanted: list[bool]) -> list[Tensor | None]:
    """Gradients of the sources' spikes; 0 for recordings in which a source had no input, since nothing leads on."""
    sent: list[Tensor | None] = [None] * len(wanted)
    if current is None or ran.weights is None:
        return sent
    error, ends = torch.from_numpy(current), np.cumsum(ran.call.sizes)
    for i, (active, size) in enumerate(zip(ran.call.sources, ran.call.sizes, strict=True)):
        if not wanted[i]:
            continue
        back = ran.weights[ends[i] - size : ends[i]].t()
        if active.all():
            sent[i] = error @ back
        else:
            rows = torch.from_numpy(np.flatnonzero(active))
            grad = error.new_zeros((*error.shape[:2], size))
            grad[rows] = error[rows] @ back
            sent[i] = grad
    return sent


Outside = tuple[Array, Array, Array, Array]  # what kernels take: `upstream`, `readout`, `readout_delta`, `decay`


def _outside(ran: Ran, upstream: Array) -> Outside:
    """Without a readout."""
    b, t, _ = upstream.shape
    return upstream, ran.empty(len(ran.potential), 0, WIDTH), ran.empty(b, t, 0), ran.empty(t)


def _through_readout(ran: Ran, grad: Array, wanted: Wanted, found: Gradients) -> Outside:
    """Fill in the gradients of the readout's weights and decay."""
    assert ran.readout is not None and ran.readout_beta is not None and ran.output is not None
    none, outward = ran.empty(0, 0, ran.neurons), packed(ran.readout.t())
    found.readout = np.empty(ran.readout.shape, grad.dtype)
    if ran.call.last:
        assert ran.trace is not None
        kernels.outer(ran.trace, grad[:, 0], found.readout)
        if ran.sensitivity is not None:
            found.readout_beta = (grad[:, 0] * ran.sensitivity).sum()
        return none, outward, grad, ran.decay
    delta = np.empty_like(grad)
    kernels.leaky(grad, grad.dtype.type(ran.readout_beta.item()), delta)
    given = (ran.call.active, ran.call.fired.bits, delta, found.readout)
    ran.spread(kernels.readout, given, 6 * ran.call.rows)
    if wanted.readout_beta:
        found.readout_beta = (delta[:, 1:] * ran.output[:, :-1]).sum()
    return none, outward, delta, np.ones(grad.shape[1], grad.dtype)


def _feed_forward(ran: Ran, outside: Outside, current_wanted: bool, found: Gradients) -> Array:
    """Fill `found` in; the gradient of each neuron's decay."""
    b, t, n = ran.call.recordings, ran.call.steps, ran.neurons
    delta, beta = ran.empty(b if current_wanted else 0, t, n), np.zeros(len(ran.potential) * WIDTH)
    grad = np.empty((0 if ran.weights is None else len(ran.weights), n), delta.dtype)
    left = (delta, ran.empty(len(ran.potential), len(grad), WIDTH), grad, beta)
    outputs = 0 if ran.call.last else outside[1].shape[1]
    operations = 2 * ran.call.spikes_in + ran.call.rows * (8 + outputs)
    ran.spread(kernels.layer, (*ran.call.input, ran.potential, *ran.neuron, *outside, *left), operations)
    found.current = delta if current_wanted else None
    found.weights = None if ran.weights is None else grad
    return beta


def _recurrent(ran: Ran, outside: Outside, current_wanted: bool, found: Gradients) -> Array:
    """The same, step by step from the end: every error reaches every neuron through the step before."""
    assert ran.recurrent is not None
    b, t, n = ran.call.recordings, ran.call.steps, ran.neurons
    k = len(ran.potential)
    delta, each = ran.empty(*ran.potential.shape), np.zeros((b, k * WIDTH), ran.potential.dtype)
    given = (ran.potential, *ran.neuron, *outside, packed(ran.recurrent.t()), delta, each)
    spread(lambda first, last: kernels.recurrent_layer(*given, first, last), b, k * ran.call.rows * n)
    found.recurrent = _scattered(ran, ran.call.fired.events, delta, 1)
    if ran.weights is not None and ran.call.events is not None:
        found.weights = _scattered(ran, ran.call.events, delta, 0)
    if current_wanted:
        current = found.current = ran.empty(b, t, n)
        spread(lambda first, last: kernels.unpack(delta, current, first, last), b, 2 * k * ran.call.rows)
    total: Array = each.sum(0, dtype=np.float64)
    return total


def _scattered(ran: Ran, spikes: Spikes, delta: Array, delay: int) -> Array:
    """Gradient of the weights (channels, N) that the spikes meet."""
    grad = np.empty((spikes.channels, ran.neurons), delta.dtype)
    given = (spikes.indptr, spikes.index, delta, delay, ran.empty(len(delta), len(grad), WIDTH), grad)
    ran.spread(kernels.scatter, given, 2 * len(spikes.index) + ran.call.rows)
    return grad
