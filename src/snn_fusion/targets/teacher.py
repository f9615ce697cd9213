"""The float network as the teacher of what a chip runs in its place (Hinton et al. 2015)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from snn_fusion.network.graph import Graph
from snn_fusion.training.batches import Samples, TrainingData


def answers(graph: Graph, data: TrainingData, samples: Samples) -> Tensor:
    """The float network's last potentials, (n, classes)."""
    return torch.from_numpy(graph.network.run(data.spikes(samples), len(samples)).potential[:, -1])


def distance(answer: Tensor, teacher: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the answers' softmax from the teacher's; potentials (n, classes) each."""
    wanted = functional.softmax(teacher, 1)
    return functional.kl_div(functional.log_softmax(answer, 1), wanted, reduction="batchmean")
