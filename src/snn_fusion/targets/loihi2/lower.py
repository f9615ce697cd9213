"""From floating point to Loihi 2's whole numbers.

A population has one scale: its potential U is the number U * scale * 2^6 on the chip. The scale is the largest that
leaves room for the potentials and currents that examples give, or for HEADROOM thresholds.

A connection becomes two groups of 8-bit synapses, each multiplied by a power of two of its own: the second holds what
the first has rounded away, so that a weight has up to 15 bits. Eight bits alone move one spike in a hundred of a
trained network, and each of them moves others in the layers after it.

The chip rounds the sum of a group down. What that loses depends on which synapses were active, so no bias can give it
back. The weights are therefore whole numbers of the smallest unit that a sum can have: no sum is ever rounded, and a
weight is off by at most half a unit, which counts only when its spike comes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from snn_fusion.targets.artefact import layout, synapse_arrays
from snn_fusion.targets.contract import Artefact, Examples
from snn_fusion.targets.loihi2 import limits
from snn_fusion.targets.populations import Connection, Population, Program
from snn_fusion.targets.reference import Traces, simulate

HEADROOM = 32.0  # thresholds that a potential may reach where no examples are given
READOUT_HEADROOM = 512.0  # largest weights that a readout may reach there
MARGIN, READOUT_MARGIN = 1.25, 8.0  # what examples give, times this, is what there is room for
WHOLE = -1  # exponent at which even weights are all whole numbers
RARE = 1e-3  # share of a spiking layer's potentials that may lie lower: the chip holds them at its limit


@dataclass(frozen=True)
class Synapses:
    """8-bit weights of a connection's synapses, (nnz,), whose sum is multiplied by 2^exponent: a whole number."""

    exponent: int
    weights: npt.NDArray[np.int32]


def lower_with(program: Program, scale: Mapping[str, float]) -> Artefact:
    """Whole numbers only, the same on every machine, of a program without violations."""
    populations: dict[str, Any] = {}
    arrays: dict[str, npt.NDArray[Any]] = {}
    for one in program:
        populations[one.name], found = _population(one, scale[one.name])
        arrays |= found
    return Artefact("loihi2", {**layout(program, populations), "depth": program.depth}, arrays)


def scales(program: Program, examples: Examples) -> dict[str, float]:
    """Chip units (before the alignment shift) of a potential of 1, by population."""
    traces = simulate(program, examples) if examples else None
    return {one.name: _scale(one, traces) for one in program}


def _scale(one: Population, traces: Traces | None) -> float:
    """The largest with room for all; where that costs weights their last bit, one without a margin below.

    Lower potentials are held at the chip's limit, which changes little; a bit that is lost changes every sum.
    """
    wide = _largest(one, traces, MARGIN)
    if _exact(one, wide):
        return wide
    tight = _largest(one, traces, 1.0)
    return tight if _exact(one, tight) else wide


def _largest(one: Population, traces: Traces | None, below: float) -> float:
    """`below`: margin for a spiking layer's lowest potentials."""
    largest = max((float(np.abs(c.weights.data).max(initial=0)) for c in one.incoming), default=0.0)
    unit = (float(np.abs(one.threshold).max()) if one.spikes else 0.0) or largest or 1.0
    room = (HEADROOM if one.spikes else READOUT_HEADROOM) * unit
    if traces:
        u, current = traces.potential[one.name], np.abs(traces.current[one.name])
        lowest = float(np.quantile(u, RARE if one.spikes else 0.0))
        margin = MARGIN if one.spikes else READOUT_MARGIN  # one that reaches the limit is no answer
        room = margin * max(float(current.max()), float(u.max()), unit)
        room = max(room, -lowest * (below if one.spikes else margin))
    fits: list[float] = [limits.STATE_HIGH / 2**limits.ALIGNMENT / room]
    if one.spikes:
        fits.append(limits.THRESHOLD_HIGH / unit)
    if largest:
        fits.append(float(limits.WEIGHT_HIGH * 2**limits.WEIGHT_EXPONENT) / largest)
    # A power of two: weights that were trained on a grid of one are then exact; likewise the threshold.
    whole = math.floor(unit * min(fits)) if one.spikes else 0
    return float(2 ** (whole.bit_length() - 1)) / unit if whole else 2.0 ** math.floor(math.log2(min(fits)))


