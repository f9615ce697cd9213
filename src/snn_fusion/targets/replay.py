"""A network with the values that a chip computed, and gradients as if it had computed them itself.

Straight-through: forward are the chip's own spikes and potentials, to the bit; backward is the surrogate gradient
(Neftci et al. 2019) at these potentials, through the network's floating-point weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snn_fusion.data.recording import Sense
from snn_fusion.encoding.spikes import Spikes
from snn_fusion.network.engine import gather
from snn_fusion.network.fusion import JOINT, READOUT, FusionNetwork
from snn_fusion.targets.contract import Array


def replay(
    network: FusionNetwork, inputs: Mapping[Sense, Spikes], spikes: Mapping[str, Array], potential: Mapping[str, Array]
) -> Tensor:
    """The chip's readout potential (n, T, classes), with gradients to the network's weights.

    `spikes` and `potential` (n, T, N) by layer, potentials in the network's own unit. What comes back over a recurrent
    matrix counts as given.
    """
    fired = {name: torch.from_numpy(np.asarray(one, np.float32)) for name, one in spikes.items()}
    u = {name: torch.from_numpy(np.asarray(one, np.float32)) for name, one in potential.items()}

    def layer(name: str, current: Tensor) -> Tensor:
        if name in network.recurrent:
            before = torch.cat([torch.zeros_like(fired[name][:, :1]), fired[name][:, :-1]], 1)
            current = current + before @ network.recurrent[name]
        beta, threshold = float(network.beta[name]), network.params.threshold
        sent: Tensor = _Replayed.apply(current, u[name], fired[name], beta, threshold, network.slope)  # type: ignore[no-untyped-call]
        return sent

    n, steps = next(iter(fired.values())).shape[:2]
    joint: Tensor | float = 0.0
    for sense in network.senses:
        if sense in inputs:
            current = gather(inputs[sense], network.input[sense]).view(n, steps, -1)
            joint = joint + layer(sense, current) @ network.joint[sense]
    assert isinstance(joint, Tensor)
    outer = layer(JOINT, joint) @ network.readout
    answer: Tensor = _Replayed.apply(outer, u[READOUT], None, float(network.beta[READOUT]), 0.0, 0.0)  # type: ignore[no-untyped-call]
    return answer


class _Replayed(torch.autograd.Function):
    """A layer's input current -> its spikes, or its potential where there are no spikes, as the chip had them."""

    @staticmethod
    def forward(
        ctx: Any, current: Tensor, u: Tensor, fired: Tensor | None, beta: float, threshold: float, slope: float
    ) -> Tensor:
        ctx.u, ctx.fired, ctx.numbers = u, fired, (beta, threshold, slope)
        return u.clone() if fired is None else fired.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (grad,), (beta, threshold, slope) = grads, ctx.numbers
        if ctx.fired is None:
            own, kept = grad, torch.full_like(grad, beta)
        else:
            # snnTorch's fast sigmoid, the surrogate that the network was trained with; the reset is not differentiated.
            own = grad / (slope * (ctx.u - threshold).abs() + 1) ** 2
            kept = beta * (1 - ctx.fired)
        out = torch.empty_like(own)
        later = torch.zeros_like(own[:, 0])
        for t in range(own.shape[1] - 1, -1, -1):
            later = own[:, t] + kept[:, t] * later
            out[:, t] = later
        return out, None, None, None, None, None
