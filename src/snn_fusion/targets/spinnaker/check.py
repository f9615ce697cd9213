"""Everything that stands in the way of a network on SpiNNaker, and what its numbers do to it."""

from __future__ import annotations

import numpy as np

from snn_fusion.targets.contract import Artefact, Examples, Violation
from snn_fusion.targets.populations import Population, Program
from snn_fusion.targets.spinnaker import limits
from snn_fusion.targets.spinnaker.emulate import emulate
from snn_fusion.targets.spinnaker.lower import highest_sums, incoming, lower_with, parameters, thresholds_lost
from snn_fusion.targets.spinnaker.structure import structure

TIME_CONSTANT = 0.05  # relative error from which a warning is given
LOST_SHARE = 0.5  # of a connection's weights that round to 0, from which a warning is given
BUSY_SHARE = 0.9  # of steps in which a layer's neurons spike, from which it says nothing any more


def check(program: Program, examples: Examples = None) -> list[Violation]:
    """All at once; warnings are marked as such. With `examples` also what the compiled network does with them."""
    found = structure(program)
    if found:
        return found
    sums = highest_sums(program, examples)
    found = thresholds_lost(program, sums)
    if found:
        return found
    artefact = lower_with(program, sums, examples is not None)
    for one in program:
        found += _time_constant(one) + _words(one, artefact)
    return found + ([] if examples is None else _observed(artefact, examples))


def _warning(layer: str, what: str, limit: str, value: object) -> Violation:
    return Violation(layer, what, limit, str(value), warning=True)


def _time_constant(one: Population) -> list[Violation]:
    decay = parameters(one)[1] / limits.ONE
    off = (one.decay > 0) & (np.abs((1 - decay) / (1 - one.decay) - 1) > TIME_CONSTANT)
    if not off.any():
        return []
    value = f"{one.decay[off][0]:.6g} is {decay[off][0]:.6g}"
    return [_warning(one.name, "time constant of decay", f"within {TIME_CONSTANT:.0%}", value)]


def _words(one: Population, artefact: Artefact) -> list[Violation]:
    """Weights that vanish, and sums that a slot of the ring buffer could not hold."""
    found = []
    worst = np.zeros((2, one.size))
    for i, connection in enumerate(incoming(one)):
        indices, words = (artefact.arrays[f"{one.name}.{i}.{part}"] for part in ("indices", "weights"))
        wanted = int((connection.weights.data != 0).sum())
        lost = 1 - len(words) / wanted if wanted else 0.0
        if lost > LOST_SHARE:
            found.append(
                _warning(
                    one.name, f"weights from {connection.source} that round to zero", f"{LOST_SHARE:.0%}", f"{lost:.0%}"
                )
            )
        for sign, row in ((1, worst[0]), (-1, worst[1])):
            row += np.bincount(indices, np.maximum(sign * words, 0), one.size)
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
    for name, one in artefact.meta["populations"].items():
        if ran.full[name]:
            value = f"{ran.full[name]:,} of {ran.slots[name]:,}"
            found.append(_warning(name, "full slots of the ring buffer in the examples", "none", value))
        if not one["spikes"]:
            continue
        rate = float(ran.outputs.spikes[name].mean())
        if rate == 0:
            found.append(_warning(name, "silent", "a spike in the examples", "none"))
        if rate > BUSY_SHARE:
            found.append(_warning(name, "saturated", f"spikes in {BUSY_SHARE:.0%} of steps", f"{rate:.0%}"))
    return found
