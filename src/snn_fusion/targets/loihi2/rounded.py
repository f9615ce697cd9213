"""The nearest numbers that Loihi 2 holds, as its limits state them, for `targets.near_threshold`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from snn_fusion.targets.contract import Artefact, Rounded, nearest
from snn_fusion.targets.loihi2 import limits
from snn_fusion.targets.populations import Connection, Population, Program

FINEST = 64  # steps of a weight's second group in one of its first


def rounded(program: Program, artefact: Artefact) -> dict[str, Rounded]:
    found = {}
    for one in program:
        unit = 1 / artefact.meta["populations"][one.name]["scale"]
        found[one.name] = Rounded(_population(one, unit), unit)  # a product loses less than one
    return found


def _population(one: Population, unit: float) -> Population:
    """`unit` is that of a potential; a sum of weights and a threshold count in 64 of them."""
    whole = unit * 2**limits.ALIGNMENT
    bias = unit * 2.0 ** _exponent(np.abs(one.bias) / unit, limits.BIAS_HIGH)
    return replace(
        one,
        decay=nearest(one.decay, 1 / limits.UNITY),
        current_decay=nearest(one.current_decay, 1 / limits.UNITY),
        bias=nearest(one.bias, bias),
        threshold=nearest(one.threshold, whole) if one.spikes else one.threshold,
        incoming=tuple(_connection(c, whole) for c in one.incoming),
    )


def _connection(connection: Connection, whole: float) -> Connection:
    weights = connection.weights.copy()
    largest = np.abs(weights.data).max(initial=0) / whole
    weights.data = nearest(weights.data, whole * 2.0 ** _exponent(largest, limits.WEIGHT_HIGH * FINEST))
    return replace(connection, weights=weights)


def _exponent(values: Any, high: int) -> Any:
    """The powers of two with which these fit below `high`; 0 at least."""
    return np.maximum(0, np.ceil(np.log2(np.maximum(values, high) / high)))
