"""Sinabs: its layers take the whole sequence, so the matrix products are over all steps at once."""

from __future__ import annotations

import torch
from sinabs.activation import MembraneReset, SingleSpike
from sinabs.layers import LIF, ExpLeak, LIFRecurrent
from torch import Tensor

from engine.peers.torch_run import TorchRun, layers, versions
from engine.workloads import BETA, READOUT_BETA, SLOPE, THRESHOLD, Problem


def fast_sigmoid(potential: Tensor, threshold: Tensor) -> Tensor:
    """Gradient of a spike; Sinabs takes any function of potential and threshold here."""
    return 1 / (SLOPE * (potential - threshold).abs() + 1) ** 2


def _with_decay(layer: LIF, beta: float) -> LIF:
    """The decay itself, not exp(-1 / tau), which rounds; not learnt, as in the other libraries."""
    layer.alpha_mem.data.fill_(beta)
    layer.alpha_mem.requires_grad_(False)
    return layer


def whole_sequence(problem: Problem) -> TorchRun:
    inputs = torch.from_numpy(problem.dense(time_first=False))  # (B, T, C)
    linear = layers(problem)
    neuron = {
        "tau_mem": 10.0,  # replaced by the decay below
        "spike_threshold": torch.tensor(THRESHOLD),
        "spike_fn": SingleSpike,
        "reset_fn": MembraneReset(),
        "surrogate_grad_fn": fast_sigmoid,
        "train_alphas": True,
        "norm_input": False,
    }
    if problem.work.recurrent:
        hidden = _with_decay(LIFRecurrent(rec_connect=linear["recurrent"], **neuron), BETA)
    else:
        hidden = _with_decay(LIF(**neuron), BETA)
    readout = _with_decay(ExpLeak(tau_mem=10.0, train_alphas=True, norm_input=False), READOUT_BETA)

    def forward() -> Tensor:
        for layer in (hidden, readout):
            layer.reset_states()
        out: Tensor = readout(linear["readout"](hidden(linear["weights"](inputs))))
        return out[:, -1]

    return TorchRun(problem, forward, linear)


VARIANTS = {"Sinabs": whole_sequence}


def about() -> str:
    return versions("sinabs")
