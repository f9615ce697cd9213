"""What stands in the way of running a network on SpiNNaker, by its structure alone."""

from __future__ import annotations

import numpy as np

from snn_fusion.targets.contract import Violation
from snn_fusion.targets.populations import Population, Program
from snn_fusion.targets.spinnaker import limits


def structure(program: Program) -> list[Violation]:
    """What no choice of numbers helps against."""
    found = [v for one in program for v in _population(program, one)]
    return found + _capacity(program)


def _population(program: Program, one: Population) -> list[Violation]:
    found: list[Violation] = []

    def bad(what: str, limit: str, value: object) -> None:
        found.append(Violation(one.name, what, limit, str(value)))

    if one.spikes and program.reset != "zero" and (one.decay > 0).any():
        bad("reset", "to zero", program.reset)
    if one.levels > 1:
        bad("graded neurons", "spikes of 1", f"{one.levels} levels")
    if (one.current_decay != 0).any():
        bad("current that decays", "none: IF_curr_exp steps by other equations", f"{one.current_decay.max():g}")
    highest = float(one.decay.max(initial=0))
    if highest >= 1:
        bad("neurons without leak", "decay below 1: a current acts through the leak", f"{highest:g}")
    elif highest * limits.ONE > limits.ONE - 0.5:
        bad("decay rounds to 1", f"multiples of 1/{limits.ONE}", f"{highest:.8g}")
    for connection in one.incoming:
        wait = connection.delay + program.depth[one.name] - program.depth.get(connection.source, 0)
        if not 1 <= wait <= limits.DELAY_SLOTS * (1 + limits.DELAY_STAGES):
            most = limits.DELAY_SLOTS * (1 + limits.DELAY_STAGES)
            bad(f"delay from {connection.source}", f"1 ... {most} steps, with those that layers take", wait)
    return found


def cores_of(program: Program) -> tuple[int, int]:
    """Cores of neurons and of sources, at least."""
    neurons = sum(-(-one.size // limits.NEURONS_A_CORE) for one in program)
    sources = sum(-(-channels // limits.NEURONS_A_CORE) for channels in program.inputs.values())
    return neurons, sources + any((one.bias != 0).any() for one in program)


def _capacity(program: Program) -> list[Violation]:
    neurons, sources = cores_of(program)
    board = limits.CHIPS * limits.CORES_A_CHIP
    found = []
    if neurons + sources > board:
        value = f"{neurons + sources:,}: {neurons:,} of neurons, {sources:,} of inputs"
        found.append(Violation("network", "cores", f"{board:,} a board", value))
    synapses = sum(int(np.asarray(one.fan_in).sum()) for one in program)
    room = limits.CHIPS * limits.SDRAM_A_CHIP // 4
    if synapses > room:
        found.append(Violation("network", "synapses", f"{room:,} words in the board's SDRAM", f"{synapses:,}"))
    return found
