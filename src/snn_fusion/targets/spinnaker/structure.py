"""What stands in the way of running a network on SpiNNaker, by its structure alone."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from snn_fusion.targets.contract import WHOLE, Violation
from snn_fusion.targets.populations import Population, Program
from snn_fusion.targets.spinnaker import limits
from snn_fusion.targets.spinnaker.stdfix import decay_of, tau_of


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
    elif decay_of(tau_of(highest)) == limits.ONE:
        bad(
            "decay rounds to 1",
            f"up to {limits.ONE - 2}/{limits.ONE}, which is what the core computes",
            f"{highest:.8g}",
        )
    depth, most = program.depth, limits.DELAY_SLOTS * (1 + limits.DELAY_STAGES)
    for connection in one.incoming:
        wait = connection.delay + depth[one.name] - depth.get(connection.source, 0)
        if not 1 <= wait <= most:
            bad(f"delay from {connection.source}", f"1 ... {most} steps, with those that layers take", wait)
    return found


def cores_of(neurons: Iterable[int], sources: int) -> int:
    """Cores that populations of so many neurons fill, and sources of spikes one each, at least."""
    return sum(-(-size // limits.NEURONS_A_CORE) for size in neurons) + sources


def _capacity(program: Program) -> list[Violation]:
    found = []
    sources = len(program.inputs) + any((one.bias != 0).any() for one in program)
    cores = cores_of((one.size for one in program), sources)
    if cores > limits.CORES:
        value = f"{cores:,}: {sum(one.size for one in program):,} neurons, {limits.NEURONS_A_CORE} a core"
        found.append(Violation(WHOLE, "cores", f"{limits.CORES:,} a board", value))
    for one in program:
        most = int(one.fan_in.max(initial=0))
        if most > limits.FAN_IN_HIGH:
            found.append(Violation(one.name, "fan-in", f"{limits.FAN_IN_HIGH:,} synapses", f"{most:,}"))
        largest = max((sdram_of(one, part) for part in range(0, one.size, limits.NEURONS_A_CORE)), default=0)
        if largest > limits.SDRAM_A_CHIP:
            found.append(Violation(one.name, "synapses of a core", f"{limits.SDRAM_A_CHIP:,} bytes", f"{largest:,}"))
    return found


def sdram_of(one: Population, first: int) -> int:
    """Bytes of the synapses into the core of the neurons from `first` on: for each connection and sign a row a source,
    all as long as the longest."""
    words = 0
    for connection in one.incoming:
        weights = connection.weights.tocsc()[:, first : first + limits.NEURONS_A_CORE].tocsr()
        sources = weights.shape[0]
        row = np.repeat(np.arange(sources), np.diff(weights.indptr))
        for sign in (1, -1):
            longest = int(np.bincount(row[weights.data * sign > 0], minlength=sources).max(initial=0))
            words += sources * (longest + limits.ROW_HEADER) if longest else 0
    return 4 * words
