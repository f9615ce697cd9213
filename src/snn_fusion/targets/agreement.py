"""A compiled network beside the reference: how far spikes, and potentials of readouts, are from its.

One formula for every layer: the energy of the error over the energy of the signal. For spikes, of which each is 1, that
is the share that differs (of graded neurons levels count); for a readout, whose signal is what its potential varies by,
it is what the chip leaves unexplained of that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from snn_fusion.targets.contract import Array, Artefact, Outputs, Violation, refuse
from snn_fusion.targets.populations import Population, Program
from snn_fusion.targets.reference import simulate

MOST = 0.005  # deviation of a layer up to which it agrees; docs/adr/0014
# Share of channels that spike in a step, by recording: those of our own encoders are between 0.03 and 0.14.
RATES = (0.01, 0.02, 0.03, 0.05, 0.08, 0.1, 0.15, 0.2)
EACH, STEPS = 8, 50  # recordings of a rate, and steps of each: a small network has few spikes in one
ENOUGH = 200  # spikes of a layer; of fewer, a single one that differs would say more than it can


def drawn(inputs: Mapping[str, int]) -> dict[str, Array]:
    """Recordings of 0 and 1 for a network of which none are given, (64, 50, channels) an input; always the same."""
    rng, found = np.random.default_rng(0), {}
    for name, size in inputs.items():
        shape = (STEPS, size)
        each = [rng.random(shape, np.float32) < rate for rate in RATES for _ in range(EACH)]
        found[name] = np.array(each, np.uint8)
    return found


def against_reference(
    program: Program, artefact: Artefact, recordings: Mapping[str, Array], found: Outputs
) -> dict[str, Any]:
    """`found`, what the chip makes of `recordings`, beside the program in floating point.

    `deviation` of each layer, None where it cannot be judged, `spikes` of the reference, how many `differ`, and the
    number of `recordings`.
    """
    wanted = simulate(program, recordings)
    deviation, spikes, differ = {}, 0, 0
    for one in program:
        if one.spikes:
            ours, right = found.spikes[one.name], wanted.spikes[one.name]
            spikes, differ = spikes + int((right != 0).sum()), differ + int((right != ours).sum())
        else:  # both counted from the reset
            scale = artefact.meta["populations"][one.name]["scale"]
            ours, right = found.potential[one.name] / scale, wanted.potential[one.name]
        deviation[one.name] = _deviation(one, ours, right)
    return {
        "deviation": deviation,
        "spikes": spikes,
        "differ": differ,
        "recordings": len(next(iter(recordings.values()))),
    }


def _deviation(one: Population, found: Array, wanted: Array) -> float | None:
    """Of (n, T, N) each. Nobody can say it of neurons that never spike, nor of a readout that never moves."""
    error = float(((found - wanted) ** 2).sum())
    if not one.spikes:
        moves = bool(wanted.max() > wanted.min())
        return round(error / float(((wanted - wanted.mean()) ** 2).sum()), 6) if moves else None
    signal = float((wanted**2).sum())
    return round(error / max(signal, ENOUGH), 6) if signal or error else None


def refuse_deviation(chip: str, deviation: Mapping[str, float | None], most: float) -> list[str]:
    """Warnings of layers that could not be judged. Raises BadInput naming those that deviate by more than `most`."""
    problem = "does not run this network as the reference does"
    remedy = (
        "give --examples from its use: scales come from them; train weights on the chip's grid (docs/adr/0011); "
        "or accept more with --max-deviation"
    )
    limit = f"at most {most:g}"
    beyond = {name: one for name, one in deviation.items() if one is not None and not one <= most}
    violations = [Violation(name, "deviation from the reference", limit, f"{one:.3g}") for name, one in beyond.items()]
    refuse(chip, violations, problem, remedy)
    unjudged = [name for name, one in deviation.items() if one is None]
    said = ("deviation from the reference", "a recording that it answers", "unknown", True)
    return [str(Violation(name, *said)) for name in unjudged]
