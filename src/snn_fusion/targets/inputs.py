"""What a compiled network is given: one array an input, all of the same recordings and steps."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snn_fusion.errors import BadInput
from snn_fusion.targets.contract import Array


def named_inputs(inputs: Mapping[str, Array], channels: Mapping[str, int]) -> dict[str, Array]:
    """Each input of `channels` as (n, T, channels). Raises BadInput naming what is missing or of another shape.

    What values a chip takes, it checks itself.
    """
    found = {}
    for name, size in channels.items():
        if name not in inputs:
            raise BadInput(f"input {name}", "is missing", f"there are: {', '.join(inputs)}")
        found[name] = np.asarray(inputs[name])
        if found[name].ndim != 3 or found[name].shape[2] != size:
            raise BadInput(f"input {name}", f"has shape {list(found[name].shape)}", f"give (n, T, {size})")
    if len({one.shape[:2] for one in found.values()}) > 1:
        shapes = ", ".join(f"{name} {list(one.shape)}" for name, one in found.items())
        raise BadInput("inputs", f"differ in recordings or steps: {shapes}", "give the same for all")
    return found
