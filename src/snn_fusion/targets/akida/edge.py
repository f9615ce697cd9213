"""Learning at the edge: a last layer of binary synapses, by Akida's own rule, from recordings that the device meets.

The compiled network up to a layer stays as it is and gives features; the rule (akida's `AkidaUnsupervised`, version 1
only) wants them binary. What was learned is an artefact as any other: `run` computes it, `conform` holds it to akida.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from snn_fusion.errors import BadInput
from snn_fusion.targets.akida.simulate import whole_inputs
from snn_fusion.targets.akida.target import call
from snn_fusion.targets.contract import Artefact

NAME = "edge"


@dataclass(frozen=True)
class Rule:
    """`neurons` a class, each with `num_weights` synapses; the others are akida's, as it documents them.

    `layer` of the chain whose activations are the features (1: the first); one counts from `level` up.
    """

    neurons: int = 8
    num_weights: int = 100
    learning_competition: float = 0.1
    min_plasticity: float = 0.1
    plasticity_decay: float = 0.25
    layer: int = 1
    level: int = 1
    seed: int = 0


def learn(
    artefact: Artefact,
    inputs: Mapping[str, npt.NDArray[Any]],
    labels: npt.NDArray[np.integer[Any]],
    classes: int,
    rule: Rule | None = None,
) -> Artefact:
    """The network with a last layer learned from inputs (n, 1, channels) with labels (n,), in their order.

    Raises BadInput, ToolchainFailed, ToolchainMissing.
    """
    rule = rule or Rule()
    if artefact.meta["version"] != 1:
        raise BadInput(artefact.target, "learns at the edge in version 1 only", "compile for that")
    if not 1 <= rule.layer < len(artefact.meta["chain"]) - 1:
        last = len(artefact.meta["chain"]) - 2
        raise BadInput(f"layer {rule.layer}", "gives no activations to learn from", f"take one of 1 ... {last}")
    whole, labels = whole_inputs(artefact, inputs), np.asarray(labels, np.int32)
    frames = {name: values.shape[:2] for name, values in whole.items()}
    if set(frames.values()) != {(len(labels), 1)}:
        raise BadInput("inputs", f"{len(labels)} labels, but frames {frames}", "one frame a recording, one label each")
    features = _features(artefact, rule)
    more = {f"input.{name}": values for name, values in whole.items()} | {"labels": labels}
    found = call(features, {"do": "learn", "classes": classes, **asdict(rule)}, more)["weights"]
    return _with_layer(features, found, classes, rule)


def decide(potential: npt.NDArray[Any], artefact: Artefact) -> npt.NDArray[np.int64]:
    """The class whose neuron has the highest potential, (..., classes * neurons) -> (...)."""
    answer: npt.NDArray[np.int64] = np.argmax(potential, axis=-1) // artefact.meta["edge"]["neurons"]
    return answer


def _features(artefact: Artefact, rule: Rule) -> Artefact:
    """The network up to the layer, that one's neurons binary."""
    chain = artefact.meta["chain"][: rule.layer + 1]
    kept = [name for name in artefact.meta["order"] if any(name in names for names in chain)]
    populations = {name: artefact.meta["populations"][name] for name in kept}
    arrays = {key: a for key, a in artefact.arrays.items() if key.split(".")[0] in kept}
    for name in chain[-1]:
        populations[name] = {**populations[name], "levels": 1}
        step = arrays[f"{name}.step"]
        arrays[f"{name}.threshold"] = arrays[f"{name}.threshold"] + (rule.level - 1) * step
        arrays[f"{name}.step"] = np.ones_like(step)
    meta = {**artefact.meta, "chain": chain, "order": kept, "populations": populations, "output": chain[-1][0]}
    return Artefact(artefact.target, meta, arrays)


def _with_layer(features: Artefact, weights: npt.NDArray[Any], classes: int, rule: Rule) -> Artefact:
    meta, arrays = dict(features.meta), dict(features.arrays)
    sources = meta["chain"][-1]
    ends = np.cumsum([meta["populations"][name]["size"] for name in sources])[:-1]
    for i, part in enumerate(np.split(weights, ends)):
        rows = csr_array(part)
        for key, values in (("indptr", rows.indptr), ("indices", rows.indices), ("weights", rows.data)):
            arrays[f"{NAME}.{i}.{key}"] = values.astype(np.int32)
    size = weights.shape[1]
    arrays |= {f"{NAME}.{key}": np.zeros(size, np.int32) for key in ("bias", "threshold", "bias_shift")}
    arrays[f"{NAME}.step"] = np.ones(size, np.int32)
    incoming = [{"source": name, "delay": 0} for name in sources]
    one = {"size": size, "spikes": False, "levels": 0, "scale": 1.0, "incoming": incoming}
    meta |= {
        "chain": [*meta["chain"], [NAME]],
        "order": [*meta["order"], NAME],
        "populations": {**meta["populations"], NAME: one},
        "output": NAME,
        "edge": {"classes": classes, "neurons": rule.neurons},
    }
    return Artefact(features.target, meta, arrays)
