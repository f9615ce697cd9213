"""From floating point to Loihi 2's whole numbers, and what stands in the way.

A population has one scale: its potential U is the number U * scale * 2^6 on the chip. The scale is the largest with
which every connection's weights fit into 8 bits, each connection with a power of two of its own, and which leaves
HEADROOM thresholds of room below the potential's limit.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from snn_fusion.errors import BadInput
from snn_fusion.targets.contract import Artefact, Violation
from snn_fusion.targets.loihi2 import limits
from snn_fusion.targets.populations import Connection, Population, Program

HEADROOM = 32
TIME_CONSTANT = 0.05  # relative error from which a warning is given
SILENT_SHARE = 0.5  # of a connection's weights that round to 0, from which a warning is given


def check(program: Program) -> list[Violation]:
    """Everything at once; warnings are marked as such."""
    found: list[Violation] = []
    for one in program:
        found += _structure(program, one)
    found += _capacity(program)
    if any(not v.warning for v in found):
        return found
    for one in program:
        found += _numbers(one)
    return found


def lower(program: Program) -> Artefact:
    """Whole numbers only, the same on every machine. Raises BadInput listing all violations."""
    violations = [v for v in check(program) if not v.warning]
    if violations:
        listed = "\n".join(f"  {v}" for v in violations)
        raise BadInput("loihi2", f"cannot run this network:\n{listed}\n", "change these, or choose another target")
    populations: dict[str, Any] = {}
    arrays: dict[str, npt.NDArray[Any]] = {}
    for one in program:
        scale = scale_of(one)
        populations[one.name] = _parameters(one, scale)
        mantissa, exponent = _bias(one, scale)
        arrays |= {f"{one.name}.bias_mant": mantissa, f"{one.name}.bias_exp": exponent}
        populations[one.name]["incoming"] = []
        for i, connection in enumerate(one.incoming):
            power = _power(connection, scale)
            weights = connection.weights.tocsr()
            arrays |= {
                f"{one.name}.{i}.indptr": weights.indptr.astype(np.int32),
                f"{one.name}.{i}.indices": weights.indices.astype(np.int32),
                f"{one.name}.{i}.weights": quantised(weights.data, scale, power),
            }
            way = {"source": connection.source, "delay": connection.delay, "exponent": power}
            populations[one.name]["incoming"].append(way)
    meta = {
        "dt": program.dt,
        "inputs": program.inputs,
        "output": program.output,
        "order": [one.name for one in program],
        "depth": program.depth,
        "populations": populations,
    }
    return Artefact("loihi2", meta, arrays)


def scale_of(one: Population) -> float:
    """Chip units (before the alignment shift) of a potential of 1."""
    largest = [float(np.abs(c.weights.data).max(initial=0)) for c in one.incoming]
    finest = min((w for w in largest if w > 0), default=1.0)
    scale = limits.WEIGHT_HIGH / finest
    if one.spikes:
        scale = min(scale, limits.THRESHOLD_HIGH / HEADROOM / float(one.threshold[0]))
    widest = limits.WEIGHT_HIGH * 2**limits.WEIGHT_EXPONENT / max([*largest, 1e-30])
    return float(min(scale, widest))


def quantised(values: npt.NDArray[np.float64], scale: float, power: int) -> npt.NDArray[np.int32]:
    """Even whole numbers in -256 ... 254, ties to the even half."""
    half = np.rint(values * scale / 2**power / 2)
    whole: npt.NDArray[np.int32] = np.clip(2 * half, limits.WEIGHT_LOW, limits.WEIGHT_HIGH).astype(np.int32)
    return whole


def _power(connection: Connection, scale: float) -> int:
    largest = float(np.abs(connection.weights.data).max(initial=0)) * scale
    return max(0, math.ceil(math.log2(largest / (limits.WEIGHT_HIGH + 1)))) if largest > limits.WEIGHT_HIGH + 1 else 0


def _parameters(one: Population, scale: float) -> dict[str, Any]:
    decay, current = float(one.decay[0]), float(one.current_decay[0])
    return {
        "size": one.size,
        "spikes": one.spikes,
        "scale": scale * 2**limits.ALIGNMENT,
        "memory": decay > 0,  # without it the answer is the current, which forgets exactly
        "du": round((1 - current) * limits.UNITY) - 1,
        "dv": min(round((1 - decay) * limits.UNITY), limits.UNITY - 1),
        "vth": round(float(one.threshold[0]) * scale) if one.spikes else limits.THRESHOLD_HIGH,
    }


def _bias(one: Population, scale: float) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Mantissa and exponent of each neuron's bias, which is not shifted on the chip."""
    wanted = one.bias * scale * 2**limits.ALIGNMENT
    exponent = np.zeros(one.size, np.int32)
    for power in range(1, limits.BIAS_EXPONENT + 1):
        exponent[np.abs(wanted) / 2 ** (power - 1) > limits.BIAS_HIGH] = power
    mantissa = np.rint(wanted / 2.0**exponent).astype(np.int32)
    return np.clip(mantissa, -limits.BIAS_HIGH - 1, limits.BIAS_HIGH).astype(np.int32), exponent


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
    for connection in one.incoming:
        extra = connection.delay + program.depth[one.name] - program.depth.get(connection.source, 0) - 1
        if not 0 <= extra <= limits.DELAY_HIGH:
            bad(f"delay from {connection.source}", f"0 ... {limits.DELAY_HIGH} steps of an axon", extra)
    return found


