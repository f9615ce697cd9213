"""Akida's layers in whole numbers, many recordings at once, to the bit.

U = sum over connections of what `source` sent `delay` steps ago times weights, + bias
sends min(levels, max(0, ceil((U - threshold) / step)));  a readout gives U
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from snn_fusion.errors import BadInput
from snn_fusion.targets.akida import limits
from snn_fusion.targets.contract import Artefact, Outputs
from snn_fusion.targets.inputs import named_inputs
from snn_fusion.targets.synapses import arrive

Int32 = npt.NDArray[np.int32]


def simulate(artefact: Artefact, inputs: Mapping[str, npt.NDArray[Any]]) -> Outputs:
    """Run on (n, T, channels) of whole numbers for each input; before step 0 nothing was sent. Raises BadInput."""
    meta, arrays = artefact.meta, artefact.arrays
    sent = whole_inputs(artefact, inputs)
    n, steps = next(iter(sent.values())).shape[:2]
    potential: dict[str, Int32] = {}
    for name in meta["order"]:
        one = meta["populations"][name]
        u = np.zeros((n, steps, one["size"]), np.int32) + arrays[f"{name}.bias"]
        for i, way in enumerate(one["incoming"]):
            weights = [arrays[f"{name}.{i}.{part}"] for part in ("indptr", "indices", "weights")]
            arrive(sent[way["source"]], 0, way["delay"], *weights, u)
        potential[name] = u
        above = -((arrays[f"{name}.threshold"] - u) // arrays[f"{name}.step"])  # ceil of (U - threshold) / step
        sent[name] = np.clip(above, 0, one["levels"]).astype(np.int32)
    return Outputs({name: sent[name] for name in meta["order"]}, potential)


def whole_inputs(artefact: Artefact, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, Int32]:
    """The inputs as whole numbers that the chip can take. Raises BadInput naming what is wrong."""
    chip, found = limits.VERSIONS[artefact.meta["version"]], {}
    for name, values in named_inputs(inputs, artefact.meta["inputs"]).items():
        found[name] = values.astype(np.int32)
        if (found[name] != values).any():
            raise BadInput(f"input {name}", "holds fractions", "Akida takes whole numbers")
        low, high = int(found[name].min(initial=0)), int(found[name].max(initial=0))
        if low < chip.input_low or high > chip.input_high:
            problem = f"holds {low} ... {high}"
            raise BadInput(f"input {name}", problem, f"{chip.input_low} ... {chip.input_high} is what the chip takes")
    return found
