"""From floating point to Akida's whole numbers, and what stands in the way.

Akida's neurons have no memory. One adds its inputs to a potential U and sends, of `levels` L,

    min(L, max(0, ceil((U - threshold) / step)))

A population has one scale: its potential U is the whole number U * scale on the chip. Weights that are whole numbers
within the limits stay as they are (a network that was tuned for the chip), others fill the width. Steps are powers of
two, so that version 2, which can only shift, does the same as version 1.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from snn_fusion.targets.akida import limits
from snn_fusion.targets.akida.layers import chain, depths, merged
from snn_fusion.targets.artefact import layout, synapse_arrays
from snn_fusion.targets.contract import Artefact, Violation, refuse
from snn_fusion.targets.populations import Population, Program
from snn_fusion.targets.rounding import lost_weights

Int32 = npt.NDArray[np.int32]
ROUNDED = 0.01  # of the largest weight, from which a warning is given


def check(program: Program, version: int) -> list[Violation]:
    """Everything at once; warnings are marked as such."""
    program = merged(program)
    found = _chain(program)
    for one in program:
        found += _neurons(program, one) + _graded(one, version) + _connections(one, version)
    for one in program:
        if one.step is None or float(one.step.min()) > 0:  # the scale follows from the step
            found += _numbers(program, one, version)
    return found


def lower(name: str, program: Program, version: int) -> Artefact:
    """Whole numbers only, the same on every machine. Raises BadInput listing all violations."""
    program = merged(program)
    refuse(name, check(program, version))
    populations: dict[str, Any] = {}
    arrays: dict[str, npt.NDArray[Any]] = {}
    for one in program:
        scale = scale_of(one, version)
        arrays |= _neuron_arrays(one, scale, version)
        for i, connection in enumerate(one.incoming):
            rows = connection.weights.tocsr()
            arrays |= synapse_arrays(f"{one.name}.{i}", rows, np.rint(rows.data * scale))
        populations[one.name] = {
            "size": one.size,
            "spikes": one.spikes,
            "levels": one.levels if one.spikes else 0,
            "scale": scale,
            "incoming": [{"source": c.source, "delay": c.delay} for c in one.incoming],
        }
    return Artefact(name, {**layout(program, populations), "version": version, "chain": chain(program)}, arrays)


def scale_of(one: Population, version: int) -> float:
    """Chip units of a potential of 1."""
    high = limits.VERSIONS[version].weight_high
    largest = max((float(np.abs(c.weights.data).max(initial=0)) for c in one.incoming), default=0.0)
    step = 1.0 if one.step is None else float(one.step.min(initial=np.inf))
    whole = all((c.weights.data == np.rint(c.weights.data)).all() for c in one.incoming)
    if whole and largest <= high and (one.step is None or (step >= 1 and math.log2(step).is_integer())):
        return 1.0
    widest = high / max(largest, 1e-30)
    if one.step is None:
        return widest
    return float(2.0 ** math.floor(math.log2(widest * step))) / step  # the step becomes a power of two


def _neuron_arrays(one: Population, scale: float, version: int) -> dict[str, Int32]:
    """Bias, threshold and step, (N,) each; a readout has neither threshold nor step."""
    bias = np.rint(one.bias * scale).astype(np.int64)
    step: npt.NDArray[np.int64] = np.ones(one.size, np.int64)
    if one.step is not None:
        step = np.asarray(np.rint(one.step * scale), np.int64)
    exponent, threshold = np.zeros(one.size, np.int32), np.zeros(one.size, np.int64)
    if one.spikes:  # whole sums are above a bound where they are above its floor
        threshold = np.floor((one.threshold - one.bias) * scale).astype(np.int64) + bias
    if version == 2:  # its one constant is a bias: a mantissa and a shift, from which the threshold follows
        half = np.where(step > 1, step // 2 - 1, 0)  # its shift rounds to the nearest
        constant, exponent = _shifted(half - (threshold - bias) if one.spikes else bias)
        bias, threshold = (bias, half - constant + bias) if one.spikes else (constant, threshold)
    found: dict[str, npt.NDArray[Any]] = {
        "bias": bias,
        "threshold": threshold,
        "step": step,
        "bias_shift": exponent,
    }
    return {f"{one.name}.{key}": value.astype(np.int32) for key, value in found.items()}


def _shifted(wanted: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], Int32]:
    """The nearest constants that a mantissa of 8 bits and a shift can express, and the shifts."""
    exponent = np.zeros(len(wanted), np.int32)
    for power in range(1, limits.BIAS_SHIFT_HIGH + 1):
        exponent[np.abs(wanted) > (limits.BIAS_HIGH + 0.5) * 2 ** (power - 1)] = power
    mantissa = np.clip(np.rint(wanted / 2.0**exponent), -limits.BIAS_HIGH, limits.BIAS_HIGH).astype(np.int64)
    return mantissa << exponent, exponent


def _chain(program: Program) -> list[Violation]:
    found, depth, order = [], depths(program), [one.name for one in program]
    last = max(depth.values())
    for one in program:
        for c in one.incoming:
            if c.source in order and order.index(c.source) >= order.index(one.name):
                found.append(Violation(one.name, "connection that leads back", "none: layers form a chain", c.source))
            elif depth[c.source] != depth[one.name] - 1:
                found.append(Violation(one.name, "connection that skips layers", "from the layer before", c.source))
        if one.spikes is False and one.name != program.output:
            found.append(Violation(one.name, "potential that is handed on", "spikes", "no threshold"))
        if (depth[one.name] == last) != (one.name == program.output):
            found.append(Violation(one.name, "end of the network", f"{program.output} alone", one.name))
    for names in chain(program)[1:]:
        levels = {program[name].levels for name in names}
        if len(levels) > 1:
            found.append(
                Violation(", ".join(names), "levels differ within a layer", "one a layer", str(sorted(levels)))
            )
    return found


def _neurons(program: Program, one: Population) -> list[Violation]:
    found = []
    for field in ("decay", "current_decay"):
        most = float(getattr(one, field).max(initial=0))
        if most > 0:
            limit = "0: Akida's neurons have no memory. Threshold neurons do; `tune` trains them from a network of ours"
            found.append(Violation(one.name, field, limit, f"{most:g}"))
    return found


def _graded(one: Population, version: int) -> list[Violation]:
    found, allowed = [], limits.VERSIONS[version].levels
    if one.spikes and one.levels not in allowed:
        listed = ", ".join(map(str, allowed)) if len(allowed) < 5 else f"{allowed[0]} ... {allowed[-1]}"
        found.append(Violation(one.name, "levels of a neuron", listed, str(one.levels)))
    if one.step is not None:
        ratio = np.log2(one.step / one.step.min())
        if not np.isfinite(ratio).all() or (ratio != np.rint(ratio)).any():
            value = f"{one.step.min():g} ... {one.step.max():g}"
            found.append(Violation(one.name, "steps of a layer", "powers of two apart", value))
        elif float(one.step.min()) * scale_of(one, version) < 1:
            found.append(Violation(one.name, "step", "1 unit of the weights", f"{one.step.min():g}"))
    elif one.levels > 1:
        found.append(Violation(one.name, "levels without a step", "a step", str(one.levels)))
    return found


def _connections(one: Population, version: int) -> list[Violation]:
    found, most = [], limits.VERSIONS[version].delay_high
    longest: dict[str, int] = {}
    for c in one.incoming:
        longest[c.source] = max(c.delay, longest.get(c.source, 0))
    for source, delay in longest.items():
        if delay > most:
            limit = f"0 ... {most} steps" if most else "0: version 1 has no delays; akida2 has up to 9 steps"
            found.append(Violation(one.name, f"delay from {source}", limit, str(delay)))
    fan_in = sum({c.source: c.weights.shape[0] for c in one.incoming}.values())
    if fan_in > limits.FAN_IN_HIGH:
        found.append(Violation(one.name, "inputs of a layer", f"{limits.FAN_IN_HIGH:,}", f"{fan_in:,}"))
    if version == 2 and not one.spikes and any(c.delay for c in one.incoming):
        found.append(Violation(one.name, "delay into a readout", "none: BufferTempConv gives 8 bits", "sums"))
    if version == 1 and not one.spikes and (one.bias != 0).any():
        found.append(Violation(one.name, "bias of a readout", "0", f"{np.abs(one.bias).max():g}"))
    return found


def _numbers(program: Program, one: Population, version: int) -> list[Violation]:
    """What quantisation does to a population that can be expressed."""
    found, scale = [], scale_of(one, version)
    chip, worst = limits.VERSIONS[version], np.zeros(one.size)
    for c in one.incoming:
        weights = np.rint(c.weights.data * scale)
        off = float(np.abs(weights / scale - c.weights.data).max(initial=0))
        if off > ROUNDED * float(np.abs(c.weights.data).max(initial=0)):
            limit, value = f"{ROUNDED:.0%} of the largest", f"off by up to {off:.3g}"
            found.append(Violation(one.name, f"weights from {c.source} are rounded", limit, value, True))
        lost = float(((weights == 0) & (c.weights.data != 0)).mean()) if len(weights) else 0.0
        found += lost_weights(one.name, c.source, lost)
        most = chip.input_high if c.source in program.inputs else program[c.source].levels
        worst += np.bincount(c.weights.indices, np.abs(weights) * most, one.size)
    limit = f"{limits.POTENTIAL_HIGH:,} chip units"
    constants = np.abs(one.bias) + (np.abs(one.threshold) if one.spikes else 0)
    highest = float((worst + constants * scale).max(initial=0))
    if highest > limits.POTENTIAL_HIGH:
        return [*found, Violation(one.name, "potential if all inputs are at their highest", limit, f"{highest:,.0f}")]
    if version == 2:
        made = _neuron_arrays(one, scale, version)
        wanted = _neuron_arrays(one, scale, 1)
        kind = f"{one.name}.{'threshold' if one.spikes else 'bias'}"
        off = np.abs(made[kind] - wanted[kind]).max(initial=0)
        if off > 0:
            what = "threshold" if one.spikes else "bias"
            found.append(Violation(one.name, f"{what} of 8 bits and a shift", "exact", f"{off:g} units off", True))
    return found