def cores_of(neurons: int, synapses: int) -> int:
    """Cores that so many neurons and 8-bit synapses fill, at least."""
    return max(-(-neurons // limits.NEURONS_A_CORE), -(-synapses // limits.BYTES_A_CORE))


def _capacity(program: Program) -> list[Violation]:
    neurons = sum(one.size for one in program)
    synapses = sum(c.weights.nnz for one in program for c in one.incoming)
    cores = cores_of(neurons, synapses)
    found = f"{cores:,}: {neurons:,} neurons, {synapses:,} synapses"
    return [] if cores <= limits.CORES else [Violation("network", "cores", f"{limits.CORES} a chip", found)]


def _numbers(one: Population) -> list[Violation]:
    """What quantisation does to a population that can be expressed."""
    found, scale = [], scale_of(one)

    def say(what: str, limit: str, value: object, warning: bool = False) -> None:
        found.append(Violation(one.name, what, limit, str(value), warning))

    if one.spikes and round(float(one.threshold[0]) * scale) < 1:
        say("threshold rounds to zero", "1 chip unit", f"{float(one.threshold[0]):g} is {one.threshold[0] * scale:.3g}")
    for field in ("decay", "current_decay"):
        wanted = float(getattr(one, field)[0])
        whole = round((1 - wanted) * limits.UNITY)
        if wanted < 1 and whole < 1:
            say(f"{field} rounds to 1", f"multiples of 1/{limits.UNITY}", f"{wanted:.6g}")
        elif 0 < wanted < 1 and abs(whole / limits.UNITY / (1 - wanted) - 1) > TIME_CONSTANT:
            on_chip = f"{wanted:.6g} is {1 - whole / limits.UNITY:.6g}"
            say(f"time constant of {field}", f"within {TIME_CONSTANT:.0%}", on_chip, True)
    lost_biases = int(((_bias(one, scale)[0] == 0) & (one.bias != 0)).sum())
    if lost_biases:
        say("biases that round to zero", "none", f"{lost_biases} of {one.size}", True)
    bias = np.abs(one.bias).max(initial=0) * scale * 2**limits.ALIGNMENT
    if bias > limits.BIAS_HIGH * 2**limits.BIAS_EXPONENT:
        say("bias", f"{limits.BIAS_HIGH * 2**limits.BIAS_EXPONENT:,} chip units", f"{bias:,.0f}")
    worst = np.zeros(one.size)
    for connection in one.incoming:
        power = _power(connection, scale)
        weights = quantised(connection.weights.data, scale, power)
        lost = float(((weights == 0) & (connection.weights.data != 0)).mean()) if len(weights) else 0.0
        if lost > SILENT_SHARE:
            say(f"weights from {connection.source} that round to zero", f"{SILENT_SHARE:.0%}", f"{lost:.0%}", True)
        worst += np.bincount(connection.weights.indices, np.abs(weights) * 2.0**power, one.size)
    left = max(1 - float(one.current_decay[0]), 1 / limits.UNITY)  # of the current goes each step, the rest adds up
    highest = float(worst.max(initial=0)) * 2**limits.ALIGNMENT / left
    if highest >= limits.STATE_HIGH:
        # The current would wrap around and change its sign; whether it can happen, only the data say.
        say("current if all inputs spike in every step", f"{limits.STATE_HIGH:,} chip units", f"{highest:,.0f}", True)
    return found
