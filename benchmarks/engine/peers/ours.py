"""SNN-Fusion: the spikes as events, the weights' gradients by torch.autograd as in the other libraries.

All threads are the kernels', as docs/engine.md advises for small steps: there is no other work for torch but the loss.

Answers come from the network frozen, as a user who wants them fast would have it, and beside that from the module.
"""

from __future__ import annotations

from importlib.metadata import version

import torch

from engine.driver import MODULE, OURS
from engine.peers.torch_run import Run
from engine.worker import THREADS
from engine.workloads import BETA, READOUT_BETA, SLOPE, THRESHOLD, Float32, Problem
from snn_fusion.encoding.spikes import Spikes
from snn_fusion.network import threads
from snn_fusion.network.layers import SpikingReadout

threads.use(THREADS)
torch.set_num_threads(1)


class ModuleRun(Run):
    """The spikes come as events, the weights are (source, target) already."""

    def __init__(self, problem: Problem) -> None:
        work = problem.work
        network = SpikingReadout(
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
        weights = {name: getattr(network, name) for name in names}
        with torch.no_grad():
            for name, tensor in weights.items():
                tensor.copy_(torch.from_numpy(getattr(problem, name)))
        for decay in (network.beta, network.readout_beta):
            decay.requires_grad_(False)  # as in the other libraries
        self.network, self.spikes = network, Spikes(problem.indptr, problem.index, work.inputs)
        super().__init__(problem, lambda: network(self.spikes, work.batch, last=True), weights)


class OurRun(ModuleRun):
    """Training by the module, answers by what it freezes to."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.frozen, self.batch = self.network.frozen(), problem.work.batch

    def __call__(self) -> None:
        if self.training:
            super().__call__()
        else:
            self.answer = self.frozen(self.spikes, self.batch)

    def result(self) -> dict[str, Float32]:
        return super().result() if self.training else {"potential": self.answer}


VARIANTS = {OURS: OurRun, MODULE: ModuleRun}


def about() -> str:
    return f"torch {version('torch')}, numba {version('numba')}, numpy {version('numpy')}"
