"""What stands in the way of running a program on Loihi 2, all at once; warnings are marked as such."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snn_fusion.targets.contract import WHOLE, Outputs, Violation
from snn_fusion.targets.loihi2 import limits
from snn_fusion.targets.loihi2.lower import bias_of, synapses
from snn_fusion.targets.populations import Population, Program
from snn_fusion.targets.rounding import lost_weights, time_constant

GROUPS = 2  # of synapses that a connection becomes


def structure(program: Program) -> list[Violation]:
    """What no scale can change: kinds of neurons, delays, capacity."""
    return [violation for one in program for violation in _structure(program, one)] + _capacity(program)


def numbers(program: Program, scale: Mapping[str, float]) -> list[Violation]:
    """What rounding at these scales does, and what could be reached if all inputs spiked; where decays differ within a
    layer, of the first that is off."""
    found = []
    for one in program:
        found += [*_threshold_and_decays(one, scale[one.name]), *_bias(one, scale[one.name])]
        found += _weights(one, scale[one.name])
    return found


def held(ran: Outputs) -> list[Violation]:
    """Potentials that a run has brought to the chip's limit, where they are held."""
    found = []
    for name, potential in ran.potential.items():
        at_limit = int((np.abs(potential) >= limits.STATE_HIGH - 1).sum())
        if at_limit:
            value = f"{at_limit:,} of {potential.size:,}"
            limit = f"{limits.STATE_HIGH:,} chip units"
            found.append(Violation(name, "potentials held at the limit in the examples", limit, value, True))
    return found


def cores_of(neurons: int, synapses: int) -> int:
    """Cores that so many neurons and 8-bit synapses fill, at least."""
    return max(-(-neurons // limits.NEURONS_A_CORE), -(-synapses // limits.BYTES_A_CORE))


def _structure(program: Program, one: Population) -> list[Violation]:
    found = []

    def bad(what: str, limit: str, value: object) -> None:
        found.append(Violation(one.name, what, limit, str(value)))

    if one.spikes and program.reset != "zero":
        bad("reset", "to zero", program.reset)
    if one.levels > 1:
        bad("graded neurons", "spikes of 1", f"{one.levels} levels")
    for field in ("decay", "current_decay", "threshold"):
        values = getattr(one, field)
        if len(np.unique(values)) > 1:
            bad(f"{field} differs between neurons", "one a layer", f"{values.min():g} ... {values.max():g}")
    if one.spikes and not (one.decay > 0).all():
        bad("neurons without memory", f"a potential keeps at least 1/{limits.UNITY}", "decay 0")
    if not one.spikes and (one.bias != 0).any() and not (one.decay > 0).all():
        bad("bias of a readout without memory", "none: it is read from the current", f"{np.abs(one.bias).max():g}")
    widest = GROUPS * int(one.fan_in.max(initial=0))
    if widest > limits.BYTES_A_CORE:
        bad("fan-in", f"{limits.BYTES_A_CORE // GROUPS:,} synapses a neuron: a core's memory", f"{widest // GROUPS:,}")
    for connection in one.incoming:
        extra = connection.delay + program.depth[one.name] - program.depth.get(connection.source, 0) - 1
        if not 0 <= extra <= limits.DELAY_HIGH:
            bad(f"delay from {connection.source}", f"0 ... {limits.DELAY_HIGH} steps of an axon", extra)
    return found


def _capacity(program: Program) -> list[Violation]:
    neurons = sum(one.size for one in program)
    count = GROUPS * sum(c.weights.nnz for one in program for c in one.incoming)
    cores = cores_of(neurons, count)
    found = f"{cores:,}: {neurons:,} neurons, {count:,} synapses of 8 bits"
    return [] if cores <= limits.CORES else [Violation(WHOLE, "cores", f"{limits.CORES} a chip", found)]


def _threshold_and_decays(one: Population, scale: float) -> list[Violation]:
    found = []
    lowest = float(one.threshold.min())
    if one.spikes and round(lowest * scale) < 1:
        value = f"{lowest:g} is {lowest * scale:.3g}"
        found.append(Violation(one.name, "threshold rounds to zero", "1 chip unit", value))
    for field in ("decay", "current_decay"):
        each = (_decay(one.name, field, wanted) for wanted in np.unique(getattr(one, field)).tolist())
        found += next((off for off in each if off), [])
    return found


def _decay(layer: str, field: str, wanted: float) -> list[Violation]:
    whole = round((1 - wanted) * limits.UNITY)
    if wanted < 1 and whole < 1:
        return [Violation(layer, f"{field} rounds to 1", f"multiples of 1/{limits.UNITY}", f"{wanted:.6g}")]
    return time_constant(layer, field, wanted, 1 - whole / limits.UNITY)


def _bias(one: Population, scale: float) -> list[Violation]:
    found = []
    lost = int(((bias_of(one, scale)[0] == 0) & (one.bias != 0)).sum())
    if lost:
        found.append(Violation(one.name, "biases that round to zero", "none", f"{lost} of {one.size}", True))
    highest, limit = (
        np.abs(one.bias).max(initial=0) * scale * 2**limits.ALIGNMENT,
        limits.BIAS_HIGH << limits.BIAS_EXPONENT,
    )
    if highest > limit:
        found.append(Violation(one.name, "bias", f"{limit:,} chip units", f"{highest:,.0f}"))
    return found


def _weights(one: Population, scale: float) -> list[Violation]:
    found = []
    worst = np.zeros(one.size)
    for connection in one.incoming:
        on_chip = sum((group.weights * 2.0**group.exponent for group in synapses(connection, scale)), np.zeros(1))
        lost = float(((on_chip == 0) & (connection.weights.data != 0)).mean()) if connection.weights.nnz else 0.0
        found += lost_weights(one.name, connection.source, lost)
        worst += np.bincount(connection.weights.indices, np.abs(on_chip) * np.ones(connection.weights.nnz), one.size)
    left = max(1 - float(one.current_decay.max()), 1 / limits.UNITY)  # of the current goes each step, the rest adds up
    highest = float(worst.max(initial=0)) * 2**limits.ALIGNMENT / left
    if highest >= limits.STATE_HIGH:
        # The current would wrap around and change its sign; whether it can happen, only examples say.
        limit, value = f"{limits.STATE_HIGH:,} chip units", f"{highest:,.0f}"
        found.append(Violation(one.name, "current if all inputs spike in every step", limit, value, True))
    reached = highest / max(1 - float(one.decay.max()), 1 / limits.UNITY)
    if reached >= limits.STATE_HIGH:
        limit, value = f"held at {limits.STATE_HIGH:,} chip units", f"{reached:,.0f}"
        found.append(Violation(one.name, "potential if all inputs spike in every step", limit, value, True))
    return found
