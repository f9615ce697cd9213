"""What a SpiNNaker network is sent: spikes of 0 and 1, one a channel and step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from snn_fusion.errors import BadInput

BIAS = "<bias>"  # the source that spikes in every step
UInt8 = npt.NDArray[np.uint8]


def spikes_of(inputs: Mapping[str, npt.NDArray[Any]], channels: Mapping[str, int]) -> dict[str, UInt8]:
    """Each input's spikes (n, T, channels). Raises BadInput for anything else, and for inputs of unlike n or T."""
    found = {name: _binary(name, inputs, size) for name, size in channels.items()}
    first = next(iter(found.values())).shape[:2]
    if any(one.shape[:2] != first for one in found.values()):
        shapes = ", ".join(f"{name} {list(one.shape)}" for name, one in found.items())
        raise BadInput("inputs", f"differ in recordings or steps: {shapes}", "give the same for all")
    return found


def _binary(name: str, inputs: Mapping[str, npt.NDArray[Any]], channels: int) -> UInt8:
    if name not in inputs:
        raise BadInput(f"input {name}", "is missing", f"there are: {', '.join(inputs)}")
    values = np.asarray(inputs[name])
    if values.ndim != 3 or values.shape[2] != channels:
        raise BadInput(f"input {name}", f"has shape {list(values.shape)}", f"give (n, T, {channels})")
    with np.errstate(invalid="ignore"):  # NaN is no spike either, and is refused below
        whole = values.astype(np.uint8)
    if (whole != values).any() or whole.max(initial=0) > 1:
        raise BadInput(f"input {name}", "holds other values than 0 and 1", "SpiNNaker takes spikes, one a step")
    return np.ascontiguousarray(whole)
