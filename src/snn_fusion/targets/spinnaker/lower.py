"""From floating point to SpiNNaker's whole numbers.

A step of an `IF_curr_delta` core, with R = tau_m / cm = 1 and V_rest = V_reset = 0, is V' = E V + (1 - E) I. The
network's U' = decay U + J becomes that with V = scale U, I = scale J / (1 - E) and E the decay that the chip computes.

A population has one scale, the largest with which the sums of both synapse types stay within the ring buffer at the
widest shift. The sums are the highest that `examples` give, times MARGIN; without examples those of all synapses at
once. Weights of a sign share the shift of their synapse type. Where weights lie on a grid of a power of two, as those
that this project trains do, and a slot holds the sums in its steps, the scale is one that makes them exact.

A bias is a source that spikes in every step: a current of the neuron itself (i_offset) would flow before the first
input arrives.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from snn_fusion.targets import reference
from snn_fusion.targets.artefact import layout, synapse_arrays
from snn_fusion.targets.contract import Artefact, Examples, Violation, refuse
from snn_fusion.targets.populations import Connection, Population, Program
from snn_fusion.targets.spinnaker import limits
from snn_fusion.targets.spinnaker.inputs import BIAS, spikes_of
from snn_fusion.targets.spinnaker.stdfix import decay_of, tau_of
from snn_fusion.targets.spinnaker.structure import structure

MARGIN = 1.5  # of the highest sums seen
FINEST, ON_GRID = 14, 1e-3  # bits of a grid that weights may lie on, and how near, in its steps
Float64 = npt.NDArray[np.float64]


Sums = dict[str, tuple[float, float]]


def lower(program: Program, examples: Examples = None) -> Artefact:
    """Whole numbers only, the same on every machine. Raises BadInput listing all violations."""
    sums = highest_sums(program, examples)
    refuse("spinnaker", structure(program) + thresholds_lost(program, sums))
    return lower_with(program, sums, examples is not None)


def lower_with(program: Program, sums: Sums, calibrated: bool) -> Artefact:
    """A program that is known to be free of violations."""
    populations: dict[str, Any] = {}
    arrays: dict[str, npt.NDArray[Any]] = {}
    for one in program:
        scale = scale_of(one, sums[one.name])
        shifts = shifts_of(scale, sums[one.name])
        taus, decays = parameters(one)
        arrays |= {f"{one.name}.tau": taus, f"{one.name}.decay": decays}
        arrays[f"{one.name}.threshold"] = thresholds(one, scale)
        populations[one.name] = {
            "size": one.size,
            "spikes": one.spikes,
            "scale": scale * limits.ONE,
            "shifts": shifts,
            "incoming": [{"source": c.source, "delay": c.delay} for c in incoming(one)],
        }
        for i, connection in enumerate(incoming(one)):
            rows = words(one, connection, scale, shifts)
            arrays |= synapse_arrays(f"{one.name}.{i}", rows, rows.data)
    meta = {**layout(program, populations), "depth": program.depth, "calibrated": calibrated}
    return Artefact("spinnaker", meta, arrays)


def incoming(one: Population) -> tuple[Connection, ...]:
    """A population's connections, with its bias as the last one if it has any."""
    if not (one.bias != 0).any():
        return one.incoming
    return (*one.incoming, Connection(BIAS, csr_array(one.bias[None, :])))


def parameters(one: Population) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """tau_m, and the decay that the chip makes of it, in s16.15, (N,) each."""
    taus = [tau_of(float(decay)) for decay in one.decay]
    return np.array(taus, np.int32), np.array([decay_of(tau) for tau in taus], np.int32)


def leaks(one: Population) -> bool:
    """Whether the chip's decays leave a leak, through which alone a current acts; without one there is no scale."""
    return bool((parameters(one)[1] < limits.ONE).all())


def gain(one: Population) -> Float64:
    """What a weight is multiplied by so that the leak leaves it whole, (N,)."""
    return limits.ONE / (limits.ONE - parameters(one)[1].astype(np.float64))


def highest_sums(program: Program, examples: Examples) -> Sums:
    """By population: the highest sums of excitatory and of inhibitory weights that a neuron gets in a step, times its
    gain; and no less than its largest weight, which alone has to fit as well. Those without leak are left out."""
    given = None if examples is None else spikes_of(examples, program.inputs)
    traces = None if given is None else reference.simulate(program, given)
    found = {}
    for one in filter(leaks, program):
        each = []
        for sign in (1, -1):
            ways = [(c, _of_sign(c, sign)) for c in incoming(one)]
            largest = max((float((w.data * gain(one)[w.indices]).max(initial=0)) for _, w in ways), default=0.0)
            if traces is None:
                sums = sum((np.asarray(w.sum(axis=0)) for _, w in ways), np.zeros(one.size))
                each.append(max(largest, float((sums * gain(one)).max(initial=0))))
            else:
                seen = _seen(ways, one, {**(given or {}), **traces.spikes})
                each.append(max(largest, MARGIN * float((seen * gain(one)).max(initial=0))))
        found[one.name] = (each[0], each[1])
    return found


