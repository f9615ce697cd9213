"""Everything that stands in the way of a network on SpiNNaker, and what its numbers do to it."""

from __future__ import annotations

import numpy as np

from snn_fusion.targets.activity import unusual
from snn_fusion.targets.contract import Artefact, Examples, Violation, can_run
from snn_fusion.targets.populations import Population, Program
from snn_fusion.targets.rounding import lost_weights, time_constant
from snn_fusion.targets.spinnaker import limits
from snn_fusion.targets.spinnaker.emulate import emulate
from snn_fusion.targets.spinnaker.lower import (
    highest_sums,
    incoming,
    lower_with,
    parameters,
    scale_of,
    shifts_of,
    thresholds_lost,
    words,
)
from snn_fusion.targets.spinnaker.structure import structure


def check(program: Program, examples: Examples = None) -> list[Violation]:
    """All at once; warnings are marked as such. With `examples` also what the compiled network does with them."""
    sums = highest_sums(program, examples)
    found = structure(program) + thresholds_lost(program, sums)
    for one in program:
        if one.name in sums:
            found += _time_constant(one) + _words(one, sums[one.name])
    if examples is not None and can_run(found):
        found += _observed(lower_with(program, sums, True), examples)
    return found


def _warning(layer: str, what: str, limit: str, value: object) -> Violation:
    return Violation(layer, what, limit, str(value), warning=True)


def _time_constant(one: Population) -> list[Violation]:
    decay = parameters(one)[1] / limits.ONE
    off = (time_constant(one.name, "decay", *both) for both in zip(one.decay.tolist(), decay.tolist(), strict=True))
    return next((found for found in off if found), [])  # of the first neuron that is off


def _words(one: Population, sums: tuple[float, float]) -> list[Violation]:
    """Weights that vanish, and sums that a slot of the ring buffer could not hold."""
    found = []
    worst = np.zeros((2, one.size))
    scale = scale_of(one, sums)
    shifts = shifts_of(scale, sums)
    for connection in incoming(one):
        rows = words(one, connection, scale, shifts)
        wanted = int((connection.weights.data != 0).sum())
        lost = 1 - rows.nnz / wanted if wanted else 0.0
        found += lost_weights(one.name, connection.source, lost)
        for sign, row in ((1, worst[0]), (-1, worst[1])):
            row += np.bincount(rows.indices, np.maximum(sign * rows.data, 0), one.size)
    highest = float(worst.max(initial=0))
    if highest > limits.WORD_HIGH:
        # The slot would stay at its highest; whether it can happen, only the data say.
        what = "sum of a synapse type if all inputs spike at once"
        found.append(_warning(one.name, what, f"{limits.WORD_HIGH:,} in the ring buffer", f"{highest:,.0f}"))
    return found


def _observed(artefact: Artefact, examples: Examples) -> list[Violation]:
    """What the examples set off: full slots, layers that never spike, and layers that always do."""
    assert examples is not None
    ran = emulate(artefact, examples)
    found = []
    for name in artefact.meta["order"]:
        if ran.full[name]:
            value = f"{ran.full[name]:,} of {ran.slots[name]:,}"
            found.append(_warning(name, "full slots of the ring buffer in the examples", "none", value))
    return found + unusual(artefact, ran.outputs)
