"""snnTorch: the loop over time of its tutorials, and the same with both matrix products taken out of the loop."""

from __future__ import annotations

import snntorch
import torch
from snntorch import surrogate
from torch import Tensor

from engine.peers.torch_run import TorchRun, layers, versions
from engine.workloads import BETA, READOUT_BETA, SLOPE, THRESHOLD, Problem


def _neurons() -> tuple[snntorch.Leaky, snntorch.Leaky]:
    """The hidden layer and the readout, which never resets."""
    spike = surrogate.fast_sigmoid(slope=SLOPE)
    hidden = snntorch.Leaky(beta=BETA, threshold=THRESHOLD, spike_grad=spike, reset_mechanism="zero")
    return hidden, snntorch.Leaky(beta=READOUT_BETA, spike_grad=spike, reset_mechanism="none")


def loop(problem: Problem) -> TorchRun:
    """As documented: every layer in every step."""
    inputs = torch.from_numpy(problem.dense(time_first=True))  # (T, B, C)
    layer, (hidden, readout) = layers(problem), _neurons()
    recurrent = layer.get("recurrent")

    def forward() -> Tensor:
        potential, out = hidden.reset_mem(), readout.reset_mem()
        spikes = None
        for now in inputs:
            current = layer["weights"](now)
            if recurrent is not None and spikes is not None:
                current = current + recurrent(spikes)
            spikes, potential = hidden(current, potential)
            _, out = readout(layer["readout"](spikes), out)
        return out

    return TorchRun(problem, forward, layer)


def hoisted(problem: Problem) -> TorchRun:
    """Not in its documentation: one matrix product for all steps before the loop, one after it."""
    inputs = torch.from_numpy(problem.dense(time_first=True))  # (T, B, C)
    layer, (hidden, readout) = layers(problem), _neurons()
    recurrent = layer.get("recurrent")

    def forward() -> Tensor:
        potential, out = hidden.reset_mem(), readout.reset_mem()
        spikes, train = None, []
        for current in layer["weights"](inputs):
            if recurrent is not None and spikes is not None:
                current = current + recurrent(spikes)
            spikes, potential = hidden(current, potential)
            train.append(spikes)
        for current in layer["readout"](torch.stack(train)):
            _, out = readout(current, out)
        return out

    return TorchRun(problem, forward, layer)


VARIANTS = {"snnTorch": loop, "snnTorch, hoisted": hoisted}


def about() -> str:
    return versions("snntorch")
