"""A model that is served: the float network, or a chip's exact arithmetic of it, fed a step at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from snn_fusion.data.recording import Sense
from snn_fusion.encoding.encoder import channels
from snn_fusion.encoding.spikes import Spikes
from snn_fusion.errors import BadInput
from snn_fusion.network.graph import Graph, load_graph
from snn_fusion.network.live import Live, State
from snn_fusion.registry.seals import check_evaluation
from snn_fusion.targets.artefact import load_artefact
from snn_fusion.targets.compile import target
from snn_fusion.targets.contract import Artefact, Target, dequantised
from snn_fusion.targets.present import present
from snn_fusion.validation.drift import Profile

Potentials = npt.NDArray[Any]


class Network(Protocol):
    """Whatever answers: state in, rows of base spikes in, the readout's potential after each step out."""

    def rest(self) -> Any: ...

    def advance(self, state: Any, rows: Mapping[Sense, Spikes], steps: int) -> Potentials: ...


@dataclass
class Fed:
    """The state of a recording on a chip: the base spikes until now. Its simulators run from rest, and are causal.

    `spikes` stays empty: a chip's layers have rates of their own, which compare with no profile.
    """

    seen: dict[Sense, Spikes]
    step: int = 0
    spikes: dict[str, int] = field(default_factory=dict)


class OnChip:
    """A compiled network in its chip's arithmetic, to the bit: the recording until now is run again with each chunk."""

    def __init__(self, graph: Graph, artefact: Artefact, chip: Target) -> None:
        self.graph, self.artefact, self.chip = graph, artefact, chip

    def rest(self) -> Fed:
        code = self.graph.encoding
        return Fed({s: Spikes.empty(0, channels(code, s)) for s in self.graph.network.senses})

    def advance(self, state: Fed, rows: Mapping[Sense, Spikes], steps: int) -> Potentials:
        """(steps, classes), in the network's unit. A network of windows shows its answer so far in every step."""
        total = self.graph.encoding.steps
        for sense, seen in state.seen.items():
            state.seen[sense] = Spikes.concatenate([seen, rows.get(sense, Spikes.empty(steps, seen.channels))])
        state.step += steps
        padded = {
            s: Spikes.concatenate([one, Spikes.empty(total - one.rows, one.channels)]) for s, one in state.seen.items()
        }
        found = self.chip.run(self.artefact, present(self.artefact.meta["presentation"], padded, 1, self.graph))
        output = self.artefact.meta["output"]
        potential: Potentials = dequantised(self.artefact, output, found.potential[output])[0]
        if len(potential) != total:
            return np.repeat(potential[-1:], steps, axis=0)
        return potential[state.step - steps : state.step]


@dataclass(frozen=True)
class Model:
    """`version`: the registry's number or a path; `accuracy[view]`: measured after each step, (steps,) or empty.

    `profile`: rates of spikes on the training recordings, where they are known (registry/rates.py); `artefact`: the
    digest of what was compiled.
    """

    version: str
    graph: Graph
    network: Network
    arithmetic: str
    accuracy: Mapping[str, list[float]]
    profile: Profile | None = None
    artefact: str = ""

    @property
    def classes(self) -> tuple[str, ...]:
        return self.graph.classes


def float_model(folder: Path, version: str, evaluation: Path | None = None) -> Model:
    """The float network of a graph folder. Raises BadInput."""
    graph = load_graph(folder)
    return Model(version, graph, Live(graph), "float", _accuracy(evaluation, graph))


def chip_model(folder: Path, version: str, compiled: Path, evaluation: Path | None = None) -> Model:
    """A compiled artefact of the graph in `folder`. Raises BadInput."""
    graph, artefact = load_graph(folder), load_artefact(compiled)
    on_chip = OnChip(graph, artefact, target(artefact.target))
    digest = (compiled / "digest").read_text().strip()
    return Model(version, graph, on_chip, artefact.target, _accuracy(evaluation, graph), artefact=digest)


def _accuracy(evaluation: Path | None, graph: Graph) -> Mapping[str, list[float]]:
    """What the evaluation of this network says. Raises BadInput if it is of another one."""
    if evaluation is None or not evaluation.exists():
        return {}
    check_evaluation(evaluation, graph.digest, graph.weights_digest)
    found: Mapping[str, list[float]] | None = json.loads(evaluation.read_text()).get("accuracy_by_step")
    if found is None:
        raise BadInput(
            evaluation, "has no `accuracy_by_step`", "run `snn-fusion evaluate` and register the version again"
        )
    return found


__all__ = ["Fed", "Model", "Network", "OnChip", "State", "chip_model", "float_model"]