def _exact(one: Population, scale: float) -> bool:
    """Whether the chip holds every weight as it is."""
    for connection in one.incoming:
        held = np.zeros(len(connection.weights.data))
        for group in synapses(connection, scale):
            held += group.weights * 2.0**group.exponent
        if not np.array_equal(held, connection.weights.data * scale):
            return False
    return True


def synapses(connection: Connection, scale: float) -> list[Synapses]:
    """The weights in chip units, and in a second group what the first has rounded away; no sum loses anything."""
    wanted = connection.weights.data * scale
    largest = float(np.abs(wanted).max(initial=0))
    first = max(0, math.ceil(math.log2(largest / limits.WEIGHT_HIGH))) if largest > 0 else 0
    first = min(first, limits.WEIGHT_EXPONENT)
    coarse = quantised(wanted, first)
    left = wanted - coarse * 2.0**first
    second, fine = first - 7, quantised(left, first - 7)
    if second < WHOLE and (fine % 2**-second).any():
        second, fine = WHOLE, quantised(left, WHOLE)
    return [one for one in (Synapses(first, coarse), Synapses(second, fine)) if one.weights.any()]


def quantised(values: npt.NDArray[np.float64], exponent: int) -> npt.NDArray[np.int32]:
    """Even whole numbers in -256 ... 254, ties to the even half."""
    half = np.rint(values / 2.0**exponent / 2)
    whole: npt.NDArray[np.int32] = np.clip(2 * half, limits.WEIGHT_LOW, limits.WEIGHT_HIGH).astype(np.int32)
    return whole


def _population(one: Population, scale: float) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    decay, current = float(one.decay[0]), float(one.current_decay[0])
    arrays: dict[str, npt.NDArray[Any]] = {}
    incoming: list[Mapping[str, Any]] = []
    for connection in one.incoming:
        rows = connection.weights.tocsr()
        for group in synapses(connection, scale):
            arrays |= synapse_arrays(f"{one.name}.{len(incoming)}", rows, group.weights)
            incoming.append({"source": connection.source, "delay": connection.delay, "exponent": group.exponent})
    mantissa, exponent = bias_of(one, scale)
    arrays |= {f"{one.name}.bias_mant": mantissa, f"{one.name}.bias_exp": exponent}
    meta = {
        "size": one.size,
        "spikes": one.spikes,
        "scale": scale * 2**limits.ALIGNMENT,
        "memory": decay > 0,  # without it the answer is the current, which forgets exactly
        "du": round((1 - current) * limits.UNITY) - 1,
        "dv": min(round((1 - decay) * limits.UNITY), limits.UNITY - 1),
        "vth": round(float(one.threshold[0]) * scale) if one.spikes else limits.THRESHOLD_HIGH,
        "incoming": incoming,
    }
    return meta, arrays


def bias_of(one: Population, scale: float) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Mantissa and exponent of each neuron's bias, which is not shifted on the chip."""
    wanted = one.bias * scale * 2**limits.ALIGNMENT
    exponent = np.zeros(one.size, np.int32)
    for power in range(1, limits.BIAS_EXPONENT + 1):
        exponent[np.abs(wanted) / 2 ** (power - 1) > limits.BIAS_HIGH] = power
    mantissa = np.rint(wanted / 2.0**exponent).astype(np.int32)
    return np.clip(mantissa, -limits.BIAS_HIGH - 1, limits.BIAS_HIGH).astype(np.int32), exponent
