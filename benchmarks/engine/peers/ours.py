"""SNN-Fusion: the spikes as events, the weights' gradients by torch.autograd as in the other libraries."""

from __future__ import annotations

from importlib.metadata import version

import torch
from torch.nn import functional

from engine.workloads import BETA, READOUT_BETA, SLOPE, THRESHOLD, Float32, Problem
from snn_fusion.encoding.spikes import Spikes
from snn_fusion.network.layers import SpikingReadout


class OurRun:
    """One call: forward and, in training, cross-entropy and the gradients of all weights; no optimiser step."""

    def __init__(self, problem: Problem) -> None:
        work = problem.work
        self.training, self.batch = work.training, work.batch
        self.spikes = Spikes(problem.indptr, problem.index, work.inputs)
        self.labels = torch.from_numpy(problem.labels)
        self.network = SpikingReadout(
            work.inputs,
            work.neurons,
            work.outputs,
            beta=BETA,
            readout_beta=READOUT_BETA,
            threshold=THRESHOLD,
            slope=SLOPE,
            recurrent=work.recurrent,
        )
        names = ("weights", "recurrent", "readout") if work.recurrent else ("weights", "readout")
        self.weights = {name: getattr(self.network, name) for name in names}
        with torch.no_grad():
            for name, tensor in self.weights.items():
                tensor.copy_(torch.from_numpy(getattr(problem, name)))
        for decay in (self.network.beta, self.network.readout_beta):
            decay.requires_grad_(False)  # as in the other libraries

    def __call__(self) -> None:
        if not self.training:
            with torch.inference_mode():
                self.found = {"potential": self.network(self.spikes, self.batch, last=True)}
            return
        for tensor in self.weights.values():
            tensor.grad = None
        potential = self.network(self.spikes, self.batch, last=True)
        loss = functional.cross_entropy(potential, self.labels)
        loss.backward()
        self.found = {"potential": potential, "loss": loss}

    def result(self) -> dict[str, Float32]:
        arrays = {name: tensor.detach().numpy() for name, tensor in self.found.items()}
        if self.training:
            arrays |= {name: tensor.grad.numpy() for name, tensor in self.weights.items()}
        return arrays


VARIANTS = {"SNN-Fusion": OurRun}


def about() -> str:
    return f"torch {version('torch')}, numba {version('numba')}, numpy {version('numpy')}"
