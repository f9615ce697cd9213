"""Which tuning makes which targets' programs."""

from __future__ import annotations

from typing import Any

import snn_fusion.targets.akida.tune as windowed
from snn_fusion.config import Params
from snn_fusion.network.graph import Graph
from snn_fusion.targets.compile import target
from snn_fusion.targets.populations import Program
from snn_fusion.targets.present import SPIKES, windows
from snn_fusion.targets.tune import tune
from snn_fusion.training.batches import TrainingData
from snn_fusion.training.loop import Report

Tuned = dict[str, tuple[Program, dict[str, Any]]]


def tune_family(family: str, graph: Graph, params: Params, data: TrainingData, report: Report) -> Tuned:
    """By target, a program that the chip holds exactly, with how recordings are presented to it."""
    if family == "akida":
        made = windowed.tune(graph, params, data, report)
        versions = windowed.versions(made, windowed.presentation(graph))
        return {name: (program, {"presentation": windows(how)}) for name, (program, how) in versions.items()}
    program, history = tune(target(family), graph, params, data, report)
    return {family: (program, {"presentation": SPIKES, "tuning": history})}
