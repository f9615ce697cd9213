"""SNN-Fusion: the spikes as events, the weights' gradients by torch.autograd as in the other libraries."""

from __future__ import annotations

from importlib.metadata import version

import torch

from engine.peers.torch_run import Run
from engine.workloads import BETA, READOUT_BETA, SLOPE, THRESHOLD, Problem
from snn_fusion.encoding.spikes import Spikes
from snn_fusion.network.layers import SpikingReadout


class OurRun(Run):
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
        spikes = Spikes(problem.indptr, problem.index, work.inputs)
        super().__init__(problem, lambda: network(spikes, work.batch, last=True), weights)


VARIANTS = {"SNN-Fusion": OurRun}


def about() -> str:
    return f"torch {version('torch')}, numba {version('numba')}, numpy {version('numpy')}"
