"""A compiled network beside the float network that it came from: the same recordings, under every condition."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from snn_fusion.benchmark.conditions import CONDITIONS, VIEWS, View
from snn_fusion.benchmark.presentations import Presentation, presentations
from snn_fusion.benchmark.recordings import Job, Levels
from snn_fusion.benchmark.testset import Key
from snn_fusion.data.manifest import Row
from snn_fusion.network.fusion import decide
from snn_fusion.network.graph import Graph
from snn_fusion.targets.contract import Array, Artefact, Measurement, Outputs, Target
from snn_fusion.targets.fidelity import allowed
from snn_fusion.targets.present import present
from snn_fusion.targets.tune import run_many

Float64 = npt.NDArray[np.float64]
Case = tuple[str, View]  # condition and view
Answer = tuple[str, int, int, int]  # recording, true class, and those that the float network and the chip answer
Rates = Mapping[str, Sequence[Float64]]  # by layer, how often each neuron spiked in the float network, and on the chip


@dataclass
class Porting:
    """Runs batches on both and gathers what each answered and how often each neuron spiked."""

    graph: Graph
    target: Target
    artefact: Artefact
    singles: Mapping[Key, Row]
    view: View | None  # whose clean recordings the target's profile is of; None: it is not wanted
    answers: dict[Case, list[Answer]] = field(default_factory=lambda: defaultdict(list))
    rates: dict[Case, dict[str, list[Float64]]] = field(default_factory=dict)
    measurements: Sequence[Measurement] = ()
    seconds: float = 0.0
    runs: int = 0

    def batch(self, rows: Sequence[Row], spikes: Mapping[Job, Levels]) -> None:
        """Both networks' answers to rows of the same senses, in all that they are shown in."""
        for shown in presentations(rows, spikes, self.singles, self.graph.encoding):
            self._run(shown)

    def _run(self, shown: Presentation) -> None:
        n = len(shown.rows)
        with torch.no_grad():
            readout, layers = self.graph.network(shown.inputs, n)
        inputs = present(self.artefact.meta["presentation"], shown.base, n, self.graph)
        started = time.perf_counter()
        found = run_many(self.target, self.artefact, inputs)
        self.seconds, self.runs = self.seconds + time.perf_counter() - started, self.runs + n
        chip, labels = found.potential[self.artefact.meta["output"]], shown.labels(self.graph.classes).tolist()
        steps, ids = readout.shape[1], [row.id for row in shown.rows]
        for condition in shown.conditions:
            if condition.percent == 100 or chip.shape[1] == steps:  # windows are no steps to stop after
                at = condition.step(steps)
                floats, chips = decide(readout[:, at].numpy()), decide(chip[:, at if chip.shape[1] == steps else -1])
                answered = zip(ids, labels, floats.tolist(), chips.tolist(), strict=True)
                self.answers[condition.name, shown.view] += answered
        case = (shown.conditions[0].name, shown.view)
        self._count(case, {name: one.per_neuron() for name, one in layers.items()}, found)
        if case == ("clean", self.view) and not self.measurements:
            self.measurements = self.target.profile(self.artefact, inputs, found)

    def _count(self, case: Case, floats: Mapping[str, Array], found: Outputs) -> None:
        """Spikes of each neuron of the layers that both have; a network of windows has others."""
        if self.artefact.meta["presentation"]["kind"] == "windows":
            return
        for name, counts in floats.items():
            if name in found.spikes and found.spikes[name].shape[2] == len(counts):
                mine = np.asarray(found.spikes[name].sum(axis=(0, 1)), np.float64)
                both = self.rates.setdefault(case, {}).setdefault(name, [np.zeros_like(mine), np.zeros_like(mine)])
                both[0] += counts
                both[1] += mine

    def fidelity(self, max_drop: float) -> dict[str, dict[str, Any]]:
        """fidelity[condition][view]: right answers of both, agreement, and whether no more was lost than allowed."""
        found: dict[str, dict[str, Any]] = {}
        for condition, view in ((c.name, v) for c in CONDITIONS for v in VIEWS if (c.name, v) in self.answers):
            case = condition, view
            found.setdefault(condition, {})[view] = compared(self.answers[case], self.rates.get(case, {}), max_drop)
        return found


def compared(answers: Sequence[Answer], rates: Rates, max_drop: float) -> dict[str, Any]:
    """The entry of `fidelity` that these answers and rates make."""
    _, labels, floats, chips = (np.array(one) for one in zip(*answers, strict=True))
    n, lost = len(labels), int((floats == labels).sum() - (chips == labels).sum())
    return {
        "n": n,
        "float": float((floats == labels).mean()),
        "chip": float((chips == labels).mean()),
        "lost": lost,
        "allowed": allowed(n, max_drop),
        "passed": lost <= allowed(n, max_drop),
        "agreement": float((floats == chips).mean()),
        "rate_cosine": {layer: cosine(*both) for layer, both in rates.items()},
    }


def cosine(a: Float64, b: Float64) -> float:
    """Of the angle between two layers' spike counts; two silent layers are the same."""
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / lengths if lengths else float(not a.any() and not b.any())