def _of_sign(connection: Connection, sign: int) -> csr_array[Any, Any]:
    """The weights of a sign, without it."""
    weights = csr_array(connection.weights, copy=True).astype(np.float64)
    weights.data = np.maximum(weights.data * sign, 0)
    return weights


def _seen(ways: list[tuple[Connection, Any]], one: Population, spikes: dict[str, npt.NDArray[Any]]) -> Float64:
    """The highest sum of each neuron over recordings and steps, (N,)."""
    n, steps = next(iter(spikes.values())).shape[:2]
    highest = np.zeros(one.size)
    for b in range(n):  # one at a time: the sums of all would not fit into memory
        total = np.zeros((steps, one.size))
        for connection, weights in ways:
            if connection.source == BIAS:
                total += weights.toarray()
                continue
            kept = max(steps - connection.delay, 0)
            total[steps - kept :] += csr_array(spikes[connection.source][b, :kept].astype(np.float64)) @ weights
        highest = np.maximum(highest, total.max(axis=0))
    return highest


def scale_of(one: Population, sums: tuple[float, float]) -> float:
    """Millivolts of a potential of 1; six leading bits only, so that no last bit of a sum can change it."""
    room = limits.WORD_HIGH * 2.0 ** (limits.SHIFT_HIGH - limits.FRACTION)
    highest = max((abs(float(t)) for t in one.threshold if t != 0), default=0.0) if one.spikes else 0.0
    if exact := _exact_scale(one, max(sums), highest, room):
        return exact
    wanted = [room / high for high in (*sums, highest) if high > 0]
    mantissa, exponent = math.frexp(min(wanted, default=1.0))
    return math.floor(mantissa * 64) / 64 * 2.0**exponent


def _exact_scale(one: Population, highest_sum: float, threshold: float, room: float) -> float | None:
    """The largest scale, if there is one, with which every weight is a whole number of a slot's steps.

    A weight k 2^-g then is the word k m, and a sum of words fits into a slot.
    """
    each = np.unique(gain(one))
    fine = _grid(one)
    if fine is None or len(each) > 1 or highest_sum == 0:
        return None
    multiple = math.floor(limits.WORD_HIGH / (highest_sum / each[0] * 2.0**fine))
    if multiple < 1:
        return None
    scale: float = multiple * 2.0 ** (fine + limits.SHIFT_HIGH - limits.FRACTION) / float(each[0])
    while threshold * scale > room:
        scale /= 2
    return scale


def _grid(one: Population) -> int | None:
    """The least g with which all weights are multiples of 2^-g, but for what NIR's 32 bits left; up to FINEST."""
    weights = np.concatenate([np.zeros(1), *(c.weights.data for c in incoming(one))])
    fits = (g for g in range(FINEST + 1) if np.abs(weights * 2.0**g - np.rint(weights * 2.0**g)).max() < ON_GRID)
    return next(fits, None)


def shifts_of(scale: float, sums: tuple[float, float]) -> list[int]:
    """Of the excitatory and of the inhibitory words."""
    return [_shift(high * scale) for high in sums]


def _shift(highest: float) -> int:
    """The least shift with which a sum of so many millivolts fits into a slot of the ring buffer."""
    return next(s for s in range(limits.SHIFT_HIGH + 1) if highest * 2.0 ** (limits.FRACTION - s) <= limits.WORD_HIGH)


def thresholds(one: Population, scale: float) -> npt.NDArray[np.int32]:
    """A core spikes where V >= V_thresh, the network where U > threshold: a unit more. A readout's is out of reach."""
    if not one.spikes:
        return np.full(one.size, limits.POTENTIAL_HIGH, np.int32)
    return (np.floor(one.threshold * scale * limits.ONE) + 1).astype(np.int32)


def words(one: Population, connection: Connection, scale: float, shifts: list[int]) -> csr_array[Any, Any]:
    """Rows of 16-bit magnitudes with their sign. Those that round to 0 are left out: nothing would arrive."""
    weights = csr_array(connection.weights, copy=True).astype(np.float64)
    weights.sum_duplicates()
    scaled = weights.data * gain(one)[weights.indices] * scale
    exponents = limits.FRACTION - np.where(scaled > 0, shifts[0], shifts[1])
    weights.data = np.rint(np.abs(scaled) * 2.0**exponents) * np.sign(scaled)
    weights.eliminate_zeros()
    assert np.abs(weights.data).max(initial=0) <= limits.WORD_HIGH  # the vendor's tool would cut off the upper bits
    return weights


def thresholds_lost(program: Program, sums: Sums) -> list[Violation]:
    """Thresholds that vanish beside the sums of weights."""
    found = []
    for one in (one for one in program if one.name in sums):
        on_chip = one.threshold * scale_of(one, sums[one.name]) * limits.ONE
        lost = one.spikes & (one.threshold > 0) & (on_chip < 1)
        if lost.any():
            value = f"{one.threshold[lost][0]:g} is {on_chip[lost][0]:.3g}"
            found.append(Violation(one.name, "threshold rounds to zero", "1 unit of s16.15", value))
    return found
