"""What a SpiNNaker network is sent: spikes of 0 and 1, one a channel and step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from snn_fusion.errors import BadInput
from snn_fusion.targets.inputs import named_inputs

BIAS = "<bias>"  # the source that spikes in every step
UInt8 = npt.NDArray[np.uint8]


def spikes_of(inputs: Mapping[str, npt.NDArray[Any]], channels: Mapping[str, int]) -> dict[str, UInt8]:
    """Each input's spikes (n, T, channels). Raises BadInput for anything else, and for inputs of unlike n or T."""
    return {name: _binary(name, values) for name, values in named_inputs(inputs, channels).items()}


def _binary(name: str, values: npt.NDArray[Any]) -> UInt8:
    with np.errstate(invalid="ignore"):  # NaN is no spike either, and is refused below
        whole = values.astype(np.uint8)
    if (whole != values).any() or whole.max(initial=0) > 1:
        raise BadInput(f"input {name}", "holds other values than 0 and 1", "SpiNNaker takes spikes, one a step")
    return np.ascontiguousarray(whole)
