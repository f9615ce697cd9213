"""SpikingJelly in multi-step mode: matrix products over all steps at once, its own backward pass through the neuron.

Potentials are in units of 1/25 threshold, because its SuperSpike surrogate has a height and no slope: with that unit
and alpha = 1/25 it is the fast sigmoid of slope 25 exactly. The readout divides its input by the time constant.
"""

from __future__ import annotations

import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import Tensor

from engine.peers.torch_run import TorchRun, layers, versions
from engine.workloads import BETA, READOUT_BETA, SLOPE, THRESHOLD, Problem

TAU, READOUT_TAU = 1 / (1 - BETA), 1 / (1 - READOUT_BETA)


def _hidden(step_mode: str) -> neuron.LIFNode:
    return neuron.LIFNode(
        tau=TAU,
        decay_input=False,
        v_threshold=THRESHOLD * SLOPE,
        v_reset=0.0,
        surrogate_function=surrogate.SuperSpike(alpha=1 / SLOPE),
        detach_reset=True,
        step_mode=step_mode,
    )


def multi_step(problem: Problem) -> TorchRun:
    inputs = torch.from_numpy(problem.dense(time_first=True))  # (T, B, C)
    scale = {"weights": SLOPE, "recurrent": SLOPE, "readout": READOUT_TAU}
    linear = layers(problem, **scale)
    readout = neuron.NonSpikingLIFNode(tau=READOUT_TAU, decode="last_mem")
    if problem.work.recurrent:
        feedback = linear["recurrent"]
        hidden = layer.ElementWiseRecurrentContainer(
            _hidden("s"), lambda spikes, current: current + feedback(spikes), step_mode="m"
        )
    else:
        hidden = _hidden("m")

    def forward() -> Tensor:
        functional.reset_net(hidden)
        out: Tensor = readout(linear["readout"](hidden(linear["weights"](inputs))))
        return out

    return TorchRun(problem, forward, linear, scale)


VARIANTS = {"SpikingJelly": multi_step}


def about() -> str:
    return versions("spikingjelly")
