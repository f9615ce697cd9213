"""Norse: its box neurons (no synaptic current), lifted over time; matrix products over all steps at once.

Its SuperSpike surrogate is 1 / (1 + |x|)^2 whatever the slope asked for. Potentials in units of 1/25 threshold make
that the fast sigmoid of slope 25, but 25 times as high; gradients through the spikes are divided by that. A neuron
divides its input by the time constant, which is a factor on the weights.
"""

from __future__ import annotations

import torch
from norse.torch import LIBoxCell, LIBoxParameters, LIFBoxCell, LIFBoxParameters
from norse.torch.functional.reset import reset_value
from norse.torch.module.lift import Lift
from torch import Tensor

from engine.peers.torch_run import TorchRun, layers, versions
from engine.workloads import BETA, READOUT_BETA, SLOPE, THRESHOLD, Problem

DT = 0.001  # s; the decay a step is 1 - DT * tau_mem_inv
SCALE = SLOPE / (1 - BETA)
READOUT_SCALE = 1 / (1 - READOUT_BETA)


def _reset(spikes: Tensor, potential: Tensor, to: Tensor, threshold: Tensor) -> Tensor:
    """To zero, the spikes not differentiated."""
    return reset_value(spikes.detach(), potential, to, threshold)


def _lower(gradient: Tensor) -> Tensor:
    return gradient / SLOPE


def _hidden() -> LIFBoxCell:
    rate = torch.tensor((1 - BETA) / DT)
    parameters = LIFBoxParameters(tau_mem_inv=rate, v_th=torch.tensor(THRESHOLD * SLOPE), reset_method=_reset)
    return LIFBoxCell(parameters, dt=DT)


def lifted(problem: Problem) -> TorchRun:
    inputs = torch.from_numpy(problem.dense(time_first=True))  # (T, B, C)
    scale = {"weights": SCALE, "recurrent": SCALE, "readout": READOUT_SCALE}
    linear = layers(problem, **scale)
    cell = _hidden()
    readout = Lift(LIBoxCell(LIBoxParameters(tau_mem_inv=torch.tensor((1 - READOUT_BETA) / DT)), dt=DT))

    def recurrent(currents: Tensor) -> Tensor:
        spikes, state, train = None, None, []
        for current in currents:
            fed = current if spikes is None else current + linear["recurrent"](spikes)
            spikes, state = cell(fed, state)
            if spikes.requires_grad:
                spikes.register_hook(_lower)
            train.append(spikes)
        return torch.stack(train)

    lift = Lift(cell)

    def forward() -> Tensor:
        currents = linear["weights"](inputs)
        if problem.work.recurrent:
            spikes = recurrent(currents)
        else:
            spikes, _ = lift(currents)
            if spikes.requires_grad:
                spikes.register_hook(_lower)
        out, _ = readout(linear["readout"](spikes))
        return out[-1]

    return TorchRun(problem, forward, linear, scale)


VARIANTS = {"Norse": lifted}


def about() -> str:
    return versions("norse")
