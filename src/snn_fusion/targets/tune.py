"""Integer-aware fine-tuning: a few epochs with the chip's exact arithmetic forward, kept only where the chip gains.

What is tuned is held to the float network: its loss compares with that network's answers and with the labels, and the
epoch that is kept is the one that loses least against it on validation recordings, the untuned one among them. A chip
that answers as the float network does, throughout, has nothing to learn.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from snn_fusion.config import Params
from snn_fusion.network.fusion import FusionNetwork, decide
from snn_fusion.network.graph import Graph, to_nir
from snn_fusion.targets.contract import Array, Artefact, Outputs, Target, dequantised
from snn_fusion.targets.examples import example_samples
from snn_fusion.targets.fidelity import allowed
from snn_fusion.targets.from_nir import program, semantics
from snn_fusion.targets.populations import Program
from snn_fusion.targets.present import SPIKES, present_samples
from snn_fusion.targets.replay import replay
from snn_fusion.targets.teacher import answers, distance
from snn_fusion.training.batches import Samples, TrainingData, batches, epoch_samples
from snn_fusion.training.loop import THREADS, Report, loss_of, validation_views

BATCH = 128
BATCHES = 10  # an epoch
RATE = 1e-4
TEACHER = 0.5  # share of the loss that compares with the float network's answer
FIRST_EPOCH = 2000  # of samples: joins and variations that training did not see
FEW = 16  # examples by which scales are chosen within an epoch
MOST = 256  # validation recordings a view
CHUNK = 64  # recordings that a thread runs at once


@dataclass(frozen=True)
class View:
    """Validation recordings of one view with the float network's answers, (n,)."""

    samples: Samples
    answers: Array


def tune(
    target: Target, graph: Graph, params: Params, data: TrainingData, report: Report
) -> tuple[Program, dict[str, Any]]:
    """A program for `target`, and how it came about. The test split is not read."""
    torch.set_num_threads(THREADS)
    network = copy.deepcopy(graph.network)
    for beta in network.beta.values():
        beta.requires_grad_(False)  # decays lie on the chips' grid already
    optimiser = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], RATE)
    views, examples = _views(graph, data), example_samples(data, params.seed)
    inputs = present_samples(SPIKES, data, examples, graph)
    kept, most = as_program(graph, network), params.targets.max_drop
    history = [{"epoch": 0, **_compare(target, kept, inputs, graph, data, views, most)}]
    best = 0
    for epoch in range(1, params.targets.epochs + 1):
        if history[best]["agreement"] == 1:
            break  # nothing to gain
        few = {name: one[:FEW] for name, one in inputs.items()}
        loss = _epoch(target, graph, network, params, data, optimiser, few, epoch, report)
        now = as_program(graph, network)
        history.append({"epoch": epoch, "loss": loss, **_compare(target, now, inputs, graph, data, views, most)})
        if _rank(history[epoch]) < _rank(history[best]):
            kept, best = now, epoch
    return kept, {"history": history, "kept_epoch": best}


def as_program(graph: Graph, network: FusionNetwork) -> Program:
    """The network's weights with the graph's step and reset."""
    dt, reset, reset_delay = semantics(graph.meta)
    return program("tuned network", to_nir(network, dt), dt, reset, reset_delay)


def run_many(target: Target, artefact: Artefact, inputs: Mapping[str, Array]) -> Outputs:
    """`target.run` on all cores, a chunk of recordings at a time."""
    n = len(next(iter(inputs.values())))
    parts = [{k: v[i : i + CHUNK] for k, v in inputs.items()} for i in range(0, n, CHUNK)]
    if len(parts) == 1:
        return target.run(artefact, inputs)
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(lambda part: target.run(artefact, part), parts))
    joined = (
        {name: np.concatenate([getattr(one, kind)[name] for one in found]) for name in getattr(found[0], kind)}
        for kind in ("spikes", "potential")
    )
    return Outputs(*joined)


def _epoch(
    target: Target,
    graph: Graph,
    network: FusionNetwork,
    params: Params,
    data: TrainingData,
    optimiser: torch.optim.Optimizer,
    examples: Mapping[str, Array],
    epoch: int,
    report: Report,
) -> float:
    samples = epoch_samples(data, params, FIRST_EPOCH + epoch)
    total, right = 0.0, 0.0
    for i, batch in enumerate(batches(samples.part(slice(BATCH * BATCHES)), BATCH)):
        artefact = target.lower(as_program(graph, network), examples)
        found = run_many(target, artefact, present_samples(SPIKES, data, batch, graph))
        potential = {name: dequantised(artefact, name, one) for name, one in found.potential.items()}
        spikes = {name: found.spikes[name] for name in found.spikes if artefact.meta["populations"][name]["spikes"]}
        answer = replay(network, data.spikes(batch), spikes, potential)
        labels = torch.from_numpy(batch.label)
        loss = (1 - TEACHER) * loss_of(answer, labels) + TEACHER * distance(answer[:, -1], answers(graph, data, batch))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        total, right = total + loss.item(), right + float((answer[:, -1].argmax(1) == labels).float().mean())
        report(epoch, (i + 1) / BATCHES, {"loss": total / (i + 1), "accuracy": right / (i + 1)})
    return total / BATCHES


def _views(graph: Graph, data: TrainingData) -> list[View]:
    views = [samples.part(slice(MOST)) for _, samples in validation_views(data)]
    return [View(samples, decide(answers(graph, data, samples).numpy())) for samples in views]


def _compare(
    target: Target,
    made: Program,
    examples: Mapping[str, Array],
    graph: Graph,
    data: TrainingData,
    views: list[View],
    max_drop: float,
) -> dict[str, float]:
    """Right answers lost beyond what is allowed, of all views, and the mean agreement with the float network."""
    artefact = target.lower(made, examples)
    beyond, agreements = 0, []
    for view in views:
        found = run_many(target, artefact, present_samples(SPIKES, data, view.samples, graph))
        said = decide(found.potential[artefact.meta["output"]][:, -1])
        label = view.samples.label
        lost = int((view.answers == label).sum()) - int((said == label).sum())
        beyond += max(lost - allowed(len(label), max_drop), 0)
        agreements.append(float((view.answers == said).mean()))
    return {"lost_beyond_allowed": beyond, "agreement": float(np.mean(agreements))}


def _rank(one: Mapping[str, float]) -> tuple[float, float]:
    return one["lost_beyond_allowed"], -one["agreement"]
